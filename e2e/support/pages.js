import { openSettings, scan, signInAgain, withFactor } from "./factor.js";
import { ADMIN_TOKEN } from "./server.js";
import { ADA, WEBHOOK, doBasics, doBranding, fillBasics, heading, proceed, setUp } from "./wizard.js";

/** For runs that call webhooks on this machine, and fail soon. */
export const CALLING = {
  TENANTRY_PROVISION__DRY_RUN: "false",
  TENANTRY_PROVISION__ALLOW_PRIVATE_ADDRESSES: "true",
  TENANTRY_PROVISION__MAX_ATTEMPTS: "2",
  TENANTRY_PROVISION__BACKOFF_BASE: "50ms",
};

/** A provider is configured; these pages only name it. */
const GOOGLE = { TENANTRY_OAUTH__GOOGLE__CLIENT_ID: "tenantry", TENANTRY_OAUTH__GOOGLE__CLIENT_SECRET: "a-client-secret-for-tests" };

/** Follows a link of a letter. */
async function open(page, server, path) {
  const links = (await server.mails()).flatMap((mail) => mail.links);
  await page.goto(links.find((link) => link.includes(path)));
}

/** Signs up to the end, on Pro. */
async function complete(page) {
  await doBranding(page, { plan: "pro" });
  await setUp(page);
  await heading(page, `${ADA.company} is open`);
}

/** Signs up to the live page, on Starter with this webhook. */
async function watch(page, webhook) {
  await doBranding(page);
  await page.getByLabel("Make.com webhook").fill(webhook.url);
  await setUp(page);
  await page.waitForURL("**/onboarding/progress");
}

async function contact(page, email) {
  await page.goto("/contact-sales");
  await page.getByLabel("Work email").fill(email);
  await page.getByLabel("Your name").fill(ADA.name);
  await page.getByLabel("Company").fill(ADA.company);
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator("#errors").or(page.getByRole("heading", { name: "Thank you" })).waitFor();
}

/** Signs up to the end, and goes to a page of the settings. */
async function settle(page, path = "/settings") {
  await complete(page);
  await page.goto(path);
}

/** Follows a link of a letter in a browser that knows nothing of the sign-up. */
async function openElsewhere(page, server, path) {
  await server.signUp({ email: ADA.email, tenant_name: ADA.company });
  await open(page, server, path);
}

/** Somebody for whom a tenant was made, and who has no password. */
async function beOnboarded(page, server) {
  await server.admin("POST", "/onboard", { email: ADA.email, tenant_name: ADA.company, plan: "free" });
  await open(page, server, "/magic-link");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/dashboard");
}

