# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL server, and pgbench, psql and psycopg as its clients."""

import collections
import glob
import os
import pwd
import subprocess
import unittest

import lab
from lab import attr

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pg_peers.py")
# TPC-B: what one transaction of pgbench's consists of.
TPCB = {"BEGIN": 1, "UPDATE pgbench_accounts": 1, "SELECT pgbench_accounts": 1, "UPDATE pgbench_tellers": 1,
        "UPDATE pgbench_branches": 1, "INSERT pgbench_history": 1, "END": 1}


def binaries():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    return os.path.dirname(found[-1]) if found else None


def attempt(run, *argv, **kw):
    """Did it succeed?"""
    try:
        run(*argv, **kw)
        return True
    except RuntimeError:
        return False


class Postgresql(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not binaries():
            raise unittest.SkipTest("no PostgreSQL server (tools/setup test)")
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.db, cls.user = cls.lab.pod("db"), cls.lab.pod("user")
        cls.serve()
        cls.client("pgbench", "-i", "-q", "-s", "1", "shop")

    @classmethod
    def serve(cls):
        owner = pwd.getpwnam("postgres")
        data = cls.lab.dir("pg")
        subprocess.run(["chmod", "711", os.path.dirname(data)], check=True)
        os.chown(data, owner.pw_uid, owner.pw_gid)

        def as_owner(*argv):
            return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", *argv]

        cluster = os.path.join(data, "cluster")
        lab.run(*as_owner(os.path.join(binaries(), "initdb"), "-D", cluster, "-U", "postgres", "--auth=trust", "-N"))
        lab.run(*as_owner("openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=db", "-keyout",
                          os.path.join(cluster, "server.key"), "-out", os.path.join(cluster, "server.crt")))
        os.chmod(os.path.join(cluster, "server.key"), 0o600)
        with open(os.path.join(cluster, "postgresql.conf"), "a", encoding="utf-8") as f:
            f.write("ssl = on\n")
        with open(os.path.join(cluster, "pg_hba.conf"), "w", encoding="utf-8") as f:
            f.write("local all all trust\nhost all locked all scram-sha-256\nhost all all all trust\n")
        cls.db.spawn(*as_owner(os.path.join(binaries(), "postgres"), "-D", cluster, "-h", "*", "-k", data, "-c",
                               "fsync=off"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lab.wait_for("the server answers", lambda: attempt(cls.db.run, "pg_isready", "-h", data, "-q"), 30)
        cls.admin = ["psql", "-h", data, "-U", "postgres", "-qAtX"]
        cls.db.run(*cls.admin, "-c", "CREATE USER joe SUPERUSER", "-c", "CREATE USER locked PASSWORD 'right'", "-c",
                   "CREATE DATABASE shop OWNER joe")

    @classmethod
    def client(cls, program, *args, env=None, **kw):
        # Without TLS unless a test wants it.
        settings = {"PGHOST": cls.db.ip, "PGUSER": "joe", "PGDATABASE": "shop", "PGSSLMODE": "disable",
                    "PGGSSENCMODE": "disable", **(env or {})}
        return cls.user.run("env", *[f"{k}={v}" for k, v in settings.items()], program, *args, **kw)

    def psql(self, *statements, env=None, **kw):
        return self.client("psql", "-qAtX", *[a for s in statements for a in ("-c", s)], env=env, **kw)

    def pgbench(self, mode, clients=4, transactions=50):
        t = self.lab.trace("-i", self.db.veth)
        self.client("pgbench", "-n", "-M", mode, "-c", str(clients), "-t", str(transactions), "shop")
        wanted = {name: clients * transactions * n for name, n in TPCB.items()}
        t.wait_spans(sum(wanted.values()), 30)
        t.stop()
        names = collections.Counter(s["name"] for s in t.spans)
        self.assertEqual({n: names[n] for n in wanted}, wanted)
        # What else there is comes from pgbench's own preparations: it counts branches, and asks for partitions.
        self.assertLessEqual(sum(names.values()) - sum(wanted.values()), 3, names)
        for s in t.spans:
            self.assertEqual(s["kind"], "SERVER")
            self.assertEqual(attr(s, "db.system.name"), "postgresql")
            self.assertEqual(attr(s, "db.namespace"), "shop")
            self.assertEqual(attr(s, "clovisor.db.user"), "joe")
            self.assertIsNone(attr(s, "error.type"), s)
            for flag in ("unpaired", "gap", "truncated", "midstream"):
                self.assertIsNone(attr(s, f"clovisor.{flag}"), s)
            if s["name"].startswith(("UPDATE", "INSERT")):
                self.assertEqual(attr(s, "clovisor.db.rows_affected"), 1)
            if s["name"] == "SELECT pgbench_accounts":
                self.assertEqual(attr(s, "db.response.returned_rows"), 1)
        texts = {attr(s, "db.query.text") for s in t.spans if s["name"] == "UPDATE pgbench_tellers"}
        shape = "UPDATE pgbench_tellers SET tbalance = tbalance + {} WHERE tid = {};"
        self.assertEqual(texts, {shape.format("?", "?") if mode == "simple" else shape.format("$1", "$2")})

    def test_pgbench_simple(self):
        self.pgbench("simple")

    def test_pgbench_extended(self):
        self.pgbench("extended")

    def test_pgbench_prepared(self):
        self.pgbench("prepared")

    def spans(self, count, *statements, options=(), **kw):
        t = self.lab.trace("-i", self.db.veth, *options)
        attempt(self.psql, *statements, **kw)
        t.wait_spans(count)
        t.stop()
        self.assertEqual(len(t.spans), count, [s["name"] for s in t.spans])
        return t.spans

    def test_errors(self):
        spans = self.spans(4, "SELECT 1/0", "SELECT * FROM missing WHERE password = 'secret'", "SELEC 'secret'",
                           "SELECT 'fine'")
        self.assertEqual([attr(s, "db.response.status_code") for s in spans], ["22012", "42P01", "42601", None])
        self.assertEqual([attr(s, "error.type") for s in spans], ["22012", "42P01", "42601", None])
        self.assertEqual([s["name"] for s in spans], ["SELECT", "SELECT missing", "SELEC", "SELECT"])
        self.assertNotIn("secret", str(spans))

    def test_statements_of_one_query(self):
        (span,) = self.spans(1, "CREATE TEMP TABLE x (a int); INSERT INTO x VALUES (1), (2); SELECT * FROM x")
        self.assertEqual(span["name"], "CREATE TABLE x INSERT x SELECT x")
        self.assertEqual((attr(span, "db.response.returned_rows"), attr(span, "clovisor.db.rows_affected")), (2, 2))

    def test_statements_shown(self):
        (span,) = self.spans(1, "SELECT 'plain'  AS a", options=["--show-statements"])
        self.assertEqual(attr(span, "db.query.text"), "SELECT 'plain'  AS a")

    def test_copy(self):
        spans = self.spans(4, "CREATE TABLE copied AS SELECT generate_series(1, 20000) AS a, repeat('x', 100) AS b",
                           "COPY copied TO STDOUT", "\\copy copied FROM PROGRAM 'seq -f %.0f%%g 7 | head -3' "
                           "DELIMITER '%'", "DROP TABLE copied")
        self.assertEqual([s["name"] for s in spans], ["CREATE TABLE copied SELECT", "COPY copied", "COPY copied",
                                                      "DROP TABLE copied"])
        self.assertEqual(attr(spans[1], "db.response.returned_rows"), 20000)
        self.assertEqual(attr(spans[2], "clovisor.db.rows_affected"), 3)

    def test_passwords(self):
        t = self.lab.trace("-i", self.db.veth)
        self.psql("SELECT 1", env={"PGUSER": "locked", "PGPASSWORD": "right"})
        self.assertFalse(attempt(self.psql, "SELECT 1", env={"PGUSER": "locked", "PGPASSWORD": "wrong"}))
        t.wait_spans(2)
        t.stop()
        good, bad = t.spans
        self.assertEqual((good["name"], attr(good, "clovisor.db.user")), ("SELECT", "locked"))
        self.assertEqual((bad["name"], attr(bad, "error.type")), ("CONNECT shop", "28P01"))
        self.assertFalse({"right", "wrong"} & set(str(t.spans).replace("'", " ").split()))

    def test_tls(self):
        t = self.lab.trace("-i", self.db.veth)
        self.psql("SELECT 1", env={"PGSSLMODE": "require"})
        self.db.run(*self.admin, "-c", "ALTER SYSTEM SET ssl = off", "-c", "SELECT pg_reload_conf()")
        self.addCleanup(self.db.run, *self.admin, "-c", "ALTER SYSTEM SET ssl = on", "-c", "SELECT pg_reload_conf()")
        lab.wait_for("the server refuses TLS",
                     lambda: not attempt(self.psql, "SELECT 2", env={"PGSSLMODE": "require"}))
        self.psql("SELECT 3 FROM pg_class LIMIT 1", env={"PGSSLMODE": "prefer"})
        t.wait_spans(1)
        t.stop()
        self.assertEqual([s["name"] for s in t.spans], ["SELECT pg_class"])

    def peers(self, what, count, *options):
        venv = subprocess.run([os.path.join(lab.ROOT, "tests", "venv")], stdout=subprocess.PIPE, text=True, check=False)
        if venv.returncode:
            self.skipTest("no psycopg (tests/venv)")
        t = self.lab.trace("-i", self.user.veth, *options)
        self.client(venv.stdout.strip(), PEERS, what)
        t.wait_spans(count)
        t.stop()
        self.assertEqual(len(t.spans), count, [s["name"] for s in t.spans])
        for s in t.spans:
            self.assertEqual(s["kind"], "CLIENT")
        return t.spans

    def test_psycopg(self):
        spans = self.peers("talk", 1 + 3 + 20 + 1 + 1)
        names = collections.Counter(s["name"] for s in spans)
        self.assertEqual(names, {"CREATE TABLE notes": 1, "INSERT notes": 3, "SELECT notes": 20, "BEGIN": 1,
                                 "COMMIT": 1})
        self.assertEqual({attr(s, "db.response.returned_rows") for s in spans if s["name"] == "SELECT notes"}, {1})
        self.assertEqual({attr(s, "db.query.text") for s in spans if s["name"] == "SELECT notes"},
                         {"SELECT a FROM notes WHERE a = $1"})

    def test_pipeline(self):
        spans = self.peers("pipeline", 2 + 40)
        rows = [attr(s, "db.response.returned_rows") for s in spans if s["name"] == "SELECT generate_series"]
        self.assertEqual(rows, list(range(1, 41)))

    def test_pipeline_aborted(self):
        spans = self.peers("abort", 5)
        self.assertEqual([attr(s, "error.type") for s in spans], [None, "22012", "aborted", "aborted", "aborted"])

    def test_cancel(self):
        spans = self.peers("cancel", 2)
        cancel = next(s for s in spans if s["name"].startswith("CANCEL"))
        query = next(s for s in spans if s["name"] == "SELECT")
        self.assertEqual(attr(query, "error.type"), "57014")
        self.assertEqual(attr(cancel, "db.operation.name"), "CANCEL")

    def test_joined_late(self):
        """A connection older than the tracer: no wrong name, and all is found once it is known where it stands."""
        self.client("psql", "-qAtX", "-c", "DROP TABLE IF EXISTS late")
        child = self.user.spawn("env", f"PGHOST={self.db.ip}", "PGUSER=joe", "PGDATABASE=shop", "PGSSLMODE=disable",
                                "psql", "-qAtX", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stdin.close)
        child.stdin.write("SELECT 'ready';\n")
        child.stdin.flush()
        self.assertEqual(child.stdout.readline(), "ready\n")
        t = self.lab.trace("-i", self.db.veth)
        for i in range(5):
            child.stdin.write(f"SELECT {i} FROM pg_class LIMIT {i + 1};\n")
            child.stdin.flush()
            for _ in range(i + 1):
                self.assertEqual(child.stdout.readline(), f"{i}\n")
        t.wait_spans(5)
        t.stop()
        self.assertEqual([s["name"] for s in t.spans], ["SELECT pg_class"] * 5)
        self.assertEqual([attr(s, "db.response.returned_rows") for s in t.spans], [1, 2, 3, 4, 5])


if __name__ == "__main__":
    unittest.main()
