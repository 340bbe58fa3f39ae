// Stripe's own SDK drives the sandbox, and takes its events.
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { once } from "node:events";
import Stripe from "stripe";
import { payBy, sdk } from "../support/stripe.js";
import { expect, test } from "../support/test.js";

/** A plan of the test's own: its monthly and its yearly price. */
async function prices(stripe) {
  const product = await stripe.products.create({ name: "Tea", metadata: { kind: "test" } });
  const price = (unit_amount, interval) =>
    stripe.prices.create({ product: product.id, unit_amount, currency: "eur", recurring: { interval } });
  return [await price(1_000, "month"), await price(3_000, "month")];
}

test("from the customer to the last invoice", async ({ page, server }) => {
  const { stripe } = await sdk(server);
  const customer = await stripe.customers.create({ email: "ada@example.com", name: "Ada", metadata: { tenant_id: "7" } });
  const [small, large] = await prices(stripe);
  const session = await stripe.checkout.sessions.create({
    mode: "subscription",
    customer: customer.id,
    client_reference_id: "7",
    line_items: [{ price: small.id, quantity: 1 }],
    success_url: `${server.url}/pricing?session={CHECKOUT_SESSION_ID}`,
    cancel_url: `${server.url}/pricing`,
    subscription_data: { metadata: { tenant_id: "7" } },
  });
  await page.goto(session.url);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Pay 10 EUR");
  await payBy(page, "4242");
  await page.waitForURL(`**/pricing?session=${session.id}`);

  const paid = await stripe.checkout.sessions.retrieve(session.id, { expand: ["subscription.latest_invoice", "line_items"] });
  expect(paid.status).toBe("complete");
  expect(paid.line_items.data[0].price.id).toBe(small.id);
  expect(paid.subscription.latest_invoice.status).toBe("paid");
  const id = paid.subscription.id;

  let subscription = await stripe.subscriptions.retrieve(id, {
    expand: ["customer", "default_payment_method", "latest_invoice.payments", "items.data.price.product"],
  });
  expect(subscription).toMatchObject({ status: "active", metadata: { tenant_id: "7" }, customer: { email: "ada@example.com" } });
  expect(subscription.default_payment_method.card).toMatchObject({ brand: "visa", last4: "4242" });
  expect(subscription.items.data[0].price.product.name).toBe("Tea");
  expect(subscription.latest_invoice.payments.data[0].status).toBe("paid");

  const items = [{ id: subscription.items.data[0].id, price: large.id }];
  const preview = await stripe.invoices.createPreview({ subscription: id, subscription_details: { items, proration_behavior: "always_invoice" } });
  expect(preview.total).toBeGreaterThan(1_900);
  subscription = await stripe.subscriptions.update(id, { items, proration_behavior: "always_invoice", expand: ["latest_invoice"] });
  expect(subscription.items.data[0].price.id).toBe(large.id);
  expect(subscription.latest_invoice).toMatchObject({ billing_reason: "subscription_update", status: "paid" });

  subscription = await stripe.subscriptions.update(id, { cancel_at_period_end: true });
  expect(subscription.cancel_at).toBe(subscription.items.data[0].current_period_end);
  subscription = await stripe.subscriptions.update(id, { cancel_at_period_end: false });
  expect(subscription.cancel_at).toBeNull();

  await server.advance(70 * 24 * 60 * 60);
  await expect.poll(async () => (await stripe.invoices.list({ subscription: id, limit: 100 })).data.length).toBe(4);
  const reasons = [];
  for await (const invoice of stripe.invoices.list({ customer: customer.id, limit: 1 })) reasons.push(invoice.billing_reason);
  expect(reasons).toEqual(["subscription_cycle", "subscription_cycle", "subscription_update", "subscription_create"]);

  const ended = await stripe.subscriptions.cancel(id);
  expect(ended.status).toBe("canceled");
  const events = await stripe.events.list({ types: ["customer.subscription.created", "customer.subscription.deleted"] });
  expect(events.data.map(({ type }) => type)).toEqual(["customer.subscription.deleted", "customer.subscription.created"]);
});

