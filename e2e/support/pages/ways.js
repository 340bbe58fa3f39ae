// Ways to the states of pages, as far as pages of several areas share them.
import { ADA, doBranding, heading, setUp } from "../wizard.js";

/** For runs that call webhooks on this machine, and fail soon. */
export const CALLING = {
  TENANTRY_PROVISION__DRY_RUN: "false",
  TENANTRY_PROVISION__ALLOW_PRIVATE_ADDRESSES: "true",
  TENANTRY_PROVISION__MAX_ATTEMPTS: "2",
  TENANTRY_PROVISION__BACKOFF_BASE: "50ms",
};

/** A provider is configured; these pages only name it. */
export const GOOGLE = { TENANTRY_OAUTH__GOOGLE__CLIENT_ID: "tenantry", TENANTRY_OAUTH__GOOGLE__CLIENT_SECRET: "a-client-secret-for-tests" };

/** Follows a link of a letter. */
export async function open(page, server, path) {
  const links = (await server.mails()).flatMap((mail) => mail.links);
  await page.goto(links.find((link) => link.includes(path)));
}

/** Signs up to the end, on Pro. */
export async function complete(page) {
  await doBranding(page, { plan: "pro" });
  await setUp(page);
  await heading(page, `${ADA.company} is open`);
}

/** Signs up to the live page, on Starter with this webhook. */
export async function watch(page, webhook) {
  await doBranding(page);
  await page.getByLabel("Make.com webhook").fill(webhook.url);
  await setUp(page);
  await page.waitForURL("**/onboarding/progress");
}
