// The wizard, and where it leads.
import { ADA, doBasics, doBranding, fillBasics, heading, proceed, setUp } from "../wizard.js";
import { CALLING, complete, watch } from "./ways.js";

export const WIZARD = [
  { name: "basics", title: "Basics, step 1 of 3 · Tenantry", path: "/onboarding" },
  {
    name: "basics-refused",
    title: "Error: Basics, step 1 of 3 · Tenantry",
    status: [409, "/onboarding"],
    async go(page, server) {
      await server.signUp({ email: "grace@example.com", tenant_name: "Hopper", slug: "hopper" });
      await page.goto("/onboarding");
      await fillBasics(page);
      await page.getByLabel("Address").fill("hopper");
      await proceed(page);
      await heading(page, "Start your free trial");
      await page.locator("#errors").waitFor();
    },
  },
  {
    name: "basics-expired",
    title: "Basics, step 1 of 3 · Tenantry",
    alike: "basics",
    env: { TENANTRY_SIGNUP__TOKEN_TTL: "1h" },
    async go(page, server) {
      await doBasics(page);
      await server.advance(2 * 60 * 60);
      await page.goto("/onboarding");
      await heading(page, "Pick up where you left off");
    },
  },
  { name: "branding", title: "Branding, step 2 of 3 · Tenantry", go: (page) => doBasics(page) },
  {
    name: "plan-starter",
    title: "Plan set-up, step 3 of 3 · Tenantry",
    go: (page) => doBranding(page),
  },
  {
    name: "plan-pro",
    title: "Plan set-up, step 3 of 3 · Tenantry",
    alike: "plan-starter",
    go: (page) => doBranding(page, { plan: "pro" }),
  },
  {
    name: "plan-refused",
    title: "Error: Plan set-up, step 3 of 3 · Tenantry",
    status: [422, "/onboarding/plan/make"],
    async go(page) {
      await doBranding(page);
      await page.getByLabel("Make.com webhook").fill("https://example.com/hook");
      await setUp(page);
      await page.locator("#errors").waitFor();
    },
  },
  {
    name: "offline",
    title: "Branding, step 2 of 3 · Tenantry",
    alike: "branding",
    isOffline: true,
    async go(page) {
      await doBasics(page);
      await page.context().setOffline(true);
      await proceed(page);
      await page.locator("#connection").waitFor();
    },
  },
  {
    name: "progress-running",
    title: "Setting up Lovelace Ltd · Tenantry",
    env: CALLING,
    async go(page, server, webhook) {
      webhook.hold();
      await watch(page, webhook);
      await page.locator("[data-step=validate_webhook][data-state=processing]").waitFor();
    },
  },
  {
    name: "progress-failed",
    title: "Lovelace Ltd needs your help · Tenantry",
    env: CALLING,
    async go(page, server, webhook) {
      webhook.status = 500;
      await watch(page, webhook);
      await heading(page, "One thing needs your help");
    },
  },
  {
    name: "progress",
    title: "Lovelace Ltd is open · Tenantry",
    async go(page) {
      await complete(page);
      // It leads on to the dashboard unless somebody does something else.
      await page.keyboard.press("Shift");
    },
  },
  {
    name: "dashboard",
    title: "Lovelace Ltd · Tenantry",
    async go(page) {
      await complete(page);
      await page.goto("/dashboard");
      await heading(page, "Hello, Ada");
    },
  },
  {
    name: "dashboard-trial-ended",
    title: "Lovelace Ltd · Tenantry",
    alike: "dashboard",
    async go(page, server) {
      await complete(page);
      await server.advance(20 * 24 * 60 * 60);
      await page.goto("/dashboard");
      await page.getByText("Trial ended", { exact: true }).waitFor();
    },
  },
];
