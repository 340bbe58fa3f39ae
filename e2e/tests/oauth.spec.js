// Signing up, signing in and linking with a real OpenID provider, by its own pages.
import { createRemoteJWKSet, jwtVerify } from "jose";
import { OpenIdProvider, agree, withoutFonts } from "../support/oidc.js";
import { test as base, expect } from "../support/test.js";
import { ADA, heading } from "../support/wizard.js";

const test = base.extend({
  provider: async ({}, use) => {
    const provider = await OpenIdProvider.start();
    await use(provider);
    await provider.end();
  },
  env: async ({ provider }, use) => use(provider.env),
  page: async ({ page }, use) => {
    await withoutFonts(page);
    await use(page);
  },
});

async function signUp(page) {
  await page.goto("/onboarding");
  await page.getByRole("link", { name: "Continue with Google" }).click();
  await agree(page, ADA.email);
  await page.waitForURL("**/dashboard");
  await heading(page, "Hello, Ada");
}

test("somebody new comes by Google and has a tenant", async ({ page, server }) => {
  await signUp(page);
  expect(await server.onlyTenant()).toMatchObject({ name: "Ada Lovelace", plan: "pro" });
  // Again, from the page where one signs in; the provider still knows who it is.
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto("/signin");
  await page.getByRole("link", { name: "Sign in with Google" }).click();
  await page.waitForURL("**/dashboard");
  expect(await server.tenants()).toHaveLength(1);
});

/** Adds Google in the settings and takes it away, and then tries to where it is the only way in. */
async function addAndRemove({ page, server, noise }) {
  await server.call("POST", "/api/v1/auth/register", {
    body: { email: ADA.email, password: ADA.password, password_confirm: ADA.password, account_name: ADA.company },
  });
  await page.goto("/signin");
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByLabel("Password").fill(ADA.password);
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/dashboard");
  await page.goto("/settings/sign-in");
  await page.getByRole("button", { name: "Add Google" }).click();
  await agree(page, "ada.at.google@example.com");
  await page.waitForURL("**/settings/sign-in");
  await expect(page.getByText("ada.at.google@example.com")).toBeVisible();
  await page.getByRole("button", { name: "Remove Google" }).click();
  await expect(page.getByRole("button", { name: "Add Google" })).toBeVisible();

  noise.expectStatus(409, "/settings/sign-in/google/remove");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto("/onboarding");
  await page.getByRole("link", { name: "Continue with Google" }).click();
  await page.waitForURL("**/dashboard");
  await page.goto("/settings/sign-in");
  await page.getByRole("button", { name: "Remove Google" }).click();
  await heading(page, "Sign-in methods");
  await expect(page.getByRole("alert")).toContainText("only way in");
}

const ADDED = "a provider is added in the settings and taken away, but not the last way in";
test(ADDED, addAndRemove);

test.describe("without JavaScript", () => {
  test.use({ javaScriptEnabled: false });

  test("the same way works", async ({ page }) => {
    await signUp(page);
  });
  test(ADDED, addAndRemove);
});

test("whoever turns back at Google is told that nothing happened", async ({ page, server, noise }) => {
  noise.expectStatus(401, "/api/v1/auth/oauth/google/callback.*");
  await page.goto("/signin");
  await page.getByRole("link", { name: "Sign in with Google" }).click();
  await page.getByRole("link", { name: "Cancel" }).click();
  await heading(page, "You are not signed in");
  await page.getByRole("main").getByRole("link", { name: "Sign in" }).click();
  await heading(page, "Sign in");
  expect(await server.tenants()).toHaveLength(0);
});

test("others verify our tokens with our keys", async ({ server }) => {
  const { access_token: token, user, tenant } = await server.call("POST", "/api/v1/auth/register", {
    body: { email: ADA.email, password: ADA.password, password_confirm: ADA.password, account_name: ADA.company },
  });
  const discovery = await server.call("GET", "/.well-known/openid-configuration");
  const keys = createRemoteJWKSet(new URL(discovery.jwks_uri));
  const options = { issuer: discovery.issuer, audience: "access", typ: "at+jwt", algorithms: discovery.id_token_signing_alg_values_supported };
  const { payload } = await jwtVerify(token, keys, options);
  expect(payload).toMatchObject({ sub: user.id, tid: tenant.id, role: "owner", plan: "pro", ev: false });
  for (const claim of discovery.claims_supported) expect(payload).toHaveProperty(claim);
  const [head, body, signature] = token.split(".");
  const forged = Buffer.from(JSON.stringify({ ...payload, role: "admin" })).toString("base64url");
  await expect(jwtVerify([head, forged, signature].join("."), keys, options)).rejects.toThrow("signature verification failed");
  await expect(jwtVerify([head, body, signature].join("."), keys, { ...options, audience: "signup" })).rejects.toThrow('"aud"');
});
