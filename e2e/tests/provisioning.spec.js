// The live page: provisioning as it happens, as it fails, and as it goes on.
import { CALLING } from "../support/pages.js";
import { expect, test } from "../support/test.js";
import { ADA, doBranding, heading, setUp } from "../support/wizard.js";

test.use({ env: CALLING });

const step = (page, name) => page.locator(`#steps > li[data-step=${name}]`);
const news = (page) => page.locator("#live");

/** Presses the button of a notice that waits. The page also tries by itself, and then there is none to press any more. */
async function tryNow(page) {
  await page.evaluate(() => [...document.querySelectorAll("#connection button")].find(({ textContent }) => textContent === "Try now")?.click());
}

/** The wizard to its end, with this webhook. */
async function signUp(page, webhook) {
  await doBranding(page);
  await page.getByLabel("Make.com webhook").fill(webhook.url);
  await setUp(page);
  await page.waitForURL("**/onboarding/progress");
}

/** Marks the page, to see later that it is still the same one. */
const mark = (page) => page.evaluate(() => { window.isTheSame = true; });
const isTheSame = (page) => page.evaluate(() => window.isTheSame === true);

async function failed(page) {
  await heading(page, "One thing needs your help");
  await expect(page.getByRole("alert")).toContainText("Your webhook did not answer as it should");
  await expect(page.getByRole("alert")).toContainText("500");
  await expect(step(page, "validate_webhook")).toHaveAttribute("data-state", "failed");
  await expect(step(page, "seed_defaults")).toHaveAttribute("data-state", "complete");
  await expect(step(page, "send_magic_link")).toHaveAttribute("data-state", "pending");
}

/** Everything is there, and what was done before was not done again. */
async function completed(page, server) {
  await heading(page, `${ADA.company} is open`);
  const { provision, status } = await server.onlyTenant();
  expect([provision.status, status]).toEqual(["complete", "active"]);
  expect(provision.steps.find(({ name }) => name === "seed_defaults").attempts).toBe(1);
}

test("each step is seen and told as it happens", async ({ page, server, webhook }) => {
  const release = webhook.hold();
  await signUp(page, webhook);
  await heading(page, `Setting up ${ADA.company}`);
  await expect(step(page, "validate_webhook")).toHaveAttribute("data-state", "processing");
  await expect(step(page, "seed_defaults")).toHaveAttribute("data-state", "complete");
  await expect(news(page)).toHaveText("2 of 4 steps done. Now: Webhook.");
  await mark(page);
  release();
  await completed(page, server);
  await expect(news(page)).toHaveText(`${ADA.company} is open.`);
  await expect(page).toHaveTitle(/is open/);
  expect(await isTheSame(page)).toBe(true);
});

test("a failing webhook, put right at its other end, then Retry", async ({ page, server, webhook }) => {
  const release = webhook.hold();
  await signUp(page, webhook);
  await mark(page);
  webhook.status = 500;
  release();
  await failed(page);
  await expect(page.getByRole("alert")).toBeFocused();
  await expect(news(page)).toHaveText("The set-up has stopped and needs your help.");
  webhook.status = 200;
  await page.getByRole("button", { name: "Retry" }).click();
  await completed(page, server);
  expect(await isTheSame(page)).toBe(true);
  await expect(page.getByRole("main"), "the focus is not lost with the button").toBeFocused();
});

test("Retry that fails again says so again", async ({ page, server, webhook }) => {
  webhook.status = 500;
  await signUp(page, webhook);
  await failed(page);
  const release = webhook.hold();
  await page.getByRole("button", { name: "Retry" }).click();
  await heading(page, `Setting up ${ADA.company}`);
  release();
  await failed(page);
  await expect(page.getByRole("alert")).toBeFocused();
  webhook.status = 200;
  await page.getByRole("button", { name: "Retry" }).click();
  await completed(page, server);
});

test("another webhook in place of a failing one", async ({ page, server, webhook, noise }) => {
  noise.expectStatus(422, "/onboarding/plan/make");
  webhook.status = 500;
  await signUp(page, webhook);
  await failed(page);
  const field = page.getByLabel("Webhook");
  await expect(field).toHaveValue(webhook.url);
  await field.fill("https://example.com/hook");
  await page.getByRole("button", { name: "Use this webhook" }).click();
  await expect(page.getByRole("alert")).toContainText("We cannot use that webhook");
  await expect(page.getByRole("alert")).toBeFocused();
  await expect(field).toHaveValue("https://example.com/hook");
  webhook.status = 200;
  await field.fill(`${webhook.url}/other`);
  await page.getByRole("button", { name: "Use this webhook" }).click();
  await heading(page, `${ADA.company} is open`);
  expect(webhook.calls).toContain("HEAD /hook/other");
  expect((await server.onlyTenant()).provision.status).toBe("complete");
});

test("without events it looks now and then", async ({ page, server, webhook, noise }) => {
  noise.expect(/ERR_CONNECTION_REFUSED .*\/onboarding\/progress\/events/);
  await page.route("**/onboarding/progress/events", (route) => route.abort("connectionrefused"));
  const release = webhook.hold();
  await signUp(page, webhook);
  await expect(step(page, "validate_webhook")).toHaveAttribute("data-state", "processing");
  await mark(page);
  release();
  await completed(page, server);
  expect(await isTheSame(page)).toBe(true);
});

test("the server goes in the middle of a run: the page waits for it, and the run goes on", async ({ page, server, webhook, noise }) => {
  noise.allowLosses();
  const release = webhook.hold();
  await signUp(page, webhook);
  await expect(step(page, "validate_webhook")).toHaveAttribute("data-state", "processing");
  await server.kill();
  const notice = page.locator("#connection");
  await expect(notice).toContainText("We cannot be reached from here");
  await expect(notice).toContainText("The set-up goes on without this page");
  release();
  await server.run();
  // Until then the step is its dead worker's.
  await server.advance(60);
  await tryNow(page);
  await completed(page, server);
});

test.describe("without JavaScript", () => {
  test.use({ javaScriptEnabled: false });

  test("the page loads itself again until it is over, and Retry is a form", async ({ page, server, webhook }) => {
    const release = webhook.hold();
    await signUp(page, webhook);
    await heading(page, `Setting up ${ADA.company}`);
    await expect(page.getByRole("link", { name: "Look again" })).toBeVisible();
    webhook.status = 500;
    release();
    await failed(page);
    webhook.status = 200;
    await page.getByRole("button", { name: "Retry" }).click();
    await completed(page, server);
  });
});

test("an answer from somewhere in between does not end the watch, and what happens meanwhile is seen at once", async ({ page, server, webhook, noise }) => {
  noise.expectStatus(429, "/onboarding/progress");
  const release = webhook.hold();
  await signUp(page, webhook);
  await expect(step(page, "validate_webhook")).toHaveAttribute("data-state", "processing");
  let looks = 0;
  await page.route("**/onboarding/progress", async (route) => {
    looks += 1;
    if (looks > 1) return route.continue();
    // The run ends while the page is being fetched; its events come before this answer.
    await new Promise((resolve) => { setTimeout(resolve, 300); });
    return route.fulfill({ status: 429, contentType: "text/plain", body: "slow down" });
  });
  release();
  await page.locator("#connection").waitFor();
  await tryNow(page);
  await completed(page, server);
});