/** Signs in as a platform administrator. */
async function administer(page) {
  await page.goto("/admin/signin");
  await page.getByLabel("Admin token").fill(ADMIN_TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await heading(page, "Overview");
}

/**
 * Every page, and every state that looks different. One line adds one:
 * `title`, how to get there (`path`, or `go` where there is more to do), and where needed the server's `env`, the `status` that
 * the browser reports, `isOffline`, and the page that this one is another state of (`alike`): those may share a title.
 */
export const PAGES = [
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
  { name: "sign-in", title: "Sign in · Tenantry", path: "/signin" },
  { name: "sign-in-providers", title: "Sign in · Tenantry", alike: "sign-in", env: GOOGLE, path: "/signin" },
  {
    name: "sign-in-refused",
    title: "Error: Sign in · Tenantry",
    status: [401, "/signin"],
    async go(page) {
      await page.goto("/signin");
      await page.getByLabel("Email").fill(ADA.email);
      await page.getByLabel("Password").fill("not the right one");
      await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
      await page.locator("#errors").waitFor();
    },
  },
  { name: "forgot-password", title: "Forgot your password · Tenantry", path: "/forgot-password" },
  {
    name: "reset-password",
    title: "Set a new password · Tenantry",
    async go(page, server) {
      await server.signUp({ email: ADA.email, tenant_name: ADA.company });
      await page.goto("/forgot-password");
      await page.getByLabel("Email").fill(ADA.email);
      await page.getByRole("button", { name: "Mail me a link" }).click();
      await heading(page, "A link is on its way");
      await open(page, server, "/reset-password");
    },
  },
  {
    name: "sign-in-sent",
    title: "Check your mail · Tenantry",
    async go(page) {
      await page.goto("/signin");
      await page.getByLabel("Email").fill(ADA.email);
      await page.getByRole("button", { name: "Mail me a link" }).click();
      await heading(page, "Check your mail");
    },
  },
  {
    name: "sign-in-mail-code-refused",
    title: "Error: Check your mail · Tenantry",
    status: [401, "/signin/mail-code"],
    async go(page) {
      await page.goto("/signin");
      await page.getByLabel("Email").fill(ADA.email);
      await page.getByRole("button", { name: "Mail me a link" }).click();
      await page.getByLabel("code from the mail").fill("BCDF-GHJK");
      await page.getByRole("button", { name: "Sign in with the code" }).click();
      await page.locator("#errors").waitFor();
    },
  },
  {
    name: "sign-in-code",
    title: "Type your code · Tenantry",
    async go(page, server) {
      await withFactor(page, server);
      await signInAgain(page);
    },
  },
  {
    name: "sign-in-code-refused",
    title: "Error: Use a recovery code · Tenantry",
    status: [401, "/signin/code"],
    async go(page, server) {
      await withFactor(page, server);
      await signInAgain(page);
      await page.getByRole("link", { name: "Use a recovery code" }).click();
      await page.getByLabel("Recovery code").fill("BCDF-GHJK-LMNP");
      await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
      await page.locator("#errors").waitFor();
    },
  },
  { name: "second-factor-off", title: "Second factor · Tenantry", go: (page, server) => openSettings(page, server) },
  {
    name: "second-factor-set-up",
    title: "Set up the second factor · Tenantry",
    async go(page, server) {
      await openSettings(page, server);
      await scan(page, server);
    },
  },
  { name: "second-factor-codes", title: "Keep your recovery codes · Tenantry", go: (page, server) => withFactor(page, server) },
  {
    name: "second-factor-on",
    title: "Second factor · Tenantry",
    alike: "second-factor-off",
    async go(page, server) {
      await withFactor(page, server);
      await page.getByRole("link", { name: "I have kept them" }).click();
      await heading(page, "Second factor");
    },
  },
  {
    name: "second-factor-switch-off",
    title: "Switch the second factor off · Tenantry",
    async go(page, server) {
      await withFactor(page, server);
      await page.goto("/settings/second-factor/switch-off");
      await heading(page, "Switch the second factor off");
    },
  },
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
    name: "magic-link",
    title: "Sign in to Tenantry · Tenantry",
    async go(page, server) {
      await complete(page);
      await open(page, server, "/magic-link");
    },
  },
  {
    name: "verified",
    title: "Your address is verified · Tenantry",
    async go(page, server) {
      await complete(page);
      await open(page, server, "/verify-email");
      await page.getByRole("button", { name: "Verify my address" }).click();
      await heading(page, "Your address is verified");
    },
  },
  {
    name: "verify-claim",
    title: "Verify your address · Tenantry",
    go: (page, server) => openElsewhere(page, server, "/verify-email"),
  },
  {
    name: "verify-claim-refused",
    title: "Error: Verify your address · Tenantry",
    status: [401, "/verify-email"],
    async go(page, server) {
      await openElsewhere(page, server, "/verify-email");
      await page.getByLabel("The password you chose then").fill("not the right one");
      await page.getByRole("button", { name: "Verify my address" }).click();
      await page.locator("#errors").waitFor();
    },
  },
  {
    name: "claimed",
    title: "Your account is yours alone now · Tenantry",
    async go(page, server) {
      await openElsewhere(page, server, "/verify-email");
      await page.getByRole("button", { name: "I did not sign up" }).click();
      await heading(page, "Your account is yours alone now");
    },
  },
  { name: "settings", title: "Profile · Tenantry", go: (page) => settle(page) },
  {
    name: "settings-saved",
    title: "Profile · Tenantry",
    alike: "settings",
    async go(page) {
      await settle(page);
      await page.getByRole("button", { name: "Save the name" }).click();
      await page.getByRole("status").getByText("Saved").waitFor();
    },
  },
  { name: "settings-email", title: "Change your email · Tenantry", go: (page) => settle(page, "/settings/email") },
  {
    name: "settings-email-refused",
    title: "Error: Change your email · Tenantry",
    status: [401, "/settings/email"],
    async go(page) {
      await settle(page, "/settings/email");
      await page.getByLabel("New email").fill("ada.lovelace@example.com");
      await page.getByLabel("Your password").fill("not the right one");
      await page.getByRole("button", { name: "Mail me a link" }).click();
      await page.locator("#errors").waitFor();
    },
  },
  {
    name: "change-email",
    title: "Change your email · Tenantry",
    alike: "settings-email",
    async go(page, server) {
      await settle(page, "/settings/email");
      await page.getByLabel("New email").fill("ada.lovelace@example.com");
      await page.getByLabel("Your password").fill(ADA.password);
      await page.getByRole("button", { name: "Mail me a link" }).click();
      await page.getByRole("status").getByText("A link is on its way").waitFor();
      await open(page, server, "/change-email");
    },
  },
  { name: "settings-password", title: "Password · Tenantry", go: (page) => settle(page, "/settings/password") },
  {
    name: "settings-password-refused",
    title: "Error: Password · Tenantry",
    status: [422, "/settings/password"],
    async go(page) {
      await settle(page, "/settings/password");
      await page.getByLabel("Current password").fill(ADA.password);
      await page.getByLabel("New password").fill("short");
      await page.getByRole("button", { name: "Change the password" }).click();
      await page.locator("#errors").waitFor();
    },
  },
  {
    name: "settings-password-first",
    title: "Password · Tenantry",
    alike: "settings-password",
    async go(page, server) {
      await beOnboarded(page, server);
      await page.goto("/settings/password");
      await heading(page, "Set a password");
    },
  },
  {
    name: "settings-password-late",
    title: "Password · Tenantry",
    alike: "settings-password",
    async go(page, server) {
      await beOnboarded(page, server);
      await server.advance(11 * 60);
      await page.goto("/settings/password");
      await page.getByText("Please sign in once more").waitFor();
    },
  },
  {
    name: "settings-sign-in",
    title: "Sign-in methods · Tenantry",
    env: GOOGLE,
    go: (page) => settle(page, "/settings/sign-in"),
  },
  {
    name: "settings-sessions",
    title: "Sessions · Tenantry",
    async go(page, server) {
      await complete(page);
      for (const agent of [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        "python-requests/2.32",
      ]) {
        await fetch(`${server.url}/api/v1/auth/login`, {
          method: "POST",
          headers: { "Content-Type": "application/json", "User-Agent": agent },
          body: JSON.stringify({ email: ADA.email, password: ADA.password }),
        });
      }
      await page.goto("/settings/sessions");
      await heading(page, "Sessions");
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

/** Brings a page into one of the states above. */
export async function visit({ path, go }, page, server, webhook) {
  if (go) await go(page, server, webhook);
  else await page.goto(path);
}
