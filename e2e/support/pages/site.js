// The product's own pages, a tenant's, and those that say that there is none.
import { ADA, heading } from "../wizard.js";
import { complete } from "./ways.js";

async function contact(page, email) {
  await page.goto("/contact-sales");
  await page.getByLabel("Work email").fill(email);
  await page.getByLabel("Your name").fill(ADA.name);
  await page.getByLabel("Company").fill(ADA.company);
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator("#errors").or(page.getByRole("heading", { name: "Thank you" })).waitFor();
}

export const SITE = [
  { name: "home", title: "Tenantry: the front door of your SaaS", path: "/" },
  { name: "pricing", title: "Pricing · Tenantry", path: "/pricing" },
  { name: "contact", title: "Contact sales · Tenantry", path: "/contact-sales" },
  {
    name: "contact-refused",
    title: "Error: Contact sales · Tenantry",
    status: [422, "/contact-sales"],
    go: (page) => contact(page, "ada..lovelace@example.com"),
  },
  { name: "contact-sent", title: "Thank you · Tenantry", go: (page) => contact(page, ADA.email) },
  {
    name: "public-page",
    title: "Lovelace Ltd",
    async go(page, server) {
      await complete(page);
      await page.goto(server.page(ADA.slug));
      await heading(page, ADA.company);
    },
  },
  {
    name: "mailbox",
    title: "Mailbox · Tenantry",
    async go(page) {
      await complete(page);
      await page.goto("/dev/mailbox");
    },
  },
  { name: "not-found", title: "This page was never there · Tenantry", path: "/no-such-page", status: [404, "/no-such-page"] },
  {
    name: "closed",
    title: "Sign-ups are closed · Tenantry",
    status: [503, "/onboarding"],
    async go(page, server) {
      await server.setSignups(false);
      await page.goto("/onboarding");
    },
  },
  {
    name: "by-invitation",
    title: "By invitation · Tenantry",
    env: { TENANTRY_SIGNUP__SELF_SERVE_ENABLED: "false" },
    status: [503, "/onboarding"],
    path: "/onboarding",
  },
];
