create table outbox_before (
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
insert into outbox_before select id, tenant_id, kind, payload, status, attempts, due_at, fence, lease_expires_at, last_error, created_at, finished_at from outbox where kind in ('mail', 'webhook');
drop table outbox;
alter table outbox_before rename to outbox;
create index outbox_due_idx on outbox (due_at) where status = 'pending';
create index outbox_tenant_idx on outbox (tenant_id);
drop table sandbox_idempotency_keys;
drop table sandbox_counter;
drop table sandbox_objects;
drop table billing_notices;
drop table trial_claims;
drop table stripe_events;
drop table checkouts;
drop index invoices_one_open_key;
drop index invoices_open_idx;
drop index invoices_issued_idx;
drop index invoices_external_key;
alter table invoices drop column period_end;
alter table invoices drop column period_start;
alter table invoices drop column billing_interval;
alter table invoices drop column plan_id;
alter table invoices drop column hosted_url;
alter table invoices drop column external_id;
alter table invoices drop column issuer;
drop index payment_methods_external_key;
alter table payment_methods drop column exp_year;
alter table payment_methods drop column exp_month;
alter table payment_methods drop column last4;
alter table payment_methods drop column brand;
alter table payment_methods drop column external_id;
drop index subscriptions_trial_idx;
drop index subscriptions_past_due_idx;
drop index subscriptions_period_idx;
drop index subscriptions_grant_idx;
drop index subscriptions_follow_idx;
drop index subscriptions_stripe_subscription_key;
drop index subscriptions_stripe_customer_key;
alter table subscriptions drop column stripe_synced_at;
alter table subscriptions drop column stripe_subscription_id;
alter table subscriptions drop column stripe_customer_id;
alter table subscriptions drop column plan_followed;
alter table subscriptions drop column next_grant_at;
alter table subscriptions drop column canceled_at;
alter table subscriptions drop column credits_advanced;
alter table subscriptions drop column billing_anchor;
alter table subscriptions drop column past_due_since;
alter table subscriptions drop column billing_interval;
drop table tenant_feature_overrides;
alter table plans drop column yearly_amount;
