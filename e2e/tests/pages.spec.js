// Every page, in both themes and in two widths: accessible, titled, and nothing sticks out. What is at fault depends on the colours or on
// the layout, not on both at once, so each of them is looked at once.
import AxeBuilder from "@axe-core/playwright";
import { PAGES, visit } from "../support/pages.js";
import { expect, test } from "../support/test.js";

const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const LOOKS = [
  { colorScheme: "light", width: 1280 },
  { colorScheme: "dark", width: 390 },
];

for (const each of PAGES) {
  test.describe(() => {
    // Colours that are on their way to others have no contrast to speak of.
    test.use({ env: each.env ?? {}, contextOptions: { reducedMotion: "reduce" } });

    test(`the page ${each.name}`, async ({ page, server, webhook, noise }) => {
      if (each.status) noise.expectStatus(...each.status);
      if (each.isOffline) noise.allowLosses();
      await visit(each, page, server, webhook);

      await expect(page).toHaveTitle(each.title);
      await expect(page.getByRole("heading", { level: 1 })).toHaveCount(1);
      await expect(page.locator("html")).toHaveAttribute("lang", "en");
      await expect(page.getByRole("main")).toHaveCount(1);

      for (const { colorScheme, width } of LOOKS) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme });
        // No page has frames, for which axe would open another page.
        const { violations } = await new AxeBuilder({ page }).setLegacyMode().withTags(RULES).analyze();
        const found = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} at ${target}: ${failureSummary}`));
        expect.soft(found, `axe, ${colorScheme}, ${width} px wide`).toEqual([]);
      }

      await page.setViewportSize({ width: 320, height: 640 });
      const sticksOut = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(sticksOut, "pixels to scroll sideways at 320").toBe(0);
    });
  });
}

test("no two pages have the same title", () => {
  const titles = PAGES.filter(({ alike }) => !alike).map(({ title }) => title);
  expect(new Set(titles).size).toBe(titles.length);
});
