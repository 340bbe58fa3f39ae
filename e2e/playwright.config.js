import { defineConfig } from "@playwright/test";
import { cpus } from "node:os";
import { join } from "node:path";
import { CHROMIUM, target } from "./support/paths.js";

const output = join(target, "e2e");

export default defineConfig({
  testDir: "tests",
  // What a failed test leaves: screenshots and a trace, to open with `npx playwright show-trace …/trace.zip`.
  outputDir: join(output, "failures"),
  reporter: [["list"], ["json", { outputFile: join(output, "report.json") }]],
  fullyParallel: true,
  // More than cores: a test often waits for a timer or an event.
  workers: Math.min(cpus().length + 1, 4),
  retries: 0,
  forbidOnly: true,
  timeout: 45_000,
  expect: { timeout: 10_000 },
  use: {
    launchOptions: { executablePath: CHROMIUM },
    viewport: { width: 1280, height: 900 },
    locale: "en-GB",
    timezoneId: "UTC",
    screenshot: "only-on-failure",
    // Recording each page costs as much as testing it; what fails in CI can be traced by hand.
    trace: process.env.CI ? "off" : { mode: "retain-on-failure", screenshots: false },
  },
});
