// A second factor in a browser, with JavaScript and without, and the code of a mail that is read on another device.
import { readFile } from "node:fs/promises";
import { SETTINGS, openSettings, scan, signInAgain, signUp, switchOn, withFactor } from "../support/factor.js";
import { expect, test } from "../support/test.js";
import { ADA, heading } from "../support/wizard.js";

const submit = (page) => page.getByRole("main").getByRole("button", { name: "Sign in" }).click();

for (const javaScriptEnabled of [true, false]) {
  test.describe(javaScriptEnabled ? "with JavaScript" : "without JavaScript", () => {
    test.use({ javaScriptEnabled });

    test("set up, sign in with a code, and switch it off again", async ({ page, server, noise }) => {
      await openSettings(page, server);
      const phone = await scan(page, server);
      noise.expectStatus(401, `${SETTINGS}/confirm`);
      await page.getByLabel("Type the six digits").fill("000000");
      await page.getByRole("button", { name: "Switch it on" }).click();
      await expect(page.locator("#errors")).toContainText("That code did not work");
      expect(await switchOn(page, phone)).toHaveLength(10);
      await page.getByRole("link", { name: "I have kept them" }).click();
      await expect(page.getByText("10 are left.")).toBeVisible();

      await signInAgain(page);
      await page.goto("/dashboard");
      await heading(page, "Sign in");
      await page.goto("/signin/code");
      noise.expectStatus(401, "/signin/code");
      await page.getByLabel("Code").fill("000000");
      await submit(page);
      await expect(page.locator("#errors")).toContainText("That code did not work");
      await page.getByLabel("Code").fill(await phone.code());
      await submit(page);
      await heading(page, "Hello, Ada");

      await page.goto(SETTINGS);
      await page.getByRole("link", { name: "Switch the second factor off" }).click();
      await page.getByLabel("Code of your app").fill(await phone.code());
      await page.getByRole("button", { name: "Switch it off" }).click();
      await expect(page.getByRole("button", { name: "Set it up" })).toBeVisible();
      const subjects = (await server.mails()).map(({ subject }) => subject);
      expect(subjects).toEqual(expect.arrayContaining(["The second factor is on", "The second factor is off"]));
    });

    test("a recovery code signs in once, and new ones take the place of all", async ({ page, server, noise }) => {
      const { phone, codes } = await withFactor(page, server);
      await signInAgain(page);
      await page.getByRole("link", { name: "Use a recovery code" }).click();
      await page.getByLabel("Recovery code").fill(codes[0].toLowerCase().replaceAll("-", " "));
      await submit(page);
      await heading(page, "Hello, Ada");

      await signInAgain(page);
      await page.getByRole("link", { name: "Use a recovery code" }).click();
      noise.expectStatus(401, "/signin/code");
      await page.getByLabel("Recovery code").fill(codes[0]);
      await submit(page);
      await expect(page.locator("#errors")).toContainText("That code did not work");
      await heading(page, "Use a recovery code");
      await page.getByRole("link", { name: "Use the app instead" }).click();
      await page.getByLabel("Code").fill(await phone.code());
      await submit(page);
      await heading(page, "Hello, Ada");

      await page.goto(SETTINGS);
      await expect(page.getByText("9 are left.")).toBeVisible();
      await page.getByRole("link", { name: "Make new codes" }).click();
      await page.getByLabel("Code of your app").fill(await phone.code());
      await page.getByRole("button", { name: "Make new codes" }).click();
      await heading(page, "Keep your recovery codes");
      await expect(page.getByRole("listitem").filter({ hasText: codes[1] })).toHaveCount(0);
    });

    test("the recovery codes can be kept as a file", async ({ page, server }) => {
      const { codes } = await withFactor(page, server);
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("link", { name: "Download as text" }).click(),
      ]);
      expect(download.suggestedFilename()).toBe("tenantry-recovery-codes.txt");
      const lines = (await readFile(await download.path(), "utf8")).trim().split(/\r\n/);
      expect(lines.slice(2)).toEqual(codes);
    });

    test("the mail is read on a phone, and its code typed on the desktop", async ({ page, server, noise }) => {
      await signUp(server);
      await page.goto("/signin");
      await page.getByLabel("Email").fill(ADA.email);
      await page.getByRole("button", { name: "Mail me a link" }).click();
      await heading(page, "Check your mail");
      const mail = async () => (await server.mails()).find(({ subject }) => subject === "Your link to log in");
      await expect.poll(mail).toBeTruthy();
      const [code] = (await mail()).text.match(/^[A-Z]{4}-[A-Z]{4}$/m);
      noise.expectStatus(401, "/signin/mail-code");
      await page.getByLabel("code from the mail").fill("BCDF-GHJK");
      await page.getByRole("button", { name: "Sign in with the code" }).click();
      await expect(page.locator("#errors")).toContainText("That code did not work");
      await page.getByLabel("code from the mail").fill(code.toLowerCase());
      await page.getByRole("button", { name: "Sign in with the code" }).click();
      await page.waitForURL("**/dashboard");
      await heading(page, "Hello, Ada");
    });
  });
}
