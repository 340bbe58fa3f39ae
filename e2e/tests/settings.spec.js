// One's own account: password, address, sessions, links by mail, and what a stranger may have set up before.
import { signInAgain, signUp, withFactor } from "../support/factor.js";
import { ADA, heading } from "../support/wizard.js";
import { expect, test } from "../support/test.js";

const NEW = { email: "ada.lovelace@example.com", password: "another horse battery" };

/** Registers over the API, and signs in. */
async function signIn(page, server, { email = ADA.email, password = ADA.password } = {}) {
  await page.goto("/signin");
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/dashboard");
}

const register = (server) =>
  server.call("POST", "/api/v1/auth/register", {
    body: { email: ADA.email, password: ADA.password, password_confirm: ADA.password, account_name: ADA.company, name: ADA.name, plan_slug: "free" },
  });

const logIn = (server, email, password) => server.call("POST", "/api/v1/auth/login", { body: { email, password } });

async function link(server, path) {
  const links = (await server.mails()).flatMap((mail) => mail.links);
  return links.find((each) => each.includes(path));
}

/** From the dashboard by the navigation to each page, with a change on each. */
async function walk({ page, server }) {
  await register(server);
  await signIn(page, server);
  await page.getByRole("link", { name: "Settings" }).click();
  await heading(page, "Profile");
  await page.getByLabel("Your name").fill("Augusta Ada King");
  await page.getByRole("button", { name: "Save the name" }).click();
  await expect(page.getByRole("status")).toContainText("Saved");
  await expect(page.getByLabel("Your name")).toHaveValue("Augusta Ada King");

  const settings = page.getByRole("navigation", { name: "Settings" });
  await settings.getByRole("link", { name: "Password" }).click();
  await expect(settings.getByRole("link", { name: "Password" })).toHaveAttribute("aria-current", "page");
  await page.getByLabel("Current password").fill(ADA.password);
  await page.getByLabel("New password").fill(NEW.password);
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByRole("status")).toContainText("Your new password is set");
  await logIn(server, ADA.email, NEW.password);

  await settings.getByRole("link", { name: "Profile" }).click();
  await page.getByRole("link", { name: "Change the address" }).click();
  await page.getByLabel("New email").fill(NEW.email);
  await page.getByLabel("Your password").fill(NEW.password);
  await page.getByRole("button", { name: "Mail me a link" }).click();
  await expect(page.getByRole("status")).toContainText("A link is on its way");
  await page.goto(await link(server, "/change-email"));
  await expect(page.getByText(`The account of ${ADA.email} uses ${NEW.email} from now on`)).toBeVisible();
  await page.getByRole("button", { name: "Use this address" }).click();
  await heading(page, "Your email is changed");

  await logIn(server, NEW.email, NEW.password);
  await page.goto("/settings/sessions");
  await expect(page.getByText("This one")).toBeVisible();
  await page.getByRole("button", { name: "End all others" }).click();
  await expect(page.getByRole("status")).toContainText("Signed out there");
  await expect(page.getByRole("button", { name: "End all others" })).toHaveCount(0);
}

/** Somebody proves an address that a stranger registered. */
async function claim({ page, server }) {
  const stranger = await register(server);
  await page.goto(await link(server, "/verify-email"));
  await page.getByRole("button", { name: "I did not sign up" }).click();
  await heading(page, "Your account is yours alone now");
  await expect(logIn(server, ADA.email, ADA.password)).rejects.toThrow("401");
  await expect(server.call("GET", "/api/v1/auth/me", { token: stranger.access_token })).rejects.toThrow("401");
  await page.getByRole("link", { name: "Set a password" }).click();
  await page.getByLabel("New password").fill(NEW.password);
  await page.getByRole("button", { name: "Set the password" }).click();
  await heading(page, "Your new password is set");
  await signIn(page, server, { password: NEW.password });
}

/** Somebody forgot their password. */
async function forget({ page, server }) {
  await register(server);
  await page.goto("/signin");
  await page.getByRole("link", { name: "Forgot it?" }).click();
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByRole("button", { name: "Mail me a link" }).click();
  await heading(page, "A link is on its way");
  await page.goto(await link(server, "/reset-password"));
  await page.getByLabel("New password").fill(NEW.password);
  await page.getByRole("button", { name: "Set the password" }).click();
  await heading(page, "Your new password is set");
  await expect(logIn(server, ADA.email, ADA.password)).rejects.toThrow("401");
  await page.getByRole("main").getByRole("link", { name: "Sign in" }).click();
  await signIn(page, server, { password: NEW.password });
}

/** Somebody signs in by a link alone. */
async function follow({ page, server }) {
  await signUp(server);
  await page.goto("/signin");
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByRole("button", { name: "Mail me a link" }).click();
  await heading(page, "Check your mail");
  await page.goto(await link(server, "/magic-link"));
  await heading(page, "Sign in to Tenantry");
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/dashboard");
  await heading(page, "Hello, Ada");
}

test("a walk through the settings", walk);
test("a claim", claim);
test("a forgotten password", forget);
test("a link by mail", follow);

test.describe("without JavaScript", () => {
  test.use({ javaScriptEnabled: false });
  test("a walk through the settings", walk);
  test("a claim", claim);
  test("a forgotten password", forget);
  test("a link by mail", follow);
});

test("Enter in the password's field keeps what was there, and does not claim it", async ({ page, server }) => {
  await register(server);
  await page.goto(await link(server, "/verify-email"));
  await page.getByLabel("The password you chose then").fill(ADA.password);
  await page.keyboard.press("Enter");
  await heading(page, "Your address is verified");
  await logIn(server, ADA.email, ADA.password);
});

test("password managers know whose password it is", async ({ page, server }) => {
  await register(server);
  await signIn(page, server);
  await page.goto("/.well-known/change-password");
  await page.waitForURL("**/settings/password");
  const fields = await page.getByRole("main").locator("input[autocomplete]").evaluateAll((inputs) => inputs.map(({ autocomplete, value }) => [autocomplete, value]));
  expect(fields).toEqual([["username", ADA.email], ["current-password", ""], ["new-password", ""]]);
});

/** What a password manager is told of the fields that it fills. */
const managed = (page) =>
  page
    .getByRole("main")
    .locator("input:is([type=email], [type=password], [autocomplete=username], [autocomplete=one-time-code])")
    .evaluateAll((inputs) => inputs.map(({ name, autocomplete }) => `${name}: ${autocomplete}`));

test("password managers know what goes into which field", async ({ page, server }) => {
  for (const [path, fields] of Object.entries({
    "/signin": ["email: username", "password: current-password"],
    "/onboarding": ["email: email", "password: new-password"],
    "/forgot-password": ["email: username"],
    "/reset-password?token=any": ["password: new-password"],
  })) {
    await page.goto(path);
    expect(await managed(page), path).toEqual(fields);
  }
  await withFactor(page, server);
  await signInAgain(page);
  expect(await managed(page), "/signin/code").toEqual(["totp: one-time-code"]);
});
