// Buying, as people do it: by card at the sandbox's pages, and by bank transfer.
import { expect, test } from "../support/test.js";
import { signUp } from "../support/factor.js";
import { ADA, heading } from "../support/wizard.js";

const DAY = 24 * 60 * 60;

/** Registers, which begins a trial of Pro unless told otherwise. */
async function register(server, more = {}) {
  const body = { email: ADA.email, password: ADA.password, password_confirm: ADA.password, account_name: ADA.company, name: ADA.name, ...more };
  return server.call("POST", "/api/v1/auth/register", { body });
}

async function signIn(page) {
  await page.goto("/signin");
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByLabel("Password").fill(ADA.password);
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await heading(page, "Hello, Ada");
}

/** Somebody on a plan of this price, who looks at their billing. */
async function openBilling(page, server) {
  await signUp(server);
  await signIn(page);
  await page.goto("/billing");
  await heading(page, "Billing");
}

/** Chooses a plan and pays for it with this card. */
async function pay(page, plan, number = "4242 4242 4242 4242") {
  await page.getByRole("button", { name: `Choose ${plan}` }).click();
  await page.waitForURL("**/sandbox/pay/**");
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByLabel("Name on the card").fill(ADA.name);
  await page.getByLabel("Card number").fill(number);
  await page.getByLabel("Expiry").fill("12 / 40");
  await page.getByLabel("CVC").fill("123");
  await page.getByRole("button", { name: "Pay and subscribe" }).click();
}

for (const javaScriptEnabled of [true, false]) {
  test.describe(`${javaScriptEnabled ? "with" : "without"} JavaScript`, () => {
    test.use({ javaScriptEnabled });

    test("to Pro by card, its invoice, canceled and resumed", async ({ page, server }) => {
      await openBilling(page, server);
      await pay(page, "Pro");
      await page.waitForURL("**/billing?checkout=done");
      const plan = page.getByRole("region", { name: "Pro" });
      await expect(async () => {
        await page.goto("/billing");
        await expect(plan.getByText("Active")).toBeVisible({ timeout: 500 });
      }).toPass();
      await expect(page.getByText("that ends with 4242")).toBeVisible();
      await page.getByRole("region", { name: "Invoices" }).getByRole("link").first().click();
      await expect(page.getByText("Paid", { exact: true }).first()).toBeVisible();
      await page.goto("/billing");
      await page.getByRole("button", { name: "Cancel at the period’s end" }).click();
      await heading(page, "Billing");
      await expect(plan.getByText("Ends with its period")).toBeVisible();
      await page.getByRole("button", { name: "Keep the subscription" }).click();
      await expect(plan.getByText("Active")).toBeVisible();
    });
  });
}

test("from a trial to a year of Growth by card, to Scale, canceled and resumed", async ({ page, server }) => {
  await register(server);
  await signIn(page);
  await page.getByRole("link", { name: "Plan and invoices" }).click();
  await expect(page.getByRole("region", { name: "Pro" }).getByText("Free trial")).toBeVisible();
  await page.getByRole("link", { name: "By the year" }).click();
  await pay(page, "Growth");
  await page.waitForURL("**/billing?checkout=done");
  const plan = (name) => page.getByRole("region", { name, exact: true });
  await expect(async () => {
    await page.goto("/billing");
    await expect(plan("Growth").getByText("790 USD a year; it goes on")).toBeVisible({ timeout: 500 });
  }).toPass();
  await expect(page.getByRole("listitem").filter({ hasText: "Growth" }).getByText("Your plan")).toBeVisible();
  await page.getByRole("link", { name: "Choose Scale" }).click();
  await heading(page, "Change to Scale?");
  await expect(page.getByText("Scale, 3,990 USD a year; the difference for what is left of this period is charged")).toBeVisible();
  await page.getByRole("button", { name: "Change to Scale" }).click();
  await expect(page.getByText("The plan is changed")).toBeVisible();
  await expect(plan("Scale").getByText("3,990 USD a year")).toBeVisible();
  await expect(page.getByRole("region", { name: "Invoices" }).getByText("Paid", { exact: true })).toHaveCount(2);
  await page.getByRole("region", { name: "Invoices" }).getByRole("link").first().click();
  await expect(page.getByText("Paid", { exact: true }).first()).toBeVisible();
  await page.goto("/billing");
  await page.getByRole("button", { name: "Cancel at the period’s end" }).click();
  await expect(plan("Scale").getByText("Ends with its period")).toBeVisible();
  await page.getByRole("button", { name: "Keep the subscription" }).click();
  await expect(plan("Scale").getByText("Active")).toBeVisible();
});

test("a double click orders once", async ({ page, server }) => {
  await openBilling(page, server);
  const sent = [];
  page.on("request", (request) => request.method() === "POST" && sent.push(request.url()));
  await page.getByRole("button", { name: /By bank transfer.*Growth/ }).dblclick();
  await expect(page.getByText("The invoice is written")).toBeVisible();
  expect(sent).toHaveLength(1);
  expect((await server.admin("GET", "/invoices")).data).toHaveLength(1);
});

test("a card that is declined says so, and nothing is bought", async ({ page, server, noise }) => {
  noise.expect(/status of 402 /);
  await openBilling(page, server);
  await pay(page, "Starter", "4000 0000 0000 0002");
  await expect(page.locator("#errors")).toBeVisible();
  await page.goto("/billing");
  await expect(page.getByRole("region", { name: "Free" })).toBeVisible();
});

test("by bank transfer: an invoice, and the plan once it is paid", async ({ page, server }) => {
  await openBilling(page, server);
  await page.getByRole("button", { name: /By bank transfer.*Growth/ }).click();
  await heading(page, "Billing");
  await expect(page.getByText("The invoice is written")).toBeVisible();
  await page.getByRole("region", { name: "Invoices" }).getByRole("link").first().click();
  await expect(page.getByText("To be paid", { exact: true })).toBeVisible();
  const file = await page.request.get(await page.getByRole("link", { name: "Download as PDF" }).getAttribute("href"));
  expect(file.headers()["content-type"]).toBe("application/pdf");
  expect((await file.body()).subarray(0, 5).toString()).toBe("%PDF-");
  const [invoice] = (await server.admin("GET", "/invoices?status=open")).data;
  await server.admin("POST", `/invoices/${invoice.id}/mark-paid`, {});
  await page.goto("/billing");
  await expect(page.getByRole("region", { name: "Growth" }).getByText("Active")).toBeVisible();
});

test("whose trial has ended sees why, and where to mend it", async ({ page, server }) => {
  await register(server);
  await server.advance(15 * DAY);
  await signIn(page);
  await expect(page.getByText("The trial ended on")).toBeVisible();
  await page.getByRole("link", { name: "Choose a plan" }).click();
  await heading(page, "Billing");
  await expect(page.getByRole("region", { name: "Pro" }).getByText("Trial ended", { exact: true })).toBeVisible();
  await expect(page.getByText(/The trial ended on .* Choose a plan to go on\./)).toBeVisible();
});
