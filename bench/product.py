"""The product under measurement: a process of it, and requests to it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time

ADMIN_TOKEN = "a-bench-admin-token-that-only-loopback-sees"
PASSWORD = "correct horse battery staple"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Product:
    """`tenantry serve` on a database. A context manager: it is stopped at the end."""

    def __init__(self, binary, database, *arguments, cheap_hash=False, **more):
        self.binary, self.port = binary, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | database.environment | {
            "TENANTRY_ENVIRONMENT": "development",
            "TENANTRY_HTTP__BIND": f"127.0.0.1:{self.port}",
            "TENANTRY_PUBLIC_URL": self.address,
            "TENANTRY_RATE_LIMIT__ENABLED": "false",
            "TENANTRY_LOG__FORMAT": "json",
            # As in production, where development is more lenient; its estimate is part of what a password costs.
            "TENANTRY_PASSWORD__MIN_SCORE": "0" if cheap_hash else "3",
            "TENANTRY_ADMIN_TOKEN": ADMIN_TOKEN,
            "TENANTRY_BENCH_CHEAP_HASH": str(int(cheap_hash)),
        } | more  # fmt: skip
        self.log = open(database.folder / "serve.log", "ab")
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [binary, "serve", *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        self._wait()
        self.started_in = time.perf_counter() - began

    def _wait(self):
        for _ in range(20_000):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                if self.call("GET", "/healthz")[0] == 200:
                    return
            if self.process.poll() is not None:
                raise SystemExit(f"bench: the server ended; see {self.log.name}")
            time.sleep(0.001)
        raise SystemExit("bench: the server did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)
        self.log.close()

    def run(self, *arguments):
        """A command of the product on the same database."""
        subprocess.run([self.binary, *arguments], env=self.environment, check=True, stdout=self.log, stderr=self.log)

    def memory(self, which):
        """MiB: `VmRSS` is now, `VmHWM` the most there ever was."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith(which + ":"))

    def call(self, method, path, body=None, token=None, connection=None):
        """Status and JSON of one request, on a connection of its own unless one is given."""
        on = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        on.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = on.getresponse()
        text = answer.read()
        if connection is None:
            on.close()
        return answer.status, json.loads(text) if text.startswith(b"{") else None

    def sign_up(self, name, plan="starter", connection=None):
        """The answer to step 1."""
        body = {"email": f"{name}@example.com", "password": PASSWORD, "tenant_name": name, "plan": plan}
        status, answer = self.call("POST", "/public/signup/start", body, connection=connection)
        if status != 201:
            raise SystemExit(f"bench: sign-up answered {status}: {answer}")
        return answer

    def log_in(self, name):
        """Tokens of whoever signed up under that name."""
        body = {"email": f"{name}@example.com", "password": PASSWORD}
        status, answer = self.call("POST", "/api/v1/auth/login", body)
        if status != 200:
            raise SystemExit(f"bench: log-in answered {status}: {answer}")
        return answer

    def queue(self, token, plan, connection=None):
        """The wizard's last step."""
        step = {"starter": "starter/make", "pro": "pro/confirm"}[plan]
        body = {"webhook_url": "https://hook.eu1.make.com/bench"}
        status, answer = self.call("POST", f"/public/signup/{step}", body, token, connection)
        if status != 202:
            raise SystemExit(f"bench: {step} answered {status}: {answer}")

    def set_flag(self, enabled):
        path = "/api/v1/admin/feature-flags/signup_enabled"
        return self.call("PUT", path, {"enabled": enabled}, ADMIN_TOKEN)
