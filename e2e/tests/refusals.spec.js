// What the wizard does not take, and how it says so.
import { expect, test } from "../support/test.js";
import { ADA, WEBHOOK, doBasics, fillBasics, heading, proceed, setUp } from "../support/wizard.js";

const GRACE = { email: "grace@example.com", tenant_name: "Hopper", slug: "hopper" };
const errors = (page) => page.locator("#errors");
const address = (page) => page.getByRole("textbox", { name: "Address" });

/** The field is marked as wrong, and described by what is wrong with it. */
async function wrong(field, text) {
  await expect(field).toHaveAttribute("aria-invalid", "true");
  await expect(field).toHaveAccessibleDescription(new RegExp(text));
}

test("the address is previewed, and its being free is told, while it is typed", async ({ page, server }) => {
  await server.signUp(GRACE);
  await page.goto("/onboarding");
  await page.getByLabel("Company name").fill("Crème & Co");
  await expect(address(page)).toHaveAccessibleDescription(/You get creme-co\.localhost/);
  await expect(page.locator("#address-preview")).toHaveText("creme-co.localhost");
  await address(page).fill("hopper");
  await wrong(address(page), "Somebody else has this address. hopper-2 is free.");
  await address(page).fill("Hopper Ltd");
  await wrong(address(page), "lower-case letters");
  await address(page).fill("hopper-2");
  await expect(address(page)).toHaveAccessibleDescription(/hopper-2\.localhost is free/);
  await expect(address(page)).not.toHaveAttribute("aria-invalid", "true");
});

for (const javaScriptEnabled of [true, false]) {
  test.describe(javaScriptEnabled ? "with JavaScript" : "without JavaScript", () => {
    test.use({ javaScriptEnabled });

    test("a taken address: free ones are a press away", async ({ page, server, noise }) => {
      noise.expectStatus(409, "/onboarding");
      await server.signUp(GRACE);
      await page.goto("/onboarding");
      await fillBasics(page);
      await address(page).fill("hopper");
      await proceed(page);
      await expect(errors(page)).toContainText("That address is taken");
      await wrong(address(page), "Somebody else has this address");
      await expect(page.getByLabel("Company name")).toHaveValue(ADA.company);
      const free = page.getByRole("group", { name: "Free addresses" }).getByRole("button");
      await expect(free).toHaveText(["hopper-2", "hopper-3", "hopper-4"]);
      // A password goes into no page, so without a script it has to be typed again.
      if (!javaScriptEnabled) await page.getByLabel("Password", { exact: true }).fill(ADA.password);
      await free.getByText("hopper-3").click();
      await page.waitForURL("**/onboarding/branding");
      expect((await server.tenants()).map(({ slug }) => slug)).toEqual(["hopper-3", "hopper"]);
    });

    test("an email address that somebody has", async ({ page, server, noise }) => {
      noise.expectStatus(409, "/onboarding");
      await server.signUp(GRACE);
      await page.goto("/onboarding");
      await fillBasics(page, { email: GRACE.email, password: "not the one she chose" });
      await proceed(page);
      await expect(errors(page)).toContainText("We know this email address");
      await wrong(page.getByLabel("Work email"), "Somebody signed up with it already");
      await expect(page).toHaveTitle(/^Error: /);
      await expect(page.getByLabel("Work email")).toHaveValue(GRACE.email);
      await expect(page.getByLabel("Company name")).toHaveValue(ADA.company);
      await server.onlyTenant();
    });

    test("the right password goes on with an unfinished sign-up", async ({ page, server }) => {
      const started = await server.signUp({ ...GRACE, password: ADA.password });
      await page.goto("/onboarding");
      await fillBasics(page, { email: GRACE.email });
      await proceed(page);
      await heading(page, "Make it look like Hopper");
      expect((await server.onlyTenant()).id).toBe(started.tenant.id);
    });

    test("colours and a webhook that cannot be", async ({ page, noise }) => {
      if (!javaScriptEnabled) noise.expectStatus(422, "/onboarding/branding");
      noise.expectStatus(422, "/onboarding/plan/make");
      await doBasics(page);
      await page.getByLabel("Main colour", { exact: true }).fill("reddish");
      await proceed(page);
      await wrong(page.getByLabel("Main colour", { exact: true }), "Give the colour as #rrggbb");
      await page.getByLabel("Main colour", { exact: true }).fill("#b3241c");
      await proceed(page);
      await page.waitForURL("**/onboarding/plan");
      await page.getByLabel("Make.com webhook").fill("https://example.com/hook");
      await setUp(page);
      await expect(errors(page)).toContainText("We cannot use that webhook");
      await expect(page.getByLabel("Make.com webhook")).toHaveValue("https://example.com/hook");
      await page.getByLabel("Make.com webhook").fill(WEBHOOK);
      await setUp(page);
      await page.waitForURL("**/onboarding/progress");
    });
  });
}

