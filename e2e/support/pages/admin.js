// The operator's pages.
import { ADMIN_TOKEN } from "../server.js";
import { ADA, heading } from "../wizard.js";
import { CALLING, complete, watch } from "./ways.js";

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
