"""The two databases as the benchmark sees them: where they are, copies of them, and reading them."""

import csv
import io
import pathlib
import shutil
import sqlite3
import subprocess

MAILED = "update outbox set status = 'done', payload = null, finished_at = created_at"


def _run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise SystemExit(f"bench: {command[0]} failed\n{done.stdout}{done.stderr}")
    return done.stdout


class Sqlite:
    """A file in a folder of its own."""

    name = "SQLite"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "tenantry.db"
        self.environment = {"TENANTRY_DATA_DIR": str(self.folder)}

    def copy(self, name):
        """Another database with the same rows; nobody may be using this one."""
        other = Sqlite(self.folder.parent / name)
        for file in self.folder.iterdir():
            shutil.copy(file, other.folder)
        return other

    def settle(self):
        """As if every mail had left."""
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(MAILED)
        connection.close()

    def query(self, text):
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)
        try:
            return [tuple("" if value is None else str(value) for value in row) for row in connection.execute(text)]
        finally:
            connection.close()

    def tables(self):
        return [name for (name,) in self.query("select name from sqlite_master where type = 'table'")]

    def columns(self, table):
        return self.query(f"select name, type from pragma_table_info('{table}')")

    def literals(self, table, columns, where):
        quoted = ", ".join(f"quote({column})" for column in columns)
        return self.query(f"select {quoted} from {table} where {where}")

    def drop(self):
        shutil.rmtree(self.folder)


class Postgres:
    """A database in the server that `admin`, a URL, leads to."""

    name = "PostgreSQL"

    def __init__(self, admin, name, folder, template=None):
        self.admin, self.database, self.folder = admin, name, pathlib.Path(folder)
        self.url = admin.rsplit("/", 1)[0] + "/" + name
        self.environment = {"TENANTRY_DATA_DIR": str(folder), "DATABASE_URL": self.url}
        self.folder.mkdir(parents=True, exist_ok=True)
        _run(["psql", admin, "-qc", f"create database {name}" + (f" template {template}" if template else "")])

    def copy(self, name):
        """Another database with the same rows; nobody may be using this one. What it wrote reaches the disk first."""
        other = Postgres(self.admin, name, self.folder, template=self.database)
        _run(["psql", self.admin, "-qc", "checkpoint"])
        return other

    def settle(self):
        """As if every mail had left, and autovacuum had come by."""
        _run(["psql", self.url, "-qc", MAILED, "-c", "vacuum analyze"])

    def query(self, text):
        return [tuple(row) for row in csv.reader(io.StringIO(_run(["psql", self.url, "--csv", "-tc", text])))]

    def tables(self):
        return [name for (name,) in self.query("select tablename from pg_tables where schemaname = 'public'")]

    def columns(self, table):
        return self.query(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            f"where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped order by attnum"
        )

    def literals(self, table, columns, where):
        quoted = ", ".join(f"quote_nullable({column})" for column in columns)
        return self.query(f"select {quoted} from {table} where {where}")

    def drop(self):
        _run(["psql", self.admin, "-qc", f"drop database {self.database} with (force)"])
