"""One sign-up's rows, read back from a database and written as the text that inserts their like: the ceilings' work.

What has to differ from sign-up to sign-up (ids, the marked text in addresses and names, the one-time token's hash) becomes a
parameter; everything else stays as the product wrote it, so the ceilings write the same tables, columns and sizes.
"""

import itertools

# What a sign-up writes, in the order of the foreign keys.
TABLES = [
    "users", "tenants", "memberships", "subscriptions", "credit_balances", "credit_transactions", "segments", "packages",
    "provision_runs", "provision_steps", "one_time_tokens", "outbox", "audit_events",
]  # fmt: skip
HASH = "token_hash"


def capture(database, mark):
    """The rows of the tenant whose name is `mark`: (table, [(column, type, literal)]) in order."""
    tenant = f"(select id from tenants where name = '{mark}')"
    owned = {"tenants": f"id = {tenant}", "users": f"id in (select user_id from memberships where tenant_id = {tenant})"}
    rows = []
    for table in database.tables():
        columns = database.columns(table)
        where = owned.get(table, f"tenant_id = {tenant}")
        if table not in owned and not any(name == "tenant_id" for name, _ in columns):
            continue
        found = database.literals(table, [name for name, _ in columns], where)
        if found and table not in TABLES:
            raise SystemExit(f"bench: a sign-up writes {table}, which bench/rows.py does not know")
        rows += [(table, [(*column, literal) for column, literal in zip(columns, row)]) for row in found]
    return sorted(rows, key=lambda row: TABLES.index(row[0]))


def _ids(rows):
    """Every id that the rows make: what stands in `id` columns, but for the plan's."""
    return list(dict.fromkeys(literal for _, row in rows for name, _, literal in row if name == "id"))


def _inserts(rows, value):
    """One insert for each table: its beginning, and its rows' values."""
    for table, same in itertools.groupby(rows, lambda row: row[0]):
        same = [row for _, row in same]
        names = ", ".join(name for name, _, _ in same[0])
        yield f"insert into {table} ({names})", ", ".join(f"({', '.join(value(*column) for column in row)})" for row in same)


def _marked(literal, mark, placed):
    """The literal with another text in the mark's place."""
    return "(" + literal.replace(mark, f"' || {placed} || '") + ")"


def for_pgbench(rows, mark):
    """A script for pgbench: all rows in one data-modifying CTE, one round trip."""
    ids = _ids(rows)

    def value(name, kind, literal):
        if literal in ids:
            return f"(k.p || '{ids.index(literal):03x}')::uuid"
        if name == HASH:
            return "sha256(k.p::bytea)"
        return _marked(literal, mark, "k.p") + f"::{kind}"

    # UUIDv7 like the product's: milliseconds, then chance. The last three digits tell a sign-up's ids apart.
    prefix = (
        "k as (select lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || "
        "lpad(to_hex(:chance::bigint), 15, '0') || '0' as p)"
    )
    inserts = enumerate(_inserts(rows, value))
    parts = [f"i{n} as ({into} select v.* from k, lateral (values {values}) v)" for n, (into, values) in inserts]
    return "\\set chance random(1, 1000000000000000000)\nwith " + ", ".join([prefix, *parts]) + " select 1;\n"


def for_sqlite(rows, mark):
    """Statements for `ceiling sqlite`, and how many ids they take."""
    ids = _ids(rows)

    def value(name, _, literal):
        if literal in ids:
            return f"${ids.index(literal) + 1}"
        if name == HASH:
            return f"${len(ids) + 2}"
        return _marked(literal, mark, f"${len(ids) + 1}")

    return "".join(f"{into} values {values};\n" for into, values in _inserts(rows, value)), len(ids)
