// The network goes, the server goes, and nothing that was typed goes with them.
import { expect, test } from "../support/test.js";
import { ADA, doBasics, fillBasics, heading, proceed, setUp } from "../support/wizard.js";

const notice = (page) => page.locator("#connection");

/** Stops the page's time: what it would try again by itself waits for a press of the button. */
async function stopTime(page) {
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 60_000);
}

test("offline in mid-step, and back: it counts down, keeps what was typed, and goes through by itself", async ({ page, context, server, noise }) => {
  noise.allowLosses();
  await page.goto("/onboarding");
  await fillBasics(page);
  await context.setOffline(true);
  await proceed(page);
  await expect(notice(page)).toContainText("You seem to be offline");
  await expect(notice(page)).toContainText("What you typed is safe");
  await expect(notice(page)).toContainText(/In \d+ s/);
  await expect(notice(page)).toHaveRole("status");
  await expect(page.getByLabel("Work email")).toHaveValue(ADA.email);
  await expect(page.getByLabel("Password", { exact: true })).toHaveValue(ADA.password);
  await context.setOffline(false);
  await page.waitForURL("**/onboarding/branding");
  await server.onlyTenant();
});

test("an answer that is lost on its way is asked for again, and nothing is done twice", async ({ page, server, noise }) => {
  noise.expect(/net::ERR_CONNECTION_RESET/);
  await page.goto("/onboarding");
  await fillBasics(page);
  await stopTime(page);
  let lost = 0;
  await page.route("**/onboarding", async (route) => {
    if (route.request().method() !== "POST" || lost > 0) return route.continue();
    lost += 1;
    await route.fetch({ maxRedirects: 0 });
    await route.abort("connectionreset");
  });
  await proceed(page);
  await expect(notice(page)).toContainText("That did not reach us");
  await server.onlyTenant();
  await notice(page).getByRole("button", { name: "Try now" }).click();
  await page.waitForURL("**/onboarding/branding");
  await server.onlyTenant();
});

test("away for long: the pauses grow, then there is a Retry button, and it works", async ({ page, server, noise }) => {
  noise.allowLosses();
  await page.clock.install();
  await doBasics(page);
  await server.kill();
  await proceed(page);
  for (const pause of [1, 2, 4, 8, 16]) {
    await expect(notice(page)).toContainText(`In ${pause} s`);
    await page.clock.runFor(pause * 1000);
  }
  const retry = notice(page).getByRole("button", { name: "Retry" });
  await expect(retry).toBeFocused();
  await expect(notice(page)).toContainText("Check your connection");
  await server.run();
  await retry.click();
  await page.waitForURL("**/onboarding/plan");
  await server.onlyTenant();
});

test("a server that is killed and restarted in mid-wizard: reload, and go on", async ({ page, server, noise }) => {
  // The preview of a logo that is not there, yet.
  noise.expect(/ERR_NAME_NOT_RESOLVED \(https:\/\/logo\.example\/half-typ\)/);
  await doBasics(page, { plan: "pro" });
  await page.getByLabel("Main colour", { exact: true }).fill("#b3241c");
  await page.getByLabel("Logo").fill("https://logo.example/half-typ");
  await server.kill();
  await server.run();
  await page.reload();
  await heading(page, `Make it look like ${ADA.company}`);
  await expect(page.getByLabel("Main colour", { exact: true })).toHaveValue("#b3241c");
  await expect(page.getByLabel("Logo")).toHaveValue("https://logo.example/half-typ");
  await page.getByLabel("Logo").fill("");
  await proceed(page);
  await page.waitForURL("**/onboarding/plan");
  await server.kill();
  await server.run();
  await setUp(page);
  await heading(page, `${ADA.company} is open`);
  expect((await server.onlyTenant()).branding.primary_color).toBe("#b3241c");
});

test.describe("without JavaScript", () => {
  test.use({ javaScriptEnabled: false });

  test("a form that was open when the server was killed can be sent to the next one", async ({ page, server }) => {
    await page.goto("/onboarding");
    await fillBasics(page);
    await server.kill();
    await server.run();
    await proceed(page);
    await page.waitForURL("**/onboarding/branding");
    await server.onlyTenant();
  });
});

test("what was typed survives a reload, the password excepted", async ({ page }) => {
  await page.goto("/onboarding");
  await fillBasics(page, { plan: "pro" });
  await page.getByLabel("Address").fill("countess");
  await page.reload();
  for (const [label, value] of [["Work email", ADA.email], ["Company name", ADA.company], ["Address", "countess"], ["Your name", ADA.name], ["Plan", "pro"]]) {
    await expect(page.getByLabel(label)).toHaveValue(value);
  }
  await expect(page.getByLabel("Password", { exact: true })).toHaveValue("");
  expect(await page.evaluate(() => JSON.stringify([sessionStorage, localStorage]))).not.toContain(ADA.password);
});

test("what is changed while it waits is what is sent", async ({ page, context, server, noise }) => {
  noise.allowLosses();
  await page.goto("/onboarding");
  await fillBasics(page);
  await context.setOffline(true);
  await proceed(page);
  await notice(page).waitFor();
  await page.getByLabel("Company name").fill("Analytical Engines");
  await context.setOffline(false);
  await page.waitForURL("**/onboarding/branding");
  expect((await server.onlyTenant()).name).toBe("Analytical Engines");
});

test("an answer that is not a page, of a proxy in between, is taken for none", async ({ page, server, noise }) => {
  noise.expectStatus(429, "/onboarding/branding");
  await doBasics(page);
  await stopTime(page);
  let answers = 0;
  await page.route("**/onboarding/branding", (route) => {
    answers += 1;
    return answers > 1 ? route.continue() : route.fulfill({ status: 429, contentType: "text/plain", body: "slow down" });
  });
  await proceed(page);
  await expect(notice(page)).toContainText("That did not reach us");
  await notice(page).getByRole("button", { name: "Try now" }).click();
  await page.waitForURL("**/onboarding/plan");
  await server.onlyTenant();
});
