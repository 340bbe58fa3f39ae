-- The tables that sign-up, provisioning and their operation write.
-- One text for both databases: SQLite takes any type name, and stores uuid and bytea as blobs, times and JSON as text.
-- Statements end with a semicolon at the end of a line.

-- identity ---------------------------------------------------------------------------------------------------------

create table users (
  id uuid primary key,
  -- Lower-cased by the program, so that equality ignores case.
  email text not null,
  name text,
  -- Argon2id in PHC form; null for somebody who only comes by OAuth or has not set one yet.
  password_hash text,
  email_verified_at timestamptz,
  role_at_signup text,
  onboarding_step_completed text,
  is_platform_admin boolean not null default false,
  disabled_at timestamptz,
  -- Set when the last membership ends, so that doctor can tell a leaver from a half-made user.
  left_last_tenant_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  check (email = lower(email))
);
create unique index users_email_key on users (email);

create table tenants (
  id uuid primary key,
  slug text not null,
  name text not null,
  status text not null check (status in ('pending', 'pending_payment', 'active', 'suspended', 'closed')),
  -- The door that created it: wizard, register, oauth, admin or cli.
  door text not null check (door in ('wizard', 'register', 'oauth', 'admin', 'cli')),
  billing_email text not null,
  branding jsonb not null,
  provision_state text not null check (provision_state in ('pending', 'processing', 'complete', 'failed')),
  provision_reason text,
  provision_updated_at timestamptz not null,
  -- The first time provisioning completed; what the sign-up token's last day counts from.
  provisioned_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  check (length(slug) between 2 and 50)
);
create unique index tenants_slug_key on tenants (slug);
create index tenants_abandoned_idx on tenants (created_at) where status = 'pending';
create index tenants_created_idx on tenants (created_at, id);

create table memberships (
  tenant_id uuid not null references tenants (id) on delete cascade,
  user_id uuid not null references users (id),
  role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, user_id)
);
create unique index memberships_one_owner on memberships (tenant_id) where role = 'owner';
create index memberships_user_idx on memberships (user_id);

create table one_time_tokens (
  id uuid primary key,
  user_id uuid not null references users (id) on delete cascade,
  tenant_id uuid references tenants (id) on delete cascade,
  purpose text not null check (purpose in ('verify_email', 'magic_link', 'password_reset')),
  -- SHA-256 of the secret in the link.
  token_hash bytea not null,
  -- The address that using the token proves.
  email text not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  created_at timestamptz not null
);
create unique index one_time_tokens_hash_key on one_time_tokens (token_hash);
create index one_time_tokens_user_idx on one_time_tokens (user_id);

create table sessions (
  id uuid primary key,
  user_id uuid not null references users (id) on delete cascade,
  tenant_id uuid not null references tenants (id) on delete cascade,
  user_agent text,
  ip text,
  created_at timestamptz not null,
  last_used_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  revoked_reason text
);
create index sessions_user_idx on sessions (user_id);
create index sessions_tenant_idx on sessions (tenant_id);

-- A session's refresh tokens, spent ones too: a spent one that comes again revokes the session (RFC 9700, 4.14.2).
create table refresh_tokens (
  token_hash bytea primary key,
  session_id uuid not null references sessions (id) on delete cascade,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz
);
create index refresh_tokens_session_idx on refresh_tokens (session_id);

create table signing_keys (
  -- The kid in tokens and JWKS.
  id text primary key,
  algorithm text not null check (algorithm in ('EdDSA')),
  public_key bytea not null,
  -- PKCS #8, sealed under TENANTRY_SECRET_KEY.
  private_key bytea not null,
  created_at timestamptz not null,
  -- Signs from here; a new key is published some time before.
  active_from timestamptz not null,
  -- Still verifies until here.
  expires_at timestamptz
);

-- tenants ----------------------------------------------------------------------------------------------------------

create table tenant_hostnames (
  hostname text primary key,
  tenant_id uuid not null references tenants (id) on delete cascade,
  is_primary boolean not null,
  created_at timestamptz not null
);
create index tenant_hostnames_tenant_idx on tenant_hostnames (tenant_id);

-- plans ------------------------------------------------------------------------------------------------------------

