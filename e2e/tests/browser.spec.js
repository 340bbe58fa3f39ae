// What people do with browsers: tabs, back buttons, links, other people at the same machine.
import { expect, test } from "../support/test.js";
import { ADA, WEBHOOK, doBasics, doBranding, fillBasics, heading, proceed, setUp } from "../support/wizard.js";

const colour = (page) => page.getByLabel("Main colour", { exact: true });

test("a second tab stands where the first one does", async ({ page, context, server }) => {
  await doBasics(page);
  const second = await context.newPage();
  await second.goto("/onboarding");
  await heading(second, `Make it look like ${ADA.company}`);
  await colour(second).fill("#b3241c");
  await proceed(second);
  await second.waitForURL("**/onboarding/plan");
  await second.getByLabel("Make.com webhook").fill(WEBHOOK);
  await setUp(second);
  await heading(second, `${ADA.company} is open`);

  // The first one comes too late: it is led on, and changes nothing.
  await colour(page).fill("#1d4ed8");
  await proceed(page);
  await heading(page, `${ADA.company} is open`);
  expect((await server.onlyTenant()).branding.primary_color).toBe("#b3241c");
});

test("step 1 sent from two tabs is one tenant", async ({ page, context, server }) => {
  const second = await context.newPage();
  for (const tab of [page, second]) {
    await tab.goto("/onboarding");
    await fillBasics(tab);
  }
  for (const tab of [page, second]) {
    await proceed(tab);
    await heading(tab, `Make it look like ${ADA.company}`);
  }
  await server.onlyTenant();
});

test("back to a step that is done, and on again", async ({ page, server }) => {
  await doBranding(page);
  await page.goBack();
  await heading(page, `Make it look like ${ADA.company}`);
  await expect(colour(page)).toHaveValue("#1d4ed8");
  await colour(page).fill("#b3241c");
  await proceed(page);
  await page.waitForURL("**/onboarding/plan");
  await page.getByLabel("Make.com webhook").fill(WEBHOOK);
  await page.getByRole("link", { name: "Back to branding" }).click();
  await expect(colour(page)).toHaveValue("#b3241c");
  await page.goBack();
  await expect(page.getByLabel("Make.com webhook")).toHaveValue(WEBHOOK);
  await setUp(page);
  await page.waitForURL("**/dashboard");
  // There is no way back into what is done.
  await page.goBack();
  await heading(page, `${ADA.company} is open`);
  await page.goto("/onboarding/branding");
  await heading(page, `${ADA.company} is open`);
  expect((await server.onlyTenant()).branding.primary_color).toBe("#b3241c");
});

test("back from step 2 leads on to it again: the tenant is there", async ({ page, server }) => {
  await doBasics(page);
  await page.goBack();
  await heading(page, `Make it look like ${ADA.company}`);
  await server.onlyTenant();
});

test("a page that comes too early leads to the first step that is not done", async ({ page }) => {
  for (const path of ["/onboarding/branding", "/onboarding/plan", "/onboarding/progress"]) {
    await page.goto(path);
    await heading(page, "Start your free trial");
  }
  await doBasics(page);
  for (const path of ["/onboarding", "/onboarding/plan", "/onboarding/progress", "/dashboard"]) {
    await page.goto(path);
    await heading(page, `Make it look like ${ADA.company}`);
  }
});

test("start over: somebody else's sign-up, with nothing of the first one in it", async ({ page, server }) => {
  await doBranding(page);
  await page.getByRole("link", { name: "Back to branding" }).click();
  await colour(page).fill("#b3241c");
  await page.getByRole("button", { name: `Not ${ADA.company}? Start over` }).click();
  await heading(page, "Start your free trial");
  for (const label of ["Work email", "Company name", "Address", "Your name"]) await expect(page.getByLabel(label)).toHaveValue("");
  await fillBasics(page, { email: "grace@example.com", company: "Hopper" });
  await proceed(page);
  await heading(page, "Make it look like Hopper");
  await expect(colour(page)).toHaveValue("#14573c");
  expect((await server.tenants()).map(({ slug }) => slug)).toEqual(["hopper", ADA.slug]);
});

test("sign out, and in again with a mailed link", async ({ page, server }) => {
  await doBranding(page, { plan: "free" });
  await setUp(page);
  await page.waitForURL("**/dashboard");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(`${server.url}/`);
  await page.goto("/dashboard");
  await heading(page, "Sign in");
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByRole("button", { name: "Mail me a link" }).click();
  await heading(page, "Check your mail");
  const link = async () => (await server.mails()).find(({ subject }) => subject === "Your link to log in")?.links[0];
  await expect.poll(link).toBeTruthy();
  await page.goto(await link());
  // Nobody has proved the address yet, so the page asks whether the account is theirs.
  await page.getByLabel("The password you chose then").fill(ADA.password);
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await heading(page, "Hello, Ada");
});

test("the address is verified by a mailed link, and the dashboard knows", async ({ page, server }) => {
  await doBranding(page, { plan: "free" });
  await setUp(page);
  await page.waitForURL("**/dashboard");
  await expect(page.getByText(`We sent a link to ${ADA.email}.`)).toBeVisible();
  const links = (await server.mails()).flatMap(({ links }) => links);
  await page.goto(links.find((link) => link.includes("/verify-email")));
  await page.getByRole("button", { name: "Verify my address" }).click();
  await heading(page, "Your address is verified");
  await page.getByRole("link", { name: "Open dashboard" }).click();
  await expect(page.getByText(`${ADA.email} is yours`)).toBeVisible();
});

