// Lighthouse's scores for the pages that strangers see, and the server's time for them: npm run lighthouse
//
// Fetches Lighthouse itself (no browser) through npm at its first run. Measure a release build: TENANTRY_BINARY=../target/release/tenantry
import { execFile } from "node:child_process";
import { performance } from "node:perf_hooks";
import { promisify } from "node:util";
import { CHROMIUM } from "./support/paths.js";
import { Server } from "./support/server.js";

/** The last one that runs on Node 18. */
const LIGHTHOUSE = "lighthouse@12.8.2";
const PATHS = ["/", "/pricing", "/onboarding"];
const REQUESTS = 500;

async function scores(url) {
  const options = ["--quiet", "--output=json", "--output-path=stdout", "--no-enable-error-reporting", "--chrome-flags=--headless=new --no-sandbox"];
  const { stdout } = await promisify(execFile)("npx", ["--yes", LIGHTHOUSE, url, ...options], {
    env: { ...process.env, CHROME_PATH: CHROMIUM },
    maxBuffer: 64 * 1024 * 1024,
  });
  const { categories } = JSON.parse(stdout);
  return Object.values(categories).map(({ title, score }) => `${title} ${Math.round(score * 100)}`);
}

/** Milliseconds from a request to the end of its answer, over one kept connection, at the median. */
async function serverTime(url) {
  const times = [];
  for (let sent = 0; sent < REQUESTS; sent += 1) {
    const started = performance.now();
    await (await fetch(url)).arrayBuffer();
    times.push(performance.now() - started);
  }
  return times.sort((a, b) => a - b)[REQUESTS / 2];
}

const server = await Server.start();
try {
  for (const path of PATHS) {
    const { status } = await fetch(server.url + path);
    if (status !== 200) {
      console.log(`${path}: answers ${status}`);
      continue;
    }
    const median = await serverTime(server.url + path);
    console.log(`${path}: ${median.toFixed(1)} ms at the median. ${(await scores(server.url + path)).join(", ")}`);
  }
} finally {
  await server.end();
}