test("the portal replaces the card, cancels and resumes", async ({ page, server }) => {
  const { stripe } = await sdk(server);
  const customer = await stripe.customers.create({ email: "ada@example.com" });
  const card = await stripe.paymentMethods.attach("pm_card_visa", { customer: customer.id });
  const [{ id: price }] = await prices(stripe);
  const { id } = await stripe.subscriptions.create({ customer: customer.id, items: [{ price }], default_payment_method: card.id });
  const portal = await stripe.billingPortal.sessions.create({ customer: customer.id, return_url: `${server.url}/pricing` });
  await page.goto(portal.url);
  await page.getByRole("button", { name: "Cancel at the period's end" }).click();
  await expect(page.getByRole("button", { name: "Keep it" })).toBeVisible();
  expect((await stripe.subscriptions.retrieve(id)).cancel_at_period_end).toBe(true);
  await page.getByRole("button", { name: "Keep it" }).click();
  await page.getByRole("button", { name: "4444:" }).click();
  await page.getByRole("button", { name: "Use this card" }).click();
  await expect(page.getByText("mastercard ending in 4444")).toBeVisible();
  const subscription = await stripe.subscriptions.retrieve(id, { expand: ["default_payment_method"] });
  expect(subscription).toMatchObject({ cancel_at_period_end: false, default_payment_method: { card: { last4: "4444" } } });
  expect((await stripe.paymentMethods.list({ customer: customer.id })).data).toHaveLength(2);
  await page.getByRole("link", { name: /0001/ }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(/^Invoice /);
});

test("a repeat is answered alike, and each refusal has its class", async ({ server }) => {
  const { stripe } = await sdk(server);
  const once = { idempotencyKey: "the-same" };
  const first = await stripe.customers.create({ email: "ada@example.com" }, once);
  const again = await stripe.customers.create({ email: "ada@example.com" }, once);
  expect(again.id).toBe(first.id);
  expect(again.lastResponse.headers["idempotent-replayed"]).toBe("true");
  await expect(stripe.customers.create({ email: "grace@example.com" }, once)).rejects.toBeInstanceOf(Stripe.errors.StripeIdempotencyError);
  await expect(stripe.customers.retrieve("cus_nobody")).rejects.toMatchObject({
    type: "StripeInvalidRequestError", code: "resource_missing", statusCode: 404, requestId: expect.stringMatching(/^req_/),
  });
  await expect(stripe.paymentMethods.attach("pm_card_chargeDeclined", { customer: first.id })).rejects.toMatchObject({
    type: "StripeCardError", code: "card_declined", decline_code: "generic_decline",
  });
  const { stripe: stranger } = await sdk(server, { key: "sk_test_of_somebody_else" });
  await expect(stranger.customers.list()).rejects.toBeInstanceOf(Stripe.errors.StripeAuthenticationError);
  const fault = (request) => fetch(`${server.url}/dev/sandbox/faults`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ request }),
  });
  await fault({ path: "/v1/customers", status: 429, retry_after: 1 });
  await expect(stripe.customers.list()).rejects.toBeInstanceOf(Stripe.errors.StripeRateLimitError);
  await fault({ path: "/v1/customers", status: 500 });
  await expect(stripe.customers.list()).rejects.toBeInstanceOf(Stripe.errors.StripeAPIError);
  // A connection that breaks is tried a second time by the SDK itself, without being told to.
  await fault({ path: "/v1/customers", drop: true, times: 2 });
  await expect(stripe.customers.create({})).rejects.toBeInstanceOf(Stripe.errors.StripeConnectionError);
  await fault({ path: "/v1/customers", drop: true, effect: true });
  const lost = await stripe.customers.create({}, { idempotencyKey: "lost" });
  expect(lost.lastResponse.headers["idempotent-replayed"]).toBe("true");
  expect((await stripe.customers.list()).data).toHaveLength(2);
});

test.describe(() => {
  test.use({ args: ["--no-worker"] });

  test("the SDK takes an event that was delivered, and no other", async ({ server }) => {
    const { stripe, webhookSecret } = await sdk(server);
    const seen = [];
    const receiver = createServer(async (request, response) => {
      const chunks = await request.toArray();
      seen.push({ url: request.url, body: Buffer.concat(chunks).toString(), signature: request.headers["stripe-signature"] });
      response.end();
    }).listen(0, "127.0.0.1");
    await once(receiver, "listening");
    // A worker that takes the receiver for the product.
    const stop = server.worker({ TENANTRY_PUBLIC_URL: `http://localhost:${receiver.address().port}` });
    try {
      const customer = await stripe.customers.create({ email: "ada@example.com" });
      await expect.poll(() => seen.length).toBe(1);
      const [{ url, body, signature }] = seen;
      expect(url).toBe("/api/v1/webhooks/stripe");
      const event = stripe.webhooks.constructEvent(body, signature, webhookSecret);
      expect(event).toMatchObject({ type: "customer.created", api_version: "2025-03-31.basil", data: { object: { id: customer.id } } });
      expect(() => stripe.webhooks.constructEvent(`${body} `, signature, webhookSecret)).toThrow(Stripe.errors.StripeSignatureVerificationError);
      expect(() => stripe.webhooks.constructEvent(body, signature, "whsec_other")).toThrow(Stripe.errors.StripeSignatureVerificationError);
    } finally {
      await stop();
      receiver.closeAllConnections();
      receiver.close();
    }
  });
});

test("the webhook takes what the SDK signs now with our secret, and no other", async ({ server }) => {
  const { stripe, webhookSecret } = await sdk(server);
  const now = Math.floor(Date.now() / 1_000);
  const payload = (more) => JSON.stringify({
    id: "evt_signed_by_the_sdk", object: "event", type: "radar.early_fraud_warning.created", created: now, livemode: false,
    data: { object: { id: "issfr_1", object: "radar.early_fraud_warning" } }, ...more,
  });
  const signed = (body, { secret = webhookSecret, timestamp = now } = {}) => stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp });
  const send = async (body, signature) => {
    const headers = { "Content-Type": "application/json", ...(signature && { "Stripe-Signature": signature }) };
    const response = await fetch(`${server.url}/api/v1/webhooks/stripe`, { method: "POST", headers, body });
    const answer = await response.json();
    return `${response.status} ${answer.code ?? answer.status}`;
  };
  const body = payload();
  expect(await send(body)).toBe("400 SIGNATURE_INVALID");
  expect(await send(body, signed(body, { secret: "whsec_of_somebody_else" }))).toBe("400 SIGNATURE_INVALID");
  expect(await send(body, `t=${now},v1=${createHmac("sha256", "").update(`${now}.${body}`).digest("hex")}`)).toBe("400 SIGNATURE_INVALID");
  expect(await send(`${body} `, signed(body))).toBe("400 SIGNATURE_INVALID");
  expect(await send(body, signed(body, { timestamp: now - 330 }))).toBe("400 SIGNATURE_INVALID");
  expect(await send(body, signed(body, { timestamp: now + 330 }))).toBe("400 SIGNATURE_INVALID");
  for (const other of [payload({ livemode: true }), payload({ account: "acct_of_somebody_else" })]) {
    expect(await send(other, signed(other))).toBe("400 EVENT_REFUSED");
  }
  expect(await send(body, signed(body, { timestamp: now - 240 }))).toBe("200 ignored");
  expect(await send(body, signed(body, { timestamp: now + 240 }))).toBe("200 replayed");
});
