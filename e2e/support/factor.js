import { expect } from "./test.js";
import { Phone } from "./totp.js";
import { ADA, heading } from "./wizard.js";

export const SETTINGS = "/settings/second-factor";

/** Signs up on the free plan and proves the address, over the API. */
export async function signUp(server) {
  const { token } = await server.signUp({ email: ADA.email, password: ADA.password, tenant_name: ADA.company, name: ADA.name, plan: "free" });
  await server.call("POST", "/public/signup/finish", { token, body: {} });
  const link = async () => (await server.mails()).flatMap(({ links }) => links).find((link) => link.includes("/verify-email"));
  await expect.poll(link).toBeTruthy();
  await server.call("POST", "/api/v1/auth/email/verify", { body: { token: new URL(await link()).searchParams.get("token") } });
}

async function signIn(page) {
  await page.goto("/signin");
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByLabel("Password").fill(ADA.password);
  await page.getByRole("main").getByRole("button", { name: "Sign in" }).click();
}

/** Signs up, and goes to the second factor's settings. */
export async function openSettings(page, server) {
  await signUp(server);
  await signIn(page);
  await heading(page, "Hello, Ada");
  await page.goto(SETTINGS);
  await heading(page, "Second factor");
}

/** Goes on to the QR code; the phone that has read it. */
export async function scan(page, server) {
  await page.getByRole("button", { name: "Set it up" }).click();
  await heading(page, "Set up the second factor");
  return new Phone(server, await page.locator("code.secret").textContent());
}

/** Switches it on; the recovery codes. */
export async function switchOn(page, phone) {
  await page.getByLabel("Type the six digits").fill(await phone.code());
  await page.getByRole("button", { name: "Switch it on" }).click();
  await heading(page, "Keep your recovery codes");
  return page.getByRole("list", { name: "Recovery codes" }).getByRole("listitem").allTextContents();
}

/** All of it; the phone, and the codes. */
export async function withFactor(page, server) {
  await openSettings(page, server);
  const phone = await scan(page, server);
  return { phone, codes: await switchOn(page, phone) };
}

/** Signs out, and in again as far as the password goes. */
export async function signInAgain(page) {
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL((url) => url.pathname === "/");
  await signIn(page);
  await heading(page, "Type your code");
}
