import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { target } from "./paths.js";

const BINARY = process.env.TENANTRY_BINARY ?? join(target, "debug/tenantry");
/** PostgreSQL's admin URL, as scripts/pg prints it. */
const POSTGRES = process.env.TEST_DATABASE_URL;

/** For the admin API, and the admin pages. */
export const ADMIN_TOKEN = "an-admin-token-that-is-good-for-this-test-alone";

/** A port on loopback that nobody listens on, below the range that the kernel hands out itself. */
export async function freePort() {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    const probe = createServer();
    const free = await new Promise((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => probe.close(resolve));
    return port;
  }
}

async function psql(command) {
  if (!POSTGRES) throw new Error("TEST_DATABASE_URL is not set; scripts/test sets it, or: export TEST_DATABASE_URL=$(scripts/pg start DIR fsync=off)");
  const child = spawn("psql", [POSTGRES, "-qc", command], { stdio: ["ignore", "ignore", "inherit"] });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`psql ended with ${code}: ${command}`);
}

/** The real binary, on a port and in a data directory of its own. */
export class Server {
  #child;
  #log;

  /** Starts one on a new database, `sqlite` or `postgresql`; `env` is added to its environment, `args` to its command. */
  static async start({ env = {}, database = "sqlite", args = [] } = {}) {
    const server = new Server();
    server.args = args;
    server.port = await freePort();
    server.dir = await mkdtemp(join(tmpdir(), "tenantry-e2e."));
    server.env = {
      PATH: process.env.PATH,
      HOME: server.dir,
      TENANTRY_ENVIRONMENT: "development",
      TENANTRY_HTTP__BIND: `127.0.0.1:${server.port}`,
      TENANTRY_DATA_DIR: server.dir,
      TENANTRY_RATE_LIMIT__ENABLED: "false",
      TENANTRY_ADMIN_TOKEN: ADMIN_TOKEN,
      ...env,
    };
    try {
      if (database === "postgresql") await server.#createDatabase();
      await server.run();
    } catch (error) {
      await server.end();
      throw error;
    }
    return server;
  }

  async #createDatabase() {
    const name = `e2e_${randomUUID().replaceAll("-", "")}`;
    await psql(`CREATE DATABASE ${name}`);
    this.database = name;
    this.env.DATABASE_URL = Object.assign(new URL(POSTGRES), { pathname: name }).href;
  }

  /** Where the product is; a tenant's page is below it, on a hostname of its own. */
  get url() {
    return `http://localhost:${this.port}`;
  }

  /** A tenant's public page. */
  page(slug) {
    return `http://${slug}.localhost:${this.port}/`;
  }

  /** Starts the process, again where it was killed: on the same port, with the same data. */
  async run() {
    this.#log = await open(join(this.dir, "server.log"), "a");
    this.#child = spawn(BINARY, ["serve", ...this.args], { env: this.env, stdio: ["ignore", this.#log.fd, this.#log.fd] });
    const ended = once(this.#child, "exit").then(([code]) => { throw new Error(`the server ended with ${code}`); });
    await Promise.race([ended, this.#ready()]).catch(async (error) => {
      error.message += `\n${await this.log()}`;
      throw error;
    });
    ended.catch(() => {});
  }

  async #ready() {
    for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/readyz`).catch(() => undefined);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error("the server did not become ready");
  }

  /** Ends the process at once, as a crash does. */
  async kill() {
    if (this.#child?.pid && this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGKILL");
      await once(this.#child, "exit");
    }
    await this.#log?.close();
  }

  /** Starts a worker beside it, with `env` of its own; ends it by the function that comes back. */
  worker(env) {
    const child = spawn(BINARY, ["worker"], { env: { ...this.env, ...env }, stdio: "ignore" });
    const ended = once(child, "exit");
    return () => child.kill("SIGKILL") && ended;
  }

  /** Ends it, and leaves nothing behind. */
  async end() {
    await this.kill();
    if (this.database) await psql(`DROP DATABASE ${this.database} WITH (FORCE)`);
    await rm(this.dir, { recursive: true, force: true });
  }

  /** All it has written so far. */
  async log() {
    return readFile(join(this.dir, "server.log"), "utf8");
  }

  /** Runs a command of the binary on the same data, and gives its exit code and what it wrote. */
  async cli(...args) {
    const child = spawn(BINARY, args, { env: this.env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => { output += chunk; });
    const [code] = await once(child, "close");
    return { code, output };
  }

  /** Calls the API, and gives its answer as JSON. */
  async call(method, path, { token, body } = {}) {
    const answer = await fetch(this.url + path, {
      method,
      headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
      body: body && JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** Calls the admin API. */
  admin(method, path, body) {
    return this.call(method, `/api/v1/admin${path}`, { token: ADMIN_TOKEN, body });
  }

  /** All tenants there are, newest first. */
  async tenants() {
    return (await this.admin("GET", "/tenants")).data;
  }

  /** The one tenant there is, with its run. */
  async onlyTenant() {
    const tenants = await this.tenants();
    if (tenants.length !== 1) throw new Error(`there are ${tenants.length} tenants: ${tenants.map(({ slug }) => slug)}`);
    return this.admin("GET", `/tenants/${tenants[0].id}`);
  }

  /** Signs a tenant up over the API, no further than step 1. */
  signUp(fields) {
    return this.call("POST", "/public/signup/start", { body: { password: "correct horse battery", ...fields } });
  }

  /** The letters it has sent, newest first. */
  async mails() {
    return (await this.call("GET", "/dev/mailbox.json")).data;
  }

  /** Moves the product's clock forward. */
  advance(seconds) {
    return this.call("POST", "/dev/clock/advance", { body: { seconds } });
  }

  /** Opens or closes the kill switch. */
  setSignups(enabled) {
    return this.admin("PUT", "/feature-flags/signup_enabled", { enabled });
  }
}
