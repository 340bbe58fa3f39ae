import { once } from "node:events";
import { createServer } from "node:http";

/** A tenant's own program, at the other end of its webhook. */
export class Webhook {
  /** What it answers. */
  status = 200;
  /** The requests that came: `HEAD /hook`. */
  calls = [];
  #open = Promise.resolve();

  static async start() {
    const webhook = new Webhook();
    webhook.server = createServer(async (request, response) => {
      webhook.calls.push(`${request.method} ${request.url}`);
      request.resume();
      await webhook.#open;
      response.writeHead(webhook.status).end();
    });
    webhook.server.listen(0, "127.0.0.1");
    await once(webhook.server, "listening");
    return webhook;
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}/hook`;
  }

  /** Answers nothing from now on, until the function that comes back is called. */
  hold() {
    let release;
    this.#open = new Promise((resolve) => { release = resolve; });
    return release;
  }

  async end() {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }
}
