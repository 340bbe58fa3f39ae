// Makes the pictures of every page and state: npm run screenshots [-- NAME ...]
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { PAGES, visit } from "./support/pages.js";
import { CHROMIUM, root } from "./support/paths.js";
import { Server } from "./support/server.js";
import { Webhook } from "./support/webhook.js";

const WIDTHS = [1280, 390];
const THEMES = ["light", "dark"];
const QUALITY = 40;
const folder = join(root, "docs/screenshots");
const names = process.argv.slice(2);

async function shoot(each, browser) {
  const [server, webhook] = [await Server.start({ env: each.env }), await Webhook.start()];
  const page = await browser.newPage({ baseURL: server.url, locale: "en-GB", timezoneId: "UTC", reducedMotion: "reduce" });
  let bytes = 0;
  try {
    await visit(each, page, server, webhook);
    const session = await page.context().newCDPSession(page);
    for (const width of WIDTHS) {
      for (const colorScheme of THEMES) {
        await page.setViewportSize({ width, height: 844 });
        await page.emulateMedia({ colorScheme });
        await page.evaluate(() => document.fonts.ready);
        const height = await page.evaluate(() => document.documentElement.scrollHeight);
        const clip = { x: 0, y: 0, width, height, scale: 1 };
        const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: QUALITY, captureBeyondViewport: true, clip });
        const picture = Buffer.from(data, "base64");
        await writeFile(join(folder, `${each.name}-${width}-${colorScheme}.webp`), picture);
        bytes += picture.length;
      }
    }
  } finally {
    await page.context().close();
    await webhook.end();
    await server.end();
  }
  return bytes;
}

if (names.length === 0) await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: CHROMIUM });
let total = 0;
for (const each of PAGES.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const bytes = await shoot(each, browser);
  total += bytes;
  console.log(`${each.name}: ${Math.round(bytes / 1000)} kB`);
}
await browser.close();
console.log(`${Math.round(total / 1000)} kB in all, in ${folder}`);
