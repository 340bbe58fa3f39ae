// Nothing is done twice, however often somebody presses.
import { expect, test } from "../support/test.js";
import { WEBHOOK, doBasics, doBranding, fillBasics } from "../support/wizard.js";

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

test("while a form is being sent its buttons say so, and take no second press", async ({ page, server }) => {
  await doBasics(page);
  const sent = [];
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route("**/onboarding/branding", async (route) => {
    sent.push(route.request().postData());
    await held;
    await route.continue();
  });
  const proceed = page.getByRole("button", { name: "Continue" });
  const skip = page.getByRole("button", { name: "Keep the defaults" });
  await proceed.click();
  await expect(proceed).toHaveAttribute("aria-busy", "true");
  for (const button of [proceed, skip]) {
    await expect(button).toBeDisabled();
    await button.press("Enter");
  }
  await expect(page.getByRole("status").filter({ hasText: "Saving your colours" })).toBeAttached();
  await page.getByLabel("Main colour", { exact: true }).press("Enter");
  release();
  await page.waitForURL("**/onboarding/plan");
  expect(sent).toHaveLength(1);
  await server.onlyTenant();
});

test("both ways to end step 3, pressed one after the other, are one run", async ({ page, server }) => {
  await doBranding(page);
  await page.getByLabel("Make.com webhook").fill(WEBHOOK);
  await page.evaluate(() => {
    for (const form of document.querySelectorAll("form[action^='/onboarding/plan/']")) form.requestSubmit();
  });
  await page.waitForURL("**/onboarding/progress");
  await happenedOnce(page, server);
});