test("fields are checked before they are sent, and the first wrong one has the focus", async ({ page, server }) => {
  await page.goto("/onboarding");
  await proceed(page);
  await expect(page.getByLabel("Work email")).toBeFocused();
  for (const field of ["Work email", "Company name"]) await wrong(page.getByLabel(field), "This is needed");
  await wrong(page.getByLabel("Password", { exact: true }), "This is needed");
  await page.getByLabel("Work email").fill("ada");
  await page.getByLabel("Password", { exact: true }).fill("short");
  await page.getByLabel("Company name").fill("Lovelace");
  await proceed(page);
  await wrong(page.getByLabel("Work email"), "not an email address");
  await wrong(page.getByLabel("Password", { exact: true }), "at least 8 characters");
  await expect(page.getByLabel("Company name")).not.toHaveAttribute("aria-invalid", "true");
  await page.getByLabel("Work email").fill(ADA.email);
  await expect(page.getByLabel("Work email")).not.toHaveAttribute("aria-invalid", "true");
  expect(await server.tenants()).toEqual([]);
});

test("what the server alone finds is summed up, with the focus on the summary and links to the fields", async ({ page, noise }) => {
  noise.expectStatus(422, "/onboarding");
  await page.goto("/onboarding");
  await fillBasics(page);
  await address(page).fill("admin");
  // Browsers take such an address.
  await page.getByLabel("Work email").fill("ada..lovelace@example.com");
  await proceed(page);
  await expect(errors(page)).toBeFocused();
  await expect(errors(page)).toContainText("2 things need another look");
  await expect(page.getByLabel("Password", { exact: true })).toHaveValue(ADA.password);
  await errors(page).getByRole("link", { name: /reserved/ }).click();
  await expect(address(page)).toBeFocused();
});

test("without JavaScript every wrong field is told at once", async ({ newcomer, noise }) => {
  noise.expectStatus(422, "/onboarding");
  const page = await newcomer({ javaScriptEnabled: false });
  await page.goto("/onboarding");
  await page.getByLabel("Work email").fill("ada");
  await proceed(page);
  await expect(errors(page)).toContainText("3 things need another look");
  await expect(errors(page).getByRole("link")).toHaveCount(3);
  await expect(page.getByLabel("Work email")).toHaveValue("ada");
});

test.describe("an expired token", () => {
  test.use({ env: { TENANTRY_SIGNUP__TOKEN_TTL: "1h" } });

  for (const javaScriptEnabled of [true, false]) {
    test.describe(javaScriptEnabled ? "with JavaScript" : "without JavaScript", () => {
      test.use({ javaScriptEnabled });

      test("leads back to step 1, where the password is all that is missing", async ({ page, server }) => {
        await doBasics(page, { plan: "pro" });
        const { id } = await server.onlyTenant();
        await server.advance(2 * 60 * 60);
        await page.getByLabel("Main colour", { exact: true }).fill("#1d4ed8");
        await proceed(page);
        await heading(page, "Pick up where you left off");
        await expect(page.getByText("Your sign-up expired, but your details are kept")).toBeVisible();
        for (const [label, value] of [["Work email", ADA.email], ["Company name", ADA.company], ["Address", ADA.slug], ["Your name", ADA.name], ["Plan", "pro"]]) {
          await expect(page.getByLabel(label)).toHaveValue(value);
        }
        await page.getByLabel("Password", { exact: true }).fill(ADA.password);
        await proceed(page);
        await page.waitForURL("**/onboarding/branding");
        if (javaScriptEnabled) await expect(page.getByLabel("Main colour", { exact: true })).toHaveValue("#1d4ed8");
        await proceed(page);
        await setUp(page);
        await heading(page, `${ADA.company} is open`);
        expect((await server.onlyTenant()).id).toBe(id);
      });
    });
  }
});

test.describe("closed doors", () => {
  test("the kill switch closes step 1, and not what is under way", async ({ page, server, newcomer, noise }) => {
    noise.expectStatus(503, "/onboarding");
    await doBasics(page);
    const late = await newcomer();
    await late.goto("/onboarding");
    await fillBasics(late, { email: "late@example.com" });
    await server.setSignups(false);
    await proceed(late);
    await heading(late, "Sign-ups are closed for the moment");
    await late.reload();
    await heading(late, "Sign-ups are closed for the moment");
    await server.onlyTenant();

    await proceed(page);
    await page.waitForURL("**/onboarding/plan");

    await server.setSignups(true);
    await late.reload();
    await expect(late.getByLabel("Work email")).toHaveValue("late@example.com");
  });

  test.describe("by invitation", () => {
    test.use({ env: { TENANTRY_SIGNUP__SELF_SERVE_ENABLED: "false" } });

    test("there is no step 1 where nobody may serve themselves", async ({ page, noise }) => {
      noise.expectStatus(503, "/onboarding");
      await page.goto("/onboarding");
      await heading(page, "Tenantry is by invitation here");
      await page.getByRole("main").getByRole("link", { name: "Sign in" }).click();
      await heading(page, "Sign in");
    });
  });
});
