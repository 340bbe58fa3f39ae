import { test as base, expect } from "@playwright/test";
import { Server } from "./server.js";
import { Webhook } from "./webhook.js";

export { expect };

/** What a browser says when it finds no network, or no server. */
const LOSS = /net::ERR_(INTERNET_DISCONNECTED|CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|SOCKET_NOT_CONNECTED)/;

/** Chromium says so of a font that came too late to be shown (`font-display: optional`), which on a busy machine happens. */
const LATE_FONT = /figtree\.woff2 was preloaded using link preload but not used/;

/** What the browser complained of, in any page of any context of a test. Whatever the test has not allowed fails it. */
class Noise {
  #heard = [];
  #expected = [];
  #mayLose = false;

  watch(context) {
    context.on("console", (message) => {
      if (!["error", "warning"].includes(message.type()) || LATE_FONT.test(message.text())) return;
      this.#heard.push(`${message.type()}: ${message.text()} (${message.location().url})`);
    });
    context.on("weberror", (error) => this.#heard.push(`page error: ${error.error().stack ?? error.error()}`));
  }

  /** Allows what a test provokes on purpose. It has to come, too. */
  expect(pattern) {
    this.#expected.push(pattern);
  }

  /** Expects an answer with `status` from `path`. */
  expectStatus(status, path) {
    this.expect(new RegExp(`status of ${status} .*\\(http://[^/]+${path}\\)$`));
  }

  /** Allows requests that do not get through, however many they are. */
  allowLosses() {
    this.#mayLose = true;
  }

  /** What was heard and not expected. */
  get unexpected() {
    return this.#heard.filter((heard) => !this.#expected.some((pattern) => pattern.test(heard)) && !(this.#mayLose && LOSS.test(heard)));
  }

  /** What was expected and not heard. */
  get missing() {
    return this.#expected.filter((pattern) => !this.#heard.some((heard) => pattern.test(heard)));
  }
}

export const test = base.extend({
  /** The server's environment, beside what every test's has: `test.use({ env: { … } })`. */
  env: [{}, { option: true }],

  /** Its database: `sqlite` or `postgresql`. */
  database: ["sqlite", { option: true }],

  /** What its command is given: `test.use({ args: ["--no-worker"] })`. */
  args: [[], { option: true }],

  /** A server of the test's own. Its invariants have to hold at the end, whatever the test did. */
  server: async ({ env, database, args }, use, info) => {
    const server = await Server.start({ env, database, args });
    await use(server);
    const doctor = info.status === info.expectedStatus ? await server.cli("doctor") : undefined;
    if (info.status !== info.expectedStatus) await info.attach("server.log", { body: await server.log(), contentType: "text/plain" });
    await server.end();
    if (doctor) expect(doctor.code, doctor.output).toBe(0);
  },

  /** A webhook that answers, or not, as the test wants. */
  webhook: async ({}, use) => {
    const webhook = await Webhook.start();
    await use(webhook);
    await webhook.end();
  },

  baseURL: async ({ server }, use) => use(server.url),

  noise: [
    async ({ context }, use) => {
      const noise = new Noise();
      noise.watch(context);
      await use(noise);
      expect(noise.unexpected, "console errors, page errors and violations of the content security policy").toEqual([]);
      expect(noise.missing, "complaints that were expected and did not come").toEqual([]);
    },
    { auto: true },
  ],

  /** Opens a browser of somebody else: a context of its own, watched as the first. */
  newcomer: async ({ browser, baseURL, noise }, use) => {
    const contexts = [];
    await use(async (options = {}) => {
      const context = await browser.newContext({ baseURL, ...options });
      noise.watch(context);
      contexts.push(context);
      return context.newPage();
    });
    for (const context of contexts) await context.close();
  },
});
