// Nothing is done twice, however often somebody presses.
import { expect, test } from "../support/test.js";
import { WEBHOOK, doBasics, fillBasics } from "../support/wizard.js";

/** The wizard, with each of its buttons pressed twice. */
async function doubleClickThrough(page) {
  await page.goto("/onboarding");
  await fillBasics(page);
  await page.getByRole("button", { name: "Continue" }).dblclick();
  await page.waitForURL("**/onboarding/branding");
  await page.getByRole("button", { name: "Continue" }).dblclick();
  await page.waitForURL("**/onboarding/plan");
  await page.getByLabel("Make.com webhook").fill(WEBHOOK);
  await page.getByRole("button", { name: "Set up Lovelace Ltd" }).dblclick();
  await page.waitForURL("**/onboarding/progress");
}

/** One tenant, one run, and each letter once. */
async function happenedOnce(page, server) {
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Lovelace Ltd is open");
  const tenant = await server.onlyTenant();
  expect(tenant.provision.status).toBe("complete");
  expect(tenant.provision.steps.every(({ attempts }) => attempts === 1)).toBe(true);
  const events = (await server.admin("GET", "/audit-events")).data.map(({ action }) => action);
  expect(events.filter((action) => action === "tenant.provisioned")).toHaveLength(1);
  expect(await server.mails()).toHaveLength(2);
}

test("double click", async ({ page, server }) => {
  const sent = [];
  page.on("request", (request) => request.method() === "POST" && sent.push(new URL(request.url()).pathname));
  await doubleClickThrough(page);
  await happenedOnce(page, server);
  expect(sent).toEqual(["/onboarding", "/onboarding/branding", "/onboarding/plan/make"]);
});

test.describe("without JavaScript", () => {
  test.use({ javaScriptEnabled: false });

  test("double click", async ({ page, server }) => {
    await doubleClickThrough(page);
    await happenedOnce(page, server);
  });
});

test("a form that is sent many times over", async ({ page, server }) => {
  await page.goto("/onboarding");
  await fillBasics(page);
  const answers = await page.evaluate(async () => {
    const form = document.querySelector("form[data-step]");
    const send = () => fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" } });
    return (await Promise.all(Array.from({ length: 8 }, send))).map((answer) => new URL(answer.url).pathname);
  });
  expect(answers).toEqual(Array(8).fill("/onboarding/branding"));
  await server.onlyTenant();
});

test("while a form is being sent its button says so, and takes no second press", async ({ page, server }) => {
  await doBasics(page);
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route("**/onboarding/branding", async (route) => {
    await held;
    await route.continue();
  });
  const button = page.getByRole("button", { name: "Continue" });
  await button.click();
  await expect(button).toHaveAttribute("aria-busy", "true");
  await expect(button).toHaveAttribute("aria-disabled", "true");
  await expect(page.getByRole("status").filter({ hasText: "Saving your colours" })).toBeAttached();
  const again = page.waitForRequest("**/onboarding/branding", { timeout: 500 }).catch(() => "nothing was sent");
  await button.press("Enter");
  await page.getByRole("button", { name: "Keep the defaults" }).click();
  await page.getByLabel("Main colour", { exact: true }).press("Enter");
  expect(await again).toBe("nothing was sent");
  release();
  await page.waitForURL("**/onboarding/plan");
  expect((await server.onlyTenant()).branding.primary_color).toBe("#14573c");
});
