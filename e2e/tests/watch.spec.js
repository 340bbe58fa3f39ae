// The watch over every other test sees what it is there for.
import { expect, test } from "../support/test.js";

test("inline script and foreign requests are violations, and are heard", async ({ page, noise }) => {
  await page.goto("/");
  expect(noise.unexpected).toEqual([]);
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "document.title = 'taken over'";
    document.body.append(script);
  });
  await expect.poll(() => noise.unexpected).toEqual([expect.stringContaining("Content Security Policy")]);
  await expect(page).not.toHaveTitle("taken over");
  noise.expect(/Content Security Policy directive 'script-src 'self''/);
});

test("an exception in a page is heard", async ({ page, noise }) => {
  await page.goto("/");
  await page.evaluate(() => setTimeout(() => { throw new Error("on purpose"); }));
  await expect.poll(() => noise.unexpected).toEqual([expect.stringContaining("on purpose")]);
  noise.expect(/on purpose/);
});
