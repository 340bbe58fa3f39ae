import { expect } from "./test.js";

/** Somebody who signs up. */
export const ADA = {
  email: "ada@example.com",
  password: "correct horse battery",
  company: "Lovelace Ltd",
  slug: "lovelace-ltd",
  name: "Ada Lovelace",
};

export const WEBHOOK = "https://hook.eu1.make.com/4f0c2d9a";

/** The wizard's steps, as headings. */
export const heading = (page, name) => expect(page.getByRole("heading", { level: 1, name })).toBeVisible();

/** Types what step 1 asks for. */
export async function fillBasics(page, { plan = "starter", ...who } = {}) {
  const { email, password, company, name } = { ...ADA, ...who };
  await page.getByLabel("Work email").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByLabel("Company name").fill(company);
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("combobox", { name: "Plan" }).selectOption(plan);
}

export const proceed = (page) => page.getByRole("button", { name: "Continue" }).click();
export const setUp = (page) => page.getByRole("button", { name: /^Set up (?!without)/ }).click();

/** Does step 1. */
export async function doBasics(page, who) {
  await page.goto("/onboarding");
  await fillBasics(page, who);
  await proceed(page);
  await page.waitForURL("**/onboarding/branding");
}

/** Does steps 1 and 2. */
export async function doBranding(page, who) {
  await doBasics(page, who);
  await page.getByLabel("Main colour", { exact: true }).fill("#1d4ed8");
  await proceed(page);
  await page.waitForURL("**/onboarding/plan");
}
