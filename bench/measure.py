"""What `scripts/bench` runs once everything is built: measures, and prints Markdown."""

import argparse
import concurrent.futures
import datetime
import http.client
import json
import math
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse

import rows
from databases import Postgres, Sqlite
from flights import Flights
from product import PASSWORD, Product

HERE = pathlib.Path(__file__).parent
CLIENTS = (1, 16, 64)
MARK = "benchmark0"
RUNS = 200
BACKLOG = 400
# A product that nobody uses is not what anybody runs: so long the databases are filled before anything is measured.
FILL_SECONDS = 3
# Round trips that no answer waits for.
BESIDE = ("pg_notify", "ping")


def tell(what):
    print(f"bench: {what}", file=sys.stderr, flush=True)


def table(title, head, body):
    print(f"\n## {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in body:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
    sys.stdout.flush()


def percentile(values, p):
    """Nearest rank."""
    return sorted(values)[max(0, math.ceil(len(values) * p / 100) - 1)]


def ms(seconds):
    return f"{seconds * 1e3:.1f}"


def output(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {command[0]} failed\n{done.stdout}{done.stderr}")
    return done.stdout


def wrk(script, clients, seconds, url, *arguments):
    """The figures of one round of wrk, which prints them as the last line."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", HERE / script, url, "--", *arguments]
    figures = json.loads(output(command).splitlines()[-1])
    if figures["refused"] or figures["broken"]:
        raise SystemExit(f"bench: {script} with {clients} clients: {figures}")
    return figures | {"rate": figures["requests"] / figures["seconds"]}


class Bench:
    def __init__(self, options):
        self.options = options
        self.scratch = pathlib.Path(options.scratch)
        self.copies = 0
        self.bases = [Sqlite(self.scratch / "sqlite"), Postgres(options.postgres, "base", self.scratch / "postgres")]
        self.first_start = {}
        self.rows = {}
        for base in self.bases:
            # Migrates, and signs up the one tenant whose rows the ceilings write.
            with self.serve(base, "--no-worker") as product:
                self.first_start[base.name] = product.started_in
                product.sign_up(MARK)
            self.rows[base.name] = rows.capture(base, MARK)
            tell(f"filling {base.name}")
            self.write_rows(base, 16, FILL_SECONDS)
            base.settle()

    def serve(self, database, *arguments, **more):
        return Product(self.options.tenantry, database, *arguments, **more)

    def fresh(self, base):
        self.copies += 1
        return base.copy(f"copy{self.copies}")

    # Sign-ups a second

    def signups(self):
        body = []
        for base in self.bases:
            for clients in CLIENTS:
                tell(f"sign-ups on {base.name}, {clients} clients")
                body.append(self.signup(base, clients, self.hashes_a_second(), "Argon2id", []))
            for clients in CLIENTS:
                tell(f"sign-ups on {base.name}, {clients} clients, hash set aside")
                ceiling = self.rows_a_second(base, clients)
                body.append(self.signup(base, clients, ceiling, "set aside", ["--no-worker"]))
                body.append(self.signup(base, clients, ceiling, "set aside", []))
        head = ["database", "hash", "roles", "clients", "sign-ups/s", "p50 ms", "p99 ms", "ceiling/s", "ratio"]
        table("Sign-ups a second", head, body)

    def signup(self, base, clients, ceiling, hashing, roles):
        database = self.fresh(base)
        with self.serve(database, *roles, cheap_hash=hashing != "Argon2id") as product:
            url = product.address + "/public/signup/start"
            wrk("signup.lua", clients, 1, url, "w")
            figures = wrk("signup.lua", clients, self.options.seconds, url, "m")
        database.drop()
        latency = [f"{figures['p50']:.1f}", f"{figures['p99']:.1f}"]
        rate = [f"{figures['rate']:.0f}", *latency, f"{ceiling:.0f}", f"{figures['rate'] / ceiling:.2f}"]
        return [base.name, hashing, "HTTP" if roles else "HTTP and worker", clients, *rate]

    def hashes_a_second(self):
        return float(output([self.options.ceiling, "argon2", self.options.seconds]))

    def rows_a_second(self, base, clients):
        database = self.fresh(base)
        done = self.write_rows(database, clients, self.options.seconds)
        database.drop()
        return done

    def write_rows(self, database, clients, seconds):
        """A sign-up's rows, again and again, without the product; how often a second."""
        if isinstance(database, Sqlite):
            text, ids = rows.for_sqlite(self.rows[database.name], MARK)
            file = self.scratch / "rows.sql"
            file.write_text(text)
            return float(output([self.options.ceiling, "sqlite", seconds, database.path, file, ids]))
        file = self.scratch / "pgbench.sql"
        file.write_text(rows.for_pgbench(self.rows[database.name], MARK))
        pgbench = ["pgbench", "-n", "-M", "prepared", "-j", min(2, clients), "-c", clients, "-T", seconds]
        told = output([*pgbench, "-f", file, database.url])
        return float(re.search(r"tps = ([0-9.]+) ", told)[1])

    # Round trips

    def round_trips(self):
        tell("round trips")
        count, database = 50, self.fresh(self.bases[1])
        parts = urllib.parse.urlsplit(database.url)
        flights = Flights(parts.port)
        url = parts._replace(netloc=parts.netloc.rsplit(":", 1)[0] + f":{flights.port}", query="sslmode=disable").geturl()
        with self.serve(database, "--no-worker", cheap_hash=True, DATABASE_URL=url) as product:
            wrk("signup.lua", 1, 1, product.address + "/public/signup/start", "w")
            time.sleep(0.2)
            flights.take()
            for n in range(count):
                product.sign_up(f"trips{n}")
            time.sleep(0.2)
            counted = flights.take()
        database.drop()
        body = []
        for when, words in (
            ("in the request's way", sorted(set(counted) - set(BESIDE))),
            ("beside it (`pg_notify` wakes other replicas; sqlx pings a connection when it returns to the pool)", BESIDE),
        ):
            each = ", ".join(f"{word} {counted[word] / count:g}" for word in words)
            body.append([when, f"{sum(counted[word] for word in words) / count:g}", each])
        table("Round trips to PostgreSQL for a sign-up", ["", "round trips", "of which"], body)

    # Provisioning

    def provisioning(self):
        body = []
        for base in self.bases:
            tell(f"provisioning on {base.name}")
            for load, measure in (("20 sign-ups/s", self.steadily), (f"burst of {BACKLOG}", self.backlog)):
                database = self.fresh(base)
                body += [[base.name, load, *row] for row in measure(database)]
                database.drop()
        head = ["database", "load", "plan", "runs", "first step p50 ms", "p95", "complete p50 ms", "p95", "runs/s"]
        table("From the commit that queues a run to its first step, and to its end (dry run)", head, body)

    def steadily(self, database):
        with self.serve(database) as product, concurrent.futures.ThreadPoolExecutor(32) as pool:
            product.sign_up("warm")
            began = time.perf_counter() + 0.5

            def one(n):
                time.sleep(max(0.0, began + n / 20 - time.perf_counter()))
                plan = ("starter", "pro")[n % 2]
                product.queue(product.sign_up(f"steady{n}", plan)["token"], plan)

            list(pool.map(one, range(RUNS)))
            return self.ended(database, RUNS)

    def backlog(self, database):
        with self.serve(database, cheap_hash=True) as product, concurrent.futures.ThreadPoolExecutor(16) as pool:
            plans = [("starter", "pro")[n % 2] for n in range(BACKLOG)]
            tokens = list(pool.map(lambda n: product.sign_up(f"burst{n}", plans[n])["token"], range(BACKLOG)))
            list(pool.map(product.queue, tokens, plans))
            return self.ended(database, BACKLOG)

    def ended(self, database, expected):
        """Waits for the runs to end, and reads their times from their rows."""
        text = (
            "select r.plan, r.queued_at, min(s.started_at), r.finished_at from provision_runs r join provision_steps s "
            "on s.tenant_id = r.tenant_id and s.run_id = r.id where r.status = 'complete' group by r.plan, r.queued_at, r.finished_at, r.id"
        )
        deadline = time.monotonic() + 60
        while len(found := database.query(text)) < expected:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: {len(found)} of {expected} runs are complete after a minute")
            time.sleep(0.2)
        read = datetime.datetime.fromisoformat
        runs = [(plan, *(read(at).timestamp() for at in times)) for plan, *times in found]
        rate = len(runs) / (max(run[3] for run in runs) - min(run[1] for run in runs))
        body = []
        for plan in ("starter", "pro"):
            first = [start - queued for name, queued, start, _ in runs if name == plan]
            end = [finished - queued for name, queued, _, finished in runs if name == plan]
            times = [ms(percentile(values, p)) for values in (first, end) for p in (50, 95)]
            body.append([plan, len(first), *times, f"{rate:.0f}"])
        return body

    # Reads in a storm

    def reads(self):
        body = []
        for base in self.bases:
            tell(f"provision-status on {base.name}")
            database = self.fresh(base)
            with self.serve(database) as product:
                begun = product.sign_up("reader")
                url = f"{product.address}/api/v1/tenants/{begun['tenant']['id']}/provision-status"
                signup = [product.address + "/public/signup/start"]
                body.append(self.read(base, "idle", url, begun["token"]))
                with concurrent.futures.ThreadPoolExecutor(1) as pool:
                    storm = pool.submit(wrk, "signup.lua", 16, self.options.seconds + 2, *signup, "storm")
                    time.sleep(1)
                    body.append(self.read(base, "16 clients sign up", url, begun["token"]))
                    storm.result()
            database.drop()
        table("`provision-status`, one reader", ["database", "load", "p50 ms", "p99 ms", "max ms", "reads/s"], body)

    def read(self, base, load, url, token):
        figures = wrk("read.lua", 1, self.options.seconds, url, token)
        return [base.name, load, *(f"{figures[key]:.1f}" for key in ("p50", "p99", "max")), f"{figures['rate']:.0f}"]

    # Log-ins

    def logins(self):
        body, storm = [], []
        for base in self.bases:
            database = self.fresh(base)
            with self.serve(database) as product:
                product.sign_up("reader")
                login = product.address + "/api/v1/auth/login"
                for clients in CLIENTS:
                    tell(f"log-ins on {base.name}, {clients} clients")
                    ceiling = self.hashes_a_second()
                    wrk("login.lua", clients, 1, login, "reader@example.com")
                    figures = wrk("login.lua", clients, self.options.seconds, login, "reader@example.com")
                    latency = [f"{figures['p50']:.1f}", f"{figures['p99']:.1f}"]
                    rate = figures["rate"]
                    body.append([base.name, clients, f"{rate:.0f}", *latency, f"{ceiling:.0f}", f"{rate / ceiling:.2f}"])
                tell(f"auth/me on {base.name}")
                me, token = product.address + "/api/v1/auth/me", product.log_in("reader")["access_token"]
                storm.append(self.me(base, "idle", me, token))
                with concurrent.futures.ThreadPoolExecutor(1) as pool:
                    running = pool.submit(wrk, "login.lua", 16, self.options.seconds + 2, login, "reader@example.com")
                    time.sleep(1)
                    storm.append(self.me(base, "16 clients log in", me, token))
                    running.result()
            database.drop()
        head = ["database", "clients", "log-ins/s", "p50 ms", "p99 ms", "hashes/s", "ratio"]
        table("Log-ins a second, against the hash alone", head, body)
        head = ["database", "load", "p50 ms", "p99 ms", "max ms", "calls/s"]
        table("`GET /api/v1/auth/me`, 16 connections", head, storm)

    def me(self, base, load, url, token):
        figures = wrk("call.lua", 16, self.options.seconds, url, token)
        return [base.name, load, *(f"{figures[key]:.1f}" for key in ("p50", "p99", "max")), f"{figures['rate']:.0f}"]

    # What a tenant may do

    def entitlements(self):
        body = []
        for base in self.bases:
            tell(f"billing/state on {base.name}")
            database = self.fresh(base)
            with self.serve(database) as product:
                tenant = product.sign_up("reader")["tenant"]["id"]
                state, token = product.address + "/api/v1/billing/state", product.log_in("reader")["access_token"]
                wrk("call.lua", 16, 1, state, token)
                figures = wrk("call.lua", 16, self.options.seconds, state, token)
                rate, latency = figures["rate"], [f"{figures[key]:.1f}" for key in ("p50", "p99")]
            ceiling = None if isinstance(base, Sqlite) else self.facts_a_second(database, tenant)
            ratio = ["", ""] if ceiling is None else [f"{ceiling:.0f}", f"{rate / ceiling:.2f}"]
            body.append([base.name, f"{rate:.0f}", *latency, *ratio])
            database.drop()
        head = ["database", "answers/s", "p50 ms", "p99 ms", "its query alone, through pgbench", "ratio"]
        table("`GET /api/v1/billing/state`, 16 connections", head, body)

    def facts_a_second(self, database, tenant):
        """The query that `src/entitlements/facts.rs` sends, by pgbench, as often as 16 clients can."""
        source = (HERE.parent / "src/entitlements/facts.rs").read_text()
        query = re.sub(r"\\\n\s*", "", re.search(r'const QUERY: &str = "(.*?)";', source, re.DOTALL)[1])
        file = self.scratch / "facts.sql"
        file.write_text(query.replace("$1", f"'{tenant}'::uuid").replace("$2", "'free'") + ";\n")
        pgbench = ["pgbench", "-n", "-M", "prepared", "-j", 2, "-c", 16, "-T", self.options.seconds, "-f", file]
        return float(re.search(r"tps = ([0-9.]+) ", output([*pgbench, database.url]))[1])

    # The kill switch

    def kill_switch(self):
        body = []
        for base in self.bases:
            tell(f"kill switch on {base.name}")
            database = self.fresh(base)
            with self.serve(database, cheap_hash=True) as product:
                ways = {
                    "admin API": lambda: product.set_flag(False),
                    "`tenantry flag set`": lambda: product.run("flag", "set", "signup_enabled", "false"),
                }
                for way, switch in ways.items():
                    took = [self.until_refused(product, switch, f"{way[0]}{n}") for n in range(10)]
                    body.append([base.name, way, ms(percentile(took, 50)), ms(max(took))])
            database.drop()
        table("Kill switch: from the command to the first sign-up refused with 503", ["database", "way", "p50 ms", "max ms"], body)

    def until_refused(self, product, switch, name):
        product.set_flag(True)
        connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=60)
        name = re.sub(r"\W", "x", name)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            began = time.perf_counter()
            switched = pool.submit(switch)
            for n in range(100_000):
                body = {"email": f"{name}x{n}@example.com", "password": PASSWORD, "tenant_name": f"{name} {n}"}
                status, _ = product.call("POST", "/public/signup/start", body, connection=connection)
                if status == 503:
                    took = time.perf_counter() - began
                    switched.result()
                    connection.close()
                    return took
        raise SystemExit("bench: the kill switch did not close the door")

    # Memory and start-up

    def footprint(self):
        body = []
        for base in self.bases:
            tell(f"memory and start-up on {base.name}")
            database = self.fresh(base)
            starts = []
            for _ in range(10):
                with self.serve(database) as product:
                    starts.append(product.started_in)
            with self.serve(database) as product:
                time.sleep(3)
                idle = product.memory("VmRSS")
                wrk("signup.lua", 64, self.options.seconds, product.address + "/public/signup/start", "m")
                most = product.memory("VmHWM")
                time.sleep(3)
                after = product.memory("VmRSS")
            database.drop()
            times = [self.first_start[base.name], percentile(starts, 50), max(starts)]
            body.append([base.name, *(ms(t) for t in times), *(f"{mib:.0f}" for mib in (idle, most, after))])
        head = ["database", "first start (migrates) ms", "start p50 ms", "max ms", "idle MiB", "most, 64 clients", "3 s later"]
        table("Start-up (spawn to the first 200 of `/healthz`) and memory", head, body)


PARTS = ["signups", "round_trips", "provisioning", "reads", "logins", "entitlements", "kill_switch", "footprint"]


def main():
    reader = argparse.ArgumentParser()
    for name in ("tenantry", "ceiling", "postgres", "scratch"):
        reader.add_argument(f"--{name}", required=True)
    reader.add_argument("--seconds", type=int, required=True)
    reader.add_argument("parts", nargs="*")
    options = reader.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        reader.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    bench = Bench(options)
    for part in options.parts or PARTS:
        getattr(bench, part)()


main()
