// One's own settings.
import { openSettings, scan, withFactor } from "../factor.js";
import { OpenIdProvider, agree, withoutFonts } from "../oidc.js";
import { freePort } from "../server.js";
import { ADA, heading } from "../wizard.js";
import { GOOGLE, complete, open } from "./ways.js";

/** Where a provider listens that really signs somebody in. */
const PROVIDER = await freePort();

/** Signs up to the end, and goes to a page of the settings. */
async function settle(page, path = "/settings") {
  await complete(page);
  await page.goto(path);
}

/** Asks for another address, and follows the link that goes there. */
async function changeEmail(page, server) {
  await settle(page, "/settings/email");
  await page.getByLabel("New email").fill("ada.lovelace@example.com");
  await page.getByLabel("Your password").fill(ADA.password);
  await page.getByRole("button", { name: "Mail me a link" }).click();
  await page.getByRole("status").getByText("A link is on its way").waitFor();
  await open(page, server, "/change-email");
}

/** Somebody for whom a tenant was made, and who has no password. */
async function beOnboarded(page, server) {
  await server.admin("POST", "/onboard", { email: ADA.email, tenant_name: ADA.company, plan: "free" });
  await open(page, server, "/magic-link");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/dashboard");
}

export const SETTINGS = [
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
    go: (page, server) => changeEmail(page, server),
  },
  {
    name: "change-email-done",
    title: "Your email is changed · Tenantry",
    async go(page, server) {
      await changeEmail(page, server);
      await page.getByRole("button", { name: "Use this address" }).click();
      await heading(page, "Your email is changed");
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
    name: "settings-sign-in-last",
    title: "Error: Sign-in methods · Tenantry",
    env: OpenIdProvider.env(PROVIDER),
    status: [409, "/settings/sign-in/google/remove"],
    async go(page) {
      const provider = await OpenIdProvider.start(PROVIDER);
      await withoutFonts(page);
      await page.goto("/onboarding");
      await page.getByRole("link", { name: "Continue with Google" }).click();
      await agree(page, ADA.email);
      await heading(page, "Hello, Ada");
      await provider.end();
      await page.goto("/settings/sign-in");
      await page.getByRole("button", { name: "Remove Google" }).click();
      await page.getByText("This is your only way in").waitFor();
    },
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
];
