// The first page is light, and waits for no script.
import { expect, test } from "../support/test.js";

const BUDGET = 60_000;

for (const path of ["/", "/onboarding"]) {
  test(`the weight of ${path}`, async ({ page, context }) => {
    const session = await context.newCDPSession(page);
    await session.send("Network.enable");
    const addresses = new Map();
    const sizes = {};
    session.on("Network.responseReceived", ({ requestId, response }) => addresses.set(requestId, response.url));
    session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => { sizes[addresses.get(requestId)] = encodedDataLength; });
    await page.goto(path, { waitUntil: "networkidle" });

    const total = Object.values(sizes).reduce((sum, size) => sum + size, 0);
    console.log(`${path}: ${total} bytes in ${Object.keys(sizes).length} requests`);
    expect(Object.keys(sizes)).toContainEqual(expect.stringContaining("/assets/tenantry.css"));
    expect(total, JSON.stringify(sizes, undefined, 1)).toBeLessThan(BUDGET);

    const blocking = await page.evaluate(() => ({
      written: [...document.querySelectorAll("script[src]:not([type=module], [defer], [async])")].map(({ src }) => src),
      loaded: performance.getEntriesByType("resource").filter(({ initiatorType, renderBlockingStatus }) => initiatorType === "script" && renderBlockingStatus === "blocking").map(({ name }) => name),
    }));
    expect(blocking).toEqual({ written: [], loaded: [] });
  });
}
