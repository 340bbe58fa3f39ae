"""What `scripts/enumeration` runs once everything is built: whether answers tell, by what they say or by their time, which addresses are known."""

import argparse
import concurrent.futures
import http.client
import json
import pathlib
import random
import statistics
import time

from databases import Postgres, Sqlite
from product import Product

AUTH = "/api/v1/auth"
SORTS = {
    "log-in, wrong password": ("/login", lambda email: {"email": email, "password": "wrong horse battery staple"}),
    "forgot password": ("/password/forgot", lambda email: {"email": email}),
    "magic link": ("/magic-link", lambda email: {"email": email}),
}
# Limits and delays are on, but so wide that the limits are not met; each known address is asked about once in each way, so no delay and
# no cool-down is either.
WIDE = {"TENANTRY_RATE_LIMIT__ENABLED": "true"} | {
    f"TENANTRY_RATE_LIMIT__{kind}": "1000000" for kind in ("LOG_IN", "SIGN_UP", "MAIL", "TOKENS", "ADMIN")
}


def ask(connection, path, body):
    """Status, body without the request's own id, the names of the headers, and seconds."""
    began = time.perf_counter()
    connection.request("POST", AUTH + path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    took = time.perf_counter() - began
    told = json.loads(text)
    told.pop("request_id", None)
    return (answer.status, json.dumps(told), sorted(name.lower() for name, _ in answer.getheaders())), took


def compare(product, path, body, requests, rng):
    turns = [(known, n) for n in range(requests) for known in (True, False)]
    rng.shuffle(turns)
    took, told = {True: [], False: []}, {True: set(), False: set()}
    connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=60)
    for known, n in turns:
        answer, seconds = ask(connection, path, body(f"{'known' if known else 'other'}{n}@example.com"))
        took[known].append(seconds * 1e3)
        told[known].add(str(answer))
    connection.close()
    return took, told[True] == told[False] and len(told[True]) == 1


def main():
    reader = argparse.ArgumentParser()
    for name in ("tenantry", "postgres", "scratch"):
        reader.add_argument(f"--{name}", required=True)
    reader.add_argument("--requests", type=int, required=True)
    options = reader.parse_args()
    scratch, rng = pathlib.Path(options.scratch), random.Random(4)
    print(f"{options.requests} requests about known addresses and as many about unknown ones, in random order, one at a time\n")
    print("| database | call | known p50 ms | unknown p50 ms | difference ms | p95 known / unknown | answers |\n|---|---|---|---|---|---|---|")
    alike = True
    for database in (Sqlite(scratch / "sqlite"), Postgres(options.postgres, "enumeration", scratch / "postgres")):
        with Product(options.tenantry, database, **WIDE) as product:
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda n: product.sign_up(f"known{n}"), range(options.requests)))
            for sort, (path, body) in SORTS.items():
                took, same = compare(product, path, body, options.requests, rng)
                alike = alike and same
                known, unknown = (statistics.median(took[known]) for known in (True, False))
                tails = " / ".join(f"{statistics.quantiles(took[known], n=20)[18]:.1f}" for known in (True, False))
                row = [f"{known:.2f}", f"{unknown:.2f}", f"{known - unknown:+.2f}", tails, "alike" if same else "DIFFERENT"]
                print(f"| {database.name} | {sort} | {' | '.join(row)} |", flush=True)
    if not alike:
        raise SystemExit("enumeration: some answers differ")


main()
