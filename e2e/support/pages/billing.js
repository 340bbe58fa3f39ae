// What a tenant pays, and the pages of the sandbox that it pays on.
import { signUp } from "../factor.js";
import { payBy, sdk } from "../stripe.js";
import { expect } from "../test.js";
import { ADA, heading } from "../wizard.js";
import { complete } from "./ways.js";

async function signIn(page) {
  await page.goto("/signin");
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByLabel("Password").fill(ADA.password);
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await heading(page, "Hello, Ada");
}

/** Signs in on the free plan, and goes to the billing pages. */
async function openBilling(page, server) {
  await signUp(server);
  await signIn(page);
  await page.goto("/billing");
  await heading(page, "Billing");
}

/** Orders Growth by bank transfer. */
async function order(page, server) {
  await openBilling(page, server);
  await page.getByRole("button", { name: /By bank transfer.*Growth/ }).click();
  await page.getByText("The invoice is written").waitFor();
}

/** Opens the sandbox's page to pay for Pro on; the session comes back. */
async function checkOut(page, server) {
  const { stripe } = await sdk(server);
  const session = await stripe.checkout.sessions.create({
    mode: "subscription",
    line_items: [{ price: "price_pro_month_14900" }],
    success_url: "https://shop.example/thanks",
    cancel_url: `${server.url}/pricing`,
  });
  await page.goto(session.url);
  return { stripe, session };
}

/** Pays there; the finished session comes back. */
export async function buy(page, server) {
  const { stripe, session } = await checkOut(page, server);
  await payBy(page, "4242");
  await heading(page, "Paid");
  return { stripe, paid: await stripe.checkout.sessions.retrieve(session.id) };
}

const DAY = 24 * 60 * 60;
const BY_BANK = { plan_slug: "growth", payment_method: "bank_transfer" };

/** Somebody who registers, on a trial of Pro unless told otherwise; the answer comes back. */
function register(server, more = {}) {
  const body = { email: ADA.email, password: ADA.password, password_confirm: ADA.password, account_name: ADA.company, name: ADA.name, ...more };
  return server.call("POST", "/api/v1/auth/register", { body });
}

/** A tenant whose first invoice is paid. */
async function paidByBank(server) {
  const { invoice } = await register(server, BY_BANK);
  await server.admin("POST", `/invoices/${invoice.id}/mark-paid`, {});
}

/** Signs in, and waits until the billing page says so. */
async function look(page, words) {
  await signIn(page);
  await expect(async () => {
    await page.goto("/billing");
    await expect(page.getByText(words, { exact: true })).toBeVisible({ timeout: 500 });
  }).toPass();
}

export const BILLING = [
  { name: "billing", title: "Billing · Tenantry", go: openBilling },
  { name: "billing-ordered", title: "Billing · Tenantry", alike: "billing", go: order },
  {
    name: "billing-trial",
    title: "Billing · Tenantry",
    alike: "billing",
    async go(page) {
      await complete(page);
      await page.goto("/billing");
    },
  },
  {
    name: "billing-locked",
    title: "Billing · Tenantry",
    alike: "billing",
    async go(page, server) {
      await register(server);
      await server.advance(15 * DAY);
      await look(page, "Trial ended");
    },
  },
  {
    name: "billing-past-due",
    title: "Billing · Tenantry",
    alike: "billing",
    async go(page, server) {
      await paidByBank(server);
      await server.advance(32 * DAY);
      await expect.poll(async () => (await server.admin("GET", "/invoices?status=open")).data.length).toBe(1);
      await server.advance(15 * DAY);
      await look(page, "Payment missing");
    },
  },
  {
    name: "billing-pending",
    title: "Billing · Tenantry",
    alike: "billing",
    async go(page, server) {
      await register(server, BY_BANK);
      await look(page, "Waits for its payment");
    },
  },
  {
    name: "billing-ending",
    title: "Billing · Tenantry",
    alike: "billing",
    async go(page, server) {
      await paidByBank(server);
      await look(page, "Active");
      await page.getByRole("button", { name: "Cancel at the period’s end" }).click();
      await page.getByRole("button", { name: "Keep the subscription" }).waitFor();
    },
  },
  {
    name: "billing-complimentary",
    title: "Billing · Tenantry",
    alike: "billing",
    async go(page, server) {
      await register(server);
      await expect.poll(async () => (await server.onlyTenant()).provision.status).toBe("complete");
      await server.cli("backfill", "complimentary");
      await look(page, "With our compliments");
    },
  },
  { name: "billing-change", title: "Change to Free · Tenantry", go: async (page, server) => { await register(server); await signIn(page); await page.goto("/billing/change?plan=free"); } },
  { name: "invoices", title: "Invoices · Tenantry", go: async (page, server) => { await register(server, BY_BANK); await signIn(page); await page.goto("/billing/invoices"); } },
  { name: "credits", title: "Credits · Tenantry", go: async (page, server) => { await openBilling(page, server); await page.goto("/billing/credits"); } },
  {
    name: "invoice",
    title: /^Invoice INV-[0-9]+-000001 · Tenantry$/,
    async go(page, server) {
      await order(page, server);
      await page.getByRole("region", { name: "Invoices" }).getByRole("link").click();
      await heading(page, "Invoice INV-");
    },
  },
  { name: "sandbox-pay", title: "Pay · Sandbox", go: checkOut },
  {
    name: "sandbox-pay-declined",
    title: "Error: Pay · Sandbox",
    status: [402, "/sandbox/pay/[^/]+"],
    async go(page, server) {
      await checkOut(page, server);
      await payBy(page, "0002");
      await page.locator("#errors").waitFor();
    },
  },
  { name: "sandbox-paid", title: "Paid · Sandbox", go: buy },
  {
    name: "sandbox-portal",
    title: "Your subscription · Sandbox",
    async go(page, server) {
      const { stripe, paid } = await buy(page, server);
      const portal = await stripe.billingPortal.sessions.create({ customer: paid.customer, return_url: `${server.url}/pricing` });
      await page.goto(portal.url);
    },
  },
  {
    name: "sandbox-invoice",
    title: "Invoice · Sandbox",
    async go(page, server) {
      const { stripe, paid } = await buy(page, server);
      const invoice = await stripe.invoices.retrieve(paid.invoice);
      await page.goto(invoice.hosted_invoice_url);
    },
  },
];
