-- What plans by the year, overrides, Stripe, renewals and reminders write.

-- plans ------------------------------------------------------------------------------------------------------------

-- What a year costs, in the currency of the month; null where the plan is not sold by the year.
alter table plans add column yearly_amount bigint check (yearly_amount >= 0);
update plans set yearly_amount = price_amount * 10 where price_amount > 0 and price_interval = 'month';

create table tenant_feature_overrides (
  tenant_id uuid not null references tenants (id) on delete cascade,
  flag text not null references feature_flags (name) on delete cascade,
  enabled boolean not null,
  -- Why, for the operator's own people.
  reason text,
  -- From when on the plan says again; null is for ever.
  expires_at timestamptz,
  created_at timestamptz not null,
  primary key (tenant_id, flag)
);

-- billing ----------------------------------------------------------------------------------------------------------

alter table subscriptions add column billing_interval text not null default 'month' check (billing_interval in ('month', 'year'));
-- Since when a payment is missing; the grace time counts from here.
alter table subscriptions add column past_due_since timestamptz;
-- What the days of its periods count from: one that began on a 31st comes back to it.
alter table subscriptions add column billing_anchor timestamptz;
update subscriptions set billing_anchor = current_period_start;
-- Credits that were given and are not paid for. What is paid for next is set off against them.
alter table subscriptions add column credits_advanced bigint not null default 0 check (credits_advanced >= 0);
update subscriptions set credits_advanced = (select p.included_credits from plans p where p.id = subscriptions.plan_id) where status in ('pending_payment', 'incomplete');
-- When it was ended, or told to end with its period.
alter table subscriptions add column canceled_at timestamptz;
-- When the next month's credits are due; null where none are.
alter table subscriptions add column next_grant_at timestamptz;
-- Whether provisioning has looked at what the plan of now adds (P9).
alter table subscriptions add column plan_followed boolean not null default true;
alter table subscriptions add column stripe_customer_id text;
alter table subscriptions add column stripe_subscription_id text;
-- When Stripe was last asked how it stands there.
alter table subscriptions add column stripe_synced_at timestamptz;
create unique index subscriptions_stripe_customer_key on subscriptions (stripe_customer_id);
create unique index subscriptions_stripe_subscription_key on subscriptions (stripe_subscription_id);
create index subscriptions_follow_idx on subscriptions (tenant_id) where not plan_followed;
create index subscriptions_grant_idx on subscriptions (next_grant_at);
create index subscriptions_period_idx on subscriptions (current_period_end);
create index subscriptions_past_due_idx on subscriptions (past_due_since) where status = 'past_due';
create index subscriptions_trial_idx on subscriptions (trial_ends_at) where status = 'trialing';

-- A month's credits come a month after those that came with the sign-up.
update subscriptions set next_grant_at = coalesce(current_period_end, created_at) where status in ('active', 'trialing', 'complimentary');

-- What a card is known by; the card itself is Stripe's.
alter table payment_methods add column external_id text;
alter table payment_methods add column brand text;
alter table payment_methods add column last4 text;
alter table payment_methods add column exp_month bigint;
alter table payment_methods add column exp_year bigint;
create unique index payment_methods_external_key on payment_methods (tenant_id, external_id);

-- Who issued it: its number is ours, or Stripe's.
alter table invoices add column issuer text not null default 'tenantry' check (issuer in ('tenantry', 'stripe'));
alter table invoices add column external_id text;
-- Stripe's page of it.
alter table invoices add column hosted_url text;
-- What is bought: paying one of ours puts the tenant on this plan for this time.
alter table invoices add column plan_id uuid;
alter table invoices add column billing_interval text;
alter table invoices add column period_start timestamptz;
alter table invoices add column period_end timestamptz;
create unique index invoices_external_key on invoices (external_id);
create index invoices_issued_idx on invoices (tenant_id, issued_at);
create index invoices_open_idx on invoices (due_at) where status = 'open';
-- A tenant has one invoice of ours to pay at most.
create unique index invoices_one_open_key on invoices (tenant_id) where status = 'open' and issuer = 'tenantry';
update invoices set plan_id = (select s.plan_id from subscriptions s where s.tenant_id = invoices.tenant_id), billing_interval = 'month';

