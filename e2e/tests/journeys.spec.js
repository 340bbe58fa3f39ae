// From the first page to a dashboard that greets its owner.
import { expect, test } from "../support/test.js";
import { ADA, WEBHOOK, doBranding, heading, setUp } from "../support/wizard.js";

/** What every one who came through finds. */
async function arrived(page, server, plan) {
  await page.waitForURL("**/dashboard");
  await heading(page, "Hello, Ada");
  const panel = page.getByRole("region", { name: plan.name, exact: true });
  if (plan.trial) await expect(panel).toContainText("14 of 14 days left");
  else await expect(panel).toContainText("Free, for as long as you like.");
  await expect(page.getByText("Complete in")).toBeVisible();
  await expect(page.locator("#steps > li:not([data-state=complete], [data-state=skipped])")).toHaveCount(0);

  const tenant = await server.onlyTenant();
  expect(tenant).toMatchObject({ slug: ADA.slug, plan: plan.slug, status: "active", provision: { status: "complete" } });
  const subjects = (await server.mails()).filter(({ to }) => to === ADA.email).map(({ subject }) => subject);
  expect(subjects, "one letter to verify the address, one to sign in").toHaveLength(2);

  await page.getByRole("link", { name: "Open the page" }).click();
  await page.waitForURL(server.page(ADA.slug));
  await heading(page, ADA.company);
  await expect(page.getByText("Premium")).toBeVisible();
}

/** The plan's own step 3. */
const ENDINGS = [
  {
    slug: "starter",
    name: "Starter",
    trial: true,
    async end(page) {
      await heading(page, "Connect Make.com");
      await page.getByLabel("Make.com webhook").fill(WEBHOOK);
      await setUp(page);
    },
  },
  {
    slug: "pro",
    name: "Pro",
    trial: true,
    async end(page) {
      await heading(page, "Confirm Pro");
      await setUp(page);
    },
  },
  {
    slug: "free",
    name: "Free",
    trial: false,
    async end(page) {
      await heading(page, `Ready to set up ${ADA.company}`);
      await setUp(page);
    },
  },
];

/** The whole way. With JavaScript the last page leads on by itself. */
function journey(plan) {
  return async ({ page, server, javaScriptEnabled }) => {
    await doBranding(page, { plan: plan.slug });
    await plan.end(page);
    await page.waitForURL("**/onboarding/progress");
    await heading(page, `${ADA.company} is open`);
    if (!javaScriptEnabled) await page.getByRole("link", { name: "Open dashboard" }).click();
    await arrived(page, server, plan);
  };
}

for (const plan of ENDINGS) test(`${plan.name}, led on to the dashboard`, journey(plan));

test.describe("without JavaScript", () => {
  test.use({ javaScriptEnabled: false });
  for (const plan of ENDINGS) test(`${plan.name}, by forms alone`, journey(plan));
});

test.describe("on PostgreSQL", () => {
  test.use({ database: "postgresql" });
  for (const plan of ENDINGS.filter(({ trial }) => trial)) test(`${plan.name}, led on to the dashboard`, journey(plan));
});
