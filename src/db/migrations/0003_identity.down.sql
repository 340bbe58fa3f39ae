drop table invites;
drop table attempts;
drop table recovery_codes;
drop table totp_factors;
drop table oauth_flows;
drop table oauth_identities;
alter table sessions drop column authenticated_at;
alter table users drop column claimed_at;
create table one_time_tokens_before (
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
insert into one_time_tokens_before select id, user_id, tenant_id, purpose, token_hash, email, expires_at, used_at, created_at from one_time_tokens where purpose <> 'change_email';
drop table one_time_tokens;
alter table one_time_tokens_before rename to one_time_tokens;
create unique index one_time_tokens_hash_key on one_time_tokens (token_hash);
create index one_time_tokens_user_idx on one_time_tokens (user_id);
