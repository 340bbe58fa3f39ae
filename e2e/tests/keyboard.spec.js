// By keyboard alone, and without moving pictures.
import { expect, test } from "../support/test.js";
import { ADA, WEBHOOK, doBasics, heading } from "../support/wizard.js";

/** Goes on by Tab until `name` has the focus; on the way everything that gets it shows it. */
async function tabTo(page, name) {
  for (let presses = 0; presses < 25; presses += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const label = element.labels?.[0]?.firstChild.textContent ?? element.getAttribute("aria-label") ?? element.textContent;
      const { top, bottom } = element.getBoundingClientRect();
      return { label: label.trim(), outlineStyle, outlineWidth: parseFloat(outlineWidth), isInView: bottom > 0 && top < innerHeight };
    });
    expect(at.outlineStyle, `the outline of ${at.label}`).toBe("solid");
    expect(at.outlineWidth, `the outline of ${at.label}`).toBeGreaterThanOrEqual(2);
    expect(at.isInView, `${at.label} is in view`).toBe(true);
    if (at.label === name) return;
  }
  throw new Error(`Tab never came to ${name}`);
}

test("all three steps, by Tab and Enter", async ({ page, server }) => {
  await page.goto("/onboarding");
  for (const [label, text] of [["Work email", ADA.email], ["Password", ADA.password], ["Company name", ADA.company], ["Your name", ADA.name]]) {
    await tabTo(page, label);
    await page.keyboard.type(text);
  }
  await tabTo(page, "Plan");
  await page.keyboard.type("Starter");
  await tabTo(page, "Continue");
  await page.keyboard.press("Enter");
  await heading(page, `Make it look like ${ADA.company}`);
  await tabTo(page, "Main colour");
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("#1d4ed8");
  // Enter in a field sends the form.
  await page.keyboard.press("Enter");
  await heading(page, "Connect Make.com");
  await tabTo(page, "Make.com webhook");
  await page.keyboard.type(WEBHOOK);
  await tabTo(page, `Set up ${ADA.company}`);
  await page.keyboard.press("Space");
  await heading(page, `${ADA.company} is open`);
  await tabTo(page, "Open dashboard");
  await page.keyboard.press("Enter");
  await heading(page, "Hello, Ada");
  expect(await server.onlyTenant()).toMatchObject({ plan: "starter", branding: { primary_color: "#1d4ed8" } });
});

test("the first Tab offers to skip to the content", async ({ page }) => {
  await page.goto("/onboarding");
  await page.keyboard.press("Tab");
  const skip = page.getByRole("link", { name: "Skip to content" });
  await expect(skip).toBeFocused();
  await expect(skip).toBeInViewport();
  await page.keyboard.press("Enter");
  await tabTo(page, "Work email");
});

test("the password can be shown, by keyboard too", async ({ page }) => {
  await page.goto("/onboarding");
  await page.getByLabel("Password", { exact: true }).fill(ADA.password);
  await tabTo(page, "Show");
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Password", { exact: true })).toHaveAttribute("type", "text");
  await expect(page.getByRole("button", { name: "Hide" })).toHaveAttribute("aria-pressed", "true");
});

for (const reducedMotion of ["reduce", "no-preference"]) {
  test(`motion: ${reducedMotion}`, async ({ page }) => {
    await page.emulateMedia({ reducedMotion });
    await doBasics(page);
    await page.route("**/onboarding/branding", () => {});
    await page.getByRole("button", { name: "Continue" }).click();
    await expect(page.getByRole("button", { name: "Continue" })).toHaveAttribute("aria-busy", "true");
    const moving = await page.evaluate(() => document.getAnimations().filter(({ playState }) => playState === "running").length);
    expect(moving > 0).toBe(reducedMotion === "no-preference");
  });
}