create table plans (
  id uuid primary key,
  slug text not null,
  name text not null,
  description text not null,
  -- Minor units of the currency; what one interval costs.
  price_amount bigint not null check (price_amount >= 0),
  price_currency text not null,
  price_interval text not null check (price_interval in ('month', 'year')),
  included_credits bigint not null check (included_credits >= 0),
  trial_days bigint not null check (trial_days >= 0),
  is_public boolean not null,
  contact_sales boolean not null,
  -- What a new tenant of the plan gets: {"steps": [...], "automations": [...]}.
  blueprint jsonb not null,
  position bigint not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create unique index plans_slug_key on plans (slug);

-- 0 means without limit.
create table plan_limits (
  plan_id uuid not null references plans (id) on delete cascade,
  name text not null,
  value bigint not null check (value >= 0),
  primary key (plan_id, name)
);

create table plan_billing (
  plan_id uuid primary key references plans (id) on delete cascade,
  stripe_price_monthly text,
  stripe_price_yearly text
);

create table feature_flags (
  name text primary key,
  description text not null,
  enabled boolean not null,
  updated_at timestamptz not null
);

create table plan_feature_defaults (
  plan_id uuid not null references plans (id) on delete cascade,
  flag text not null references feature_flags (name) on delete cascade,
  enabled boolean not null,
  primary key (plan_id, flag)
);

-- billing ----------------------------------------------------------------------------------------------------------

create table subscriptions (
  tenant_id uuid primary key references tenants (id) on delete cascade,
  id uuid not null,
  plan_id uuid not null references plans (id),
  status text not null check (status in ('trialing', 'active', 'past_due', 'canceled', 'pending_payment', 'incomplete', 'complimentary')),
  trial_ends_at timestamptz,
  current_period_start timestamptz not null,
  current_period_end timestamptz,
  cancel_at_period_end boolean not null default false,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create unique index subscriptions_id_key on subscriptions (id);
create index subscriptions_plan_idx on subscriptions (plan_id);

create table credit_balances (
  tenant_id uuid primary key references tenants (id) on delete cascade,
  balance bigint not null check (balance >= 0),
  updated_at timestamptz not null
);

-- The ledger. Balance and ledger change in one transaction or not at all.
create table credit_transactions (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  transaction_type text not null check (transaction_type in ('grant', 'purchase', 'consume', 'refund', 'adjustment')),
  amount bigint not null,
  balance_after bigint not null check (balance_after >= 0),
  description text not null,
  metadata jsonb not null,
  -- What makes a grant or charge happen once, such as "signup" or "period:2026-11".
  idempotency_key text not null,
  created_at timestamptz not null,
  primary key (tenant_id, id)
);
create unique index credit_transactions_once on credit_transactions (tenant_id, idempotency_key);

create table payment_methods (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  method_type text not null check (method_type in ('bank_transfer', 'stripe')),
  is_default boolean not null,
  created_at timestamptz not null,
  primary key (tenant_id, id)
);

-- One row a series; incremented in the transaction that writes the invoice, so numbers have no gaps.
create table invoice_counters (
  series text primary key,
  last_number bigint not null
);

create table invoices (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  number text not null,
  status text not null check (status in ('open', 'paid', 'void')),
  currency text not null,
  total bigint not null check (total >= 0),
  -- The billing details of the day, never changed afterwards.
  billing_name text not null,
  billing_email text not null,
  billing_address jsonb,
  issued_at timestamptz not null,
  due_at timestamptz not null,
  paid_at timestamptz,
  external_payment_id text,
  primary key (tenant_id, id)
);
create unique index invoices_number_key on invoices (number);

create table invoice_lines (
  tenant_id uuid not null,
  id uuid not null,
  invoice_id uuid not null,
  description text not null,
  quantity bigint not null check (quantity > 0),
  unit_amount bigint not null,
  amount bigint not null,
  position bigint not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, invoice_id) references invoices (tenant_id, id) on delete cascade
);

-- catalog ----------------------------------------------------------------------------------------------------------

create table segments (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  name text not null,
  position bigint not null,
  created_at timestamptz not null,
  primary key (tenant_id, id)
);

create table packages (
  tenant_id uuid not null,
  id uuid not null,
  segment_id uuid not null,
  name text not null,
  description text not null,
  price_amount bigint not null check (price_amount >= 0),
  price_currency text not null,
  position bigint not null,
  created_at timestamptz not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, segment_id) references segments (tenant_id, id) on delete cascade
);
create index packages_segment_idx on packages (tenant_id, segment_id);

-- content ----------------------------------------------------------------------------------------------------------

create table posts (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  slug text not null,
  title text not null,
  body text not null,
  published_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
);
create unique index posts_slug_key on posts (tenant_id, slug);

create table fixtures (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  fixture_date date not null,
  home_team text not null,
  away_team text not null,
  venue text,
  status text not null check (status in ('scheduled', 'live', 'finished', 'postponed', 'canceled')),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
);
create unique index fixtures_natural_key on fixtures (tenant_id, fixture_date, home_team, away_team);
create index idx_fixtures_tenant_date on fixtures (tenant_id, fixture_date);
create index idx_fixtures_tenant_status on fixtures (tenant_id, status);

