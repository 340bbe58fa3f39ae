// The operator's pages.
import { ADMIN_TOKEN } from "../server.js";
import { ADA, heading } from "../wizard.js";
import { expect } from "../test.js";
import { buy } from "./billing.js";
import { CALLING, complete, watch } from "./ways.js";

/** Somebody who orders by bank transfer. */
const BUYER = { password: ADA.password, password_confirm: ADA.password, plan_slug: "growth", payment_method: "bank_transfer" };

/** Signs in as a platform administrator. */
async function administer(page) {
  await page.goto("/admin/signin");
  await page.getByLabel("Admin token").fill(ADMIN_TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await heading(page, "Overview");
}

export const ADMIN = [
  { name: "admin-sign-in", title: "Admin sign-in · Tenantry", path: "/admin/signin" },
  {
    name: "admin",
    title: "Overview · Tenantry admin",
    async go(page, server) {
      for (let at = 1; at <= 12; at += 1) await server.signUp({ email: `owner-${at}@example.com`, tenant_name: `Company ${at}`, plan: at % 2 ? "pro" : "starter" });
      await complete(page);
      await administer(page);
    },
  },
  { name: "admin-empty", title: "Overview · Tenantry admin", alike: "admin", go: (page) => administer(page) },
  {
    name: "admin-closed",
    title: "Overview · Tenantry admin",
    alike: "admin",
    async go(page, server) {
      await server.setSignups(false);
      await administer(page);
    },
  },
  {
    name: "admin-onboard",
    title: "Onboard a tenant · Tenantry admin",
    async go(page) {
      await administer(page);
      await page.goto("/admin/onboard");
    },
  },
  {
    name: "admin-invoices",
    title: "Invoices · Tenantry admin",
    async go(page, server) {
      for (const name of ["Ada", "Grace"]) await server.call("POST", "/api/v1/auth/register", { body: { ...BUYER, email: `${name}@example.com`, account_name: `${name} & Sons` } });
      const [invoice] = (await server.admin("GET", "/invoices")).data;
      await server.admin("POST", `/invoices/${invoice.id}/mark-paid`, { external_payment_id: "SEPA 4711" });
      await administer(page);
      await page.goto("/admin/invoices");
      await page.getByText("Mark as paid…").click();
    },
  },
  {
    name: "admin-stripe-events",
    title: "Stripe events · Tenantry admin",
    async go(page, server) {
      await buy(page, server);
      await administer(page);
      await expect(async () => {
        await page.goto("/admin/stripe-events");
        await expect(page.getByRole("button", { name: "Replay" }).first()).toBeVisible({ timeout: 500 });
      }).toPass();
    },
  },
  {
    name: "admin-sales-leads",
    title: "Sales leads · Tenantry admin",
    async go(page, server) {
      const lead = { email: "cto@example.com", name: "Grace Hopper", company: "Hopper Ltd", team_size: "51-200", message: "We need single sign-on.\nWhen can we talk?" };
      await server.call("POST", "/public/contact-sales", { body: lead });
      await server.call("POST", "/public/contact-sales", { body: { ...lead, company: "Lovelace Ltd", message: undefined } });
      await administer(page);
      await page.goto("/admin/sales-leads");
    },
  },
  {
    name: "admin-tenant-failed",
    title: "Lovelace Ltd · Tenantry admin",
    env: CALLING,
    async go(page, server, webhook) {
      webhook.status = 500;
      await watch(page, webhook);
      await heading(page, "One thing needs your help");
      await administer(page);
      await page.goto(`/admin/tenants/${ADA.slug}`);
      await page.getByText("The run has stopped").waitFor();
    },
  },
];
