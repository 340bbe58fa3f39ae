-- What log-ins by other ways, second factors, limits and invites write.

-- identity ---------------------------------------------------------------------------------------------------------

-- The same table with a code that may be typed in place of the link, and links that change an address. SQLite changes no CHECK in place.
create table one_time_tokens_next (
  id uuid primary key,
  user_id uuid not null references users (id) on delete cascade,
  tenant_id uuid references tenants (id) on delete cascade,
  purpose text not null check (purpose in ('verify_email', 'magic_link', 'password_reset', 'change_email')),
  -- SHA-256 of the secret in the link.
  token_hash bytea not null,
  -- Keyed hash of the code that may be typed on another device; null where there is none.
  code_hash bytea,
  -- Wrong codes so far. A few end the code, not the link.
  code_tries bigint not null default 0,
  -- The address that using the token proves.
  email text not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  created_at timestamptz not null
);
insert into one_time_tokens_next select id, user_id, tenant_id, purpose, token_hash, null, 0, email, expires_at, used_at, created_at from one_time_tokens;
drop table one_time_tokens;
alter table one_time_tokens_next rename to one_time_tokens;
create unique index one_time_tokens_hash_key on one_time_tokens (token_hash);
create index one_time_tokens_user_idx on one_time_tokens (user_id);

-- When somebody proved an address that another may have registered before; sign-up tokens from before open nothing.
alter table users add column claimed_at timestamptz;

-- When its user showed who they are, where that was before it was opened: in a session that was switched to another tenant.
alter table sessions add column authenticated_at timestamptz;

-- Who a user is at a provider.
create table oauth_identities (
  id uuid primary key,
  user_id uuid not null references users (id) on delete cascade,
  provider text not null,
  -- The provider's own name for the person: sub; at Microsoft tid and oid.
  subject text not null,
  -- As the provider last said, for people to recognise it by.
  email text,
  created_at timestamptz not null,
  last_used_at timestamptz not null
);
create unique index oauth_identities_subject_key on oauth_identities (provider, subject);
create unique index oauth_identities_user_key on oauth_identities (user_id, provider);

-- A browser on its way to a provider and back.
create table oauth_flows (
  -- SHA-256 of the state.
  state_hash bytea primary key,
  -- What the way back needs, sealed: the browser's secret, nonce, PKCE verifier, and what was asked for.
  payload bytea not null,
  expires_at timestamptz not null,
  created_at timestamptz not null
);
create index oauth_flows_expires_idx on oauth_flows (expires_at);

create table totp_factors (
  user_id uuid primary key references users (id) on delete cascade,
  -- Sealed.
  secret bytea not null,
  -- Null until a first code has shown that the app has the secret.
  confirmed_at timestamptz,
  -- The 30-second step of the newest code that was used: each is good once (RFC 6238, 5.2).
  last_step bigint not null,
  created_at timestamptz not null
);

create table recovery_codes (
  user_id uuid not null references users (id) on delete cascade,
  -- Keyed hash.
  code_hash bytea not null,
  used_at timestamptz,
  created_at timestamptz not null,
  primary key (user_id, code_hash)
);

-- What was tried and failed, by whom: the delays that every replica keeps.
create table attempts (
  -- Keyed hash of what is counted: an account, or an account from one network.
  key bytea primary key,
  -- Since the last success, or the last long pause.
  failures bigint not null,
  -- The next try is refused until here.
  free_at timestamptz not null,
  updated_at timestamptz not null
);
create index attempts_updated_idx on attempts (updated_at);

-- team -------------------------------------------------------------------------------------------------------------

create table invites (
  tenant_id uuid not null references tenants (id) on delete cascade,
  id uuid not null,
  -- Lower-cased, as users' are.
  email text not null,
  role text not null check (role in ('admin', 'member', 'viewer')),
  -- SHA-256 of the secret in the link.
  token_hash bytea not null,
  invited_by uuid references users (id) on delete set null,
  expires_at timestamptz not null,
  accepted_at timestamptz,
  revoked_at timestamptz,
  email_sent_at timestamptz,
  created_at timestamptz not null,
  primary key (tenant_id, id),
  check (email = lower(email))
);
create unique index invites_token_key on invites (token_hash);
create unique index invites_open_key on invites (tenant_id, email) where accepted_at is null and revoked_at is null;