-- The checkout session that a tenant may pay in. One at a time, so that two tabs cannot buy twice.
create table checkouts (
  tenant_id uuid primary key references tenants (id) on delete cascade,
  -- Stripe's id of it.
  session_id text not null,
  url text not null,
  plan_id uuid not null references plans (id),
  billing_interval text not null check (billing_interval in ('month', 'year')),
  expires_at timestamptz not null,
  created_at timestamptz not null
);

-- Stripe's events, each kept once. They say that something has changed; what it is now is asked of Stripe.
create table stripe_events (
  -- Stripe's own id.
  id text primary key,
  event_type text not null,
  -- The object that it tells of.
  object_id text,
  -- Whose, where that is known.
  tenant_id uuid references tenants (id) on delete set null,
  livemode boolean not null,
  payload text not null,
  status text not null check (status in ('pending', 'processed', 'ignored', 'failed')),
  attempts bigint not null,
  last_error text,
  -- By Stripe's clock.
  created_at timestamptz not null,
  received_at timestamptz not null,
  processed_at timestamptz
);
create index stripe_events_received_idx on stripe_events (received_at, id);
create index stripe_events_tenant_idx on stripe_events (tenant_id);

-- Who has had a trial: keyed hashes of an address's family. They outlive the tenant.
create table trial_claims (
  id bytea primary key,
  tenant_id uuid not null,
  created_at timestamptz not null
);

-- Letters that must leave once, such as "trial_ending_3d:2026-12-01".
create table billing_notices (
  tenant_id uuid not null references tenants (id) on delete cascade,
  notice text not null,
  created_at timestamptz not null,
  primary key (tenant_id, notice)
);

-- The Stripe sandbox of development: Stripe's objects, as its API shows them.
create table sandbox_objects (
  id text primary key,
  -- Stripe's name of the kind, such as customer.
  object text not null,
  -- The customer that it belongs to, if any.
  customer text,
  -- In the order of creation, also within a second.
  sequence bigint not null,
  -- When the sandbox has to look at it by itself: a period ends, a payment is tried again, a session expires.
  due_at timestamptz,
  data text not null
);
create unique index sandbox_objects_sequence_key on sandbox_objects (sequence);
create index sandbox_objects_kind_idx on sandbox_objects (object, sequence);
create index sandbox_objects_customer_idx on sandbox_objects (customer, object);
create index sandbox_objects_due_idx on sandbox_objects (due_at);

-- The place in the order that was given last. Whoever changes something holds this row, so that changes come one after the other.
create table sandbox_counter (
  id bigint primary key check (id = 1),
  last_number bigint not null
);
insert into sandbox_counter (id, last_number) values (1, 0);

-- Answers of the sandbox under Stripe's Idempotency-Key.
create table sandbox_idempotency_keys (
  key text primary key,
  fingerprint bytea not null,
  status_code bigint not null,
  response text not null,
  created_at timestamptz not null
);
create index sandbox_idempotency_keys_created_idx on sandbox_idempotency_keys (created_at);

-- outbox -----------------------------------------------------------------------------------------------------------

-- The same table with Stripe's events, to process, and the sandbox's, to deliver. SQLite changes no CHECK in place.
create table outbox_next (
  id uuid primary key,
  tenant_id uuid references tenants (id) on delete cascade,
  kind text not null check (kind in ('mail', 'webhook', 'stripe_event', 'sandbox_event')),
  -- Sealed; erased when done, but for mails in the development mailbox.
  payload bytea,
  status text not null check (status in ('pending', 'done', 'failed')),
  attempts bigint not null,
  due_at timestamptz not null,
  fence bigint not null,
  lease_expires_at timestamptz,
  last_error text,
  created_at timestamptz not null,
  finished_at timestamptz
);
insert into outbox_next select id, tenant_id, kind, payload, status, attempts, due_at, fence, lease_expires_at, last_error, created_at, finished_at from outbox;
drop table outbox;
alter table outbox_next rename to outbox;
create index outbox_due_idx on outbox (due_at) where status = 'pending';
create index outbox_tenant_idx on outbox (tenant_id);
