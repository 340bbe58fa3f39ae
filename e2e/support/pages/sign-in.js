// Signing in, and what mailed links lead to.
import { signInAgain, withFactor } from "../factor.js";
import { ADA, heading } from "../wizard.js";
import { GOOGLE, complete, open } from "./ways.js";

/** Asks for a new password. */
async function forget(page, server) {
  await server.signUp({ email: ADA.email, tenant_name: ADA.company });
  await page.goto("/forgot-password");
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByRole("button", { name: "Mail me a link" }).click();
  await heading(page, "A link is on its way");
}

/** Follows a link of a letter in a browser that knows nothing of the sign-up. */
async function openElsewhere(page, server, path) {
  await server.signUp({ email: ADA.email, tenant_name: ADA.company });
  await open(page, server, path);
}

export const SIGN_IN = [
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
  { name: "forgot-password-sent", title: "A link is on its way · Tenantry", go: (page, server) => forget(page, server) },
  {
    name: "reset-password",
    title: "Set a new password · Tenantry",
    async go(page, server) {
      await forget(page, server);
      await open(page, server, "/reset-password");
    },
  },
  {
    name: "reset-password-refused",
    title: "Error: Set a new password · Tenantry",
    env: { TENANTRY_PASSWORD__MIN_SCORE: "3" },
    status: [422, "/reset-password"],
    async go(page, server) {
      await forget(page, server);
      await open(page, server, "/reset-password");
      await page.getByLabel("New password").fill("aaaaaaaaaaaa");
      await page.getByRole("button", { name: "Set the password" }).click();
      await page.locator("#errors").waitFor();
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
  {
    name: "magic-link",
    title: "Sign in to Tenantry · Tenantry",
    async go(page, server) {
      await complete(page);
      await open(page, server, "/magic-link");
    },
  },
  {
    name: "magic-link-expired",
    title: "This link has expired · Tenantry",
    status: [410, "/magic-link"],
    async go(page, server) {
      await complete(page);
      await open(page, server, "/magic-link");
      await server.advance(10 * 24 * 60 * 60);
      await page.getByRole("button", { name: "Sign in" }).click();
      await heading(page, "This link has expired");
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
];