test("a link chooses the plan, whatever was chosen before; step 3 offers the other one", async ({ page, server }) => {
  await page.goto("/onboarding");
  await fillBasics(page, { plan: "free" });
  await page.goto("/onboarding?plan=pro");
  await expect(page.getByRole("combobox", { name: "Plan" })).toHaveValue("pro");
  await expect(page.getByLabel("Work email")).toHaveValue(ADA.email);
  await page.getByLabel("Password", { exact: true }).fill(ADA.password);
  await proceed(page);
  await page.waitForURL("**/onboarding/branding");
  await page.getByRole("button", { name: "Keep the defaults" }).click();
  await heading(page, "Confirm Pro");
  await page.getByRole("link", { name: "Switch to Starter" }).click();
  await heading(page, "Connect Make.com");
  await page.getByLabel("Make.com webhook").fill(WEBHOOK);
  await setUp(page);
  await page.waitForURL("**/dashboard");
  expect(await server.onlyTenant()).toMatchObject({ plan: "starter", subscription_status: "trialing" });
});

test("Starter without a webhook, and led on all the same", async ({ page, server }) => {
  await doBranding(page);
  await page.getByRole("button", { name: "Set up without it" }).click();
  await page.waitForURL("**/dashboard");
  expect(await server.onlyTenant()).toMatchObject({ plan: "starter", status: "active" });
});

test("somebody who does something else is not led on", async ({ page }) => {
  await page.clock.install();
  await doBranding(page, { plan: "pro" });
  await setUp(page);
  await heading(page, `${ADA.company} is open`);
  await page.keyboard.press("Tab");
  await page.clock.runFor(10_000);
  await expect(page).toHaveURL(/\/onboarding\/progress$/);
});

/** How much two colours, as `rgb(…)`, stand out from each other (WCAG 2.2, contrast ratio). */
function contrast(...colours) {
  const [dark, light] = colours.map((colour) => {
    const [r, g, b] = colour.match(/\d+/g).map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }).sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

test("the preview takes the colours at once, and keeps its text readable", async ({ page }) => {
  await doBasics(page);
  const shop = page.locator("#preview .shop");
  for (const [chosen, background] of [["#ffff00", "rgb(255, 255, 0)"], ["#101010", "rgb(16, 16, 16)"], ["#7b7b7b", "rgb(123, 123, 123)"], ["#FF4500", "rgb(255, 69, 0)"]]) {
    await colour(page).fill(chosen);
    await expect(shop).toHaveCSS("background-color", background);
    const text = await shop.evaluate((element) => getComputedStyle(element).color);
    expect(contrast(text, background), `${text} on ${background}`).toBeGreaterThanOrEqual(4.5);
    await expect(page.getByLabel("Pick the main colour")).toHaveValue(chosen.toLowerCase());
  }
});

test("a form whose cookie is gone is refused in words, and what was typed is there after a reload", async ({ page, context, server, noise }) => {
  noise.expectStatus(403, "/onboarding");
  await page.goto("/onboarding");
  await fillBasics(page);
  await context.clearCookies();
  await proceed(page);
  await expect(page.getByRole("main")).toContainText("Please send that again");
  await expect(page.getByRole("main")).toBeFocused();
  await page.reload();
  await expect(page.getByLabel("Company name")).toHaveValue(ADA.company);
  await page.getByLabel("Password", { exact: true }).fill(ADA.password);
  await proceed(page);
  await heading(page, `Make it look like ${ADA.company}`);
  await server.onlyTenant();
});

test("what one sign-up typed is not there for the next one in the same tab", async ({ page, server }) => {
  await doBranding(page);
  await page.getByLabel("Make.com webhook").fill(WEBHOOK);
  await page.getByRole("button", { name: "Set up without it" }).click();
  await page.waitForURL("**/dashboard");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(`${server.url}/`);
  await doBranding(page, { email: "grace@example.com", company: "Hopper" });
  await expect(page.getByLabel("Make.com webhook")).toHaveValue("");
});

test("a reload does not bring back what another tab has replaced since", async ({ page, context }) => {
  await doBasics(page);
  await page.getByLabel("Main colour", { exact: true }).fill("#aa0000");
  const other = await context.newPage();
  await other.goto("/onboarding/branding");
  await other.getByLabel("Main colour", { exact: true }).fill("#00bb00");
  await proceed(other);
  await other.waitForURL("**/onboarding/plan");
  await page.reload();
  await expect(page.getByLabel("Main colour", { exact: true })).toHaveValue("#00bb00");
});

test("signing in with the password that was chosen, and with a new one", async ({ page, server }) => {
  await doBranding(page, { plan: "free" });
  await setUp(page);
  await page.waitForURL("**/dashboard");
  await page.getByRole("button", { name: "Sign out" }).click();
  const signIn = async (password) => {
    await page.goto("/signin");
    await page.getByLabel("Email").fill(ADA.email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
    await heading(page, "Hello, Ada");
  };
  await signIn(ADA.password);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto("/signin");
  await page.getByRole("link", { name: "Forgot it?" }).click();
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByRole("button", { name: "Mail me a link" }).click();
  await heading(page, "A link is on its way");
  const links = (await server.mails()).flatMap((mail) => mail.links);
  await page.goto(links.find((link) => link.includes("/reset-password")));
  await page.getByLabel("New password").fill("short");
  await page.getByRole("button", { name: "Set the password" }).click();
  await expect(page.getByText("Use at least 8 characters.")).toBeVisible();
  await page.getByLabel("New password").fill("another horse battery");
  await page.getByRole("button", { name: "Set the password" }).click();
  await heading(page, "Your new password is set");
  await signIn("another horse battery");
});
