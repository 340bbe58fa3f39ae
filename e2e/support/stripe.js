import Stripe from "stripe";

/** Stripe's own SDK, led to the sandbox of a server. */
export async function sdk(server, { key } = {}) {
  const reach = await server.call("GET", "/dev/sandbox.json");
  const { hostname: host, port, protocol } = new URL(reach.api_base);
  const stripe = new Stripe(key ?? reach.secret_key, {
    apiVersion: reach.version,
    host,
    port,
    protocol: protocol.replace(":", ""),
    maxNetworkRetries: 0,
    telemetry: false,
  });
  return { stripe, webhookSecret: reach.webhook_secret };
}

/** Fills in a test card by its last digits, and pays. */
export async function payBy(page, last4, email = "ada@example.com") {
  await page.getByLabel("Email").fill(email);
  await page.getByRole("button", { name: `${last4}:` }).click();
  await page.getByRole("button", { name: "Pay and subscribe" }).click();
}