-- webhooks ---------------------------------------------------------------------------------------------------------

create table webhook_endpoints (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  url text not null,
  -- Where it came from: 'signup' is the wizard's URL, of which there is one.
  source text not null check (source in ('signup', 'tenant')),
  -- The Standard Webhooks secret, sealed.
  secret bytea not null,
  enabled boolean not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
);
create unique index webhook_endpoints_signup_key on webhook_endpoints (tenant_id) where source = 'signup';

-- Which events go to a tenant's endpoints; every endpoint also gets tenant.provisioned.
create table automations (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  name text not null,
  event_type text not null,
  enabled boolean not null,
  created_at timestamptz not null,
  primary key (tenant_id, id)
);
create unique index automations_name_key on automations (tenant_id, name);

create table webhook_deliveries (
  tenant_id uuid not null,
  -- Also the webhook-id that the receiver sees, the same at every try.
  id uuid not null,
  endpoint_id uuid not null,
  event_type text not null,
  -- What makes an event go to an endpoint once, such as "tenant.provisioned:<run id>".
  event_key text not null,
  payload text not null,
  status text not null check (status in ('pending', 'delivered', 'failed', 'dry_run')),
  attempts bigint not null,
  last_status_code bigint,
  last_error text,
  created_at timestamptz not null,
  finished_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, endpoint_id) references webhook_endpoints (tenant_id, id) on delete cascade
);
create unique index webhook_deliveries_once on webhook_deliveries (tenant_id, endpoint_id, event_key);

-- provisioning -----------------------------------------------------------------------------------------------------

create table provision_runs (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  plan text not null,
  status text not null check (status in ('pending', 'processing', 'complete', 'failed')),
  reason text,
  dry_run boolean not null,
  -- Null until a wizard's last step queues it.
  queued_at timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  -- When the run may next be claimed; null while it waits for nobody (not queued, or ended).
  due_at timestamptz,
  -- Incremented by each claim; a write under an older fence is refused.
  fence bigint not null,
  lease_owner text,
  lease_expires_at timestamptz,
  -- Incremented by each visible change; the id of Server-Sent Events.
  version bigint not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
);
create unique index provision_runs_one_open on provision_runs (tenant_id) where status in ('pending', 'processing');
create index provision_runs_due_idx on provision_runs (due_at) where status in ('pending', 'processing');

create table provision_steps (
  tenant_id uuid not null,
  run_id uuid not null,
  position bigint not null,
  name text not null,
  status text not null check (status in ('pending', 'processing', 'complete', 'failed', 'skipped')),
  attempts bigint not null,
  started_at timestamptz,
  finished_at timestamptz,
  error text,
  -- What the step keeps for its next try, its undoing and its reader.
  output jsonb,
  -- SHA-256 of the token with which an operator's application reports back.
  callback_hash bytea,
  -- The run's version when the step last changed.
  version bigint not null,
  primary key (tenant_id, run_id, position),
  foreign key (tenant_id, run_id) references provision_runs (tenant_id, id) on delete cascade
);
create unique index provision_steps_callback_key on provision_steps (callback_hash);

-- outbox -----------------------------------------------------------------------------------------------------------

create table outbox (
  id uuid primary key,
  tenant_id uuid references tenants (id) on delete cascade,
  kind text not null check (kind in ('mail', 'webhook')),
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
create index outbox_due_idx on outbox (due_at) where status = 'pending';
create index outbox_tenant_idx on outbox (tenant_id);

-- audit ------------------------------------------------------------------------------------------------------------

-- Append-only; no foreign key, because it outlives what it tells of.
create table audit_events (
  id uuid primary key,
  tenant_id uuid,
  actor_type text not null check (actor_type in ('user', 'platform_admin', 'cli', 'system')),
  actor_id uuid,
  action text not null,
  request_id text,
  detail jsonb not null,
  created_at timestamptz not null
);
create index audit_events_tenant_idx on audit_events (tenant_id, id);

-- leads ------------------------------------------------------------------------------------------------------------

create table sales_leads (
  id uuid primary key,
  email text not null,
  name text not null,
  company text not null,
  -- A number, or a range such as 11-50.
  team_size text,
  message text,
  status text not null check (status in ('new', 'contacted', 'qualified', 'won', 'lost')),
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index sales_leads_created_idx on sales_leads (created_at, id);

-- http -------------------------------------------------------------------------------------------------------------

create table idempotency_keys (
  -- SHA-256 over route, caller and key.
  id bytea primary key,
  -- SHA-256 over the request's body.
  fingerprint bytea not null,
  status_code bigint not null,
  -- The answer, sealed: it may hold tokens.
  response bytea not null,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index idempotency_keys_expires_idx on idempotency_keys (expires_at);
