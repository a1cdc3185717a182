# SPDX-License-Identifier: Apache-2.0
"""A MariaDB server, its own client, PyMySQL and MySQL's connector for Python. The server's general log is the truth."""

import collections
import os
import pwd
import re
import shutil
import subprocess
import unittest

import lab
from lab import attr, wait_for

# What the log calls a command, and what a span does. Quit and Close stmt are answered by nobody. Pings are not logged,
# nor is what could not be prepared.
LOGGED = {"Connect": "LOGIN", "Query": "QUERY", "Init DB": "INIT_DB", "Prepare": "PREPARE", "Execute": "EXECUTE",
          "Reset stmt": "RESET_STATEMENT", "Field List": "FIELD_LIST", "Statistics": "STATISTICS",
          "Change user": "CHANGE_USER", "Reset connection": "RESET_CONNECTION", "Fetch": "FETCH"}
LINE = re.compile(r"^(?:\d{6} [ \d:]{8}|\t)?\t? *(\d+) ([A-Z][a-z]+(?: [A-Za-z]+)?)(?:\t(.*))?$")

CONNECT = """
import sys
host, password = sys.argv[1], "secret-of-app"
import pymysql, mysql.connector
from pymysql.constants import CLIENT
def pymy(**kw):
    return pymysql.connect(host=host, user="app", password=password, database="shop", autocommit=True,
                           ssl_disabled=True, **kw)
def official(**kw):
    return mysql.connector.connect(host=host, user="app", password=password, database="shop", use_pure=True,
                                   ssl_disabled=True, **kw)
def wait():
    print("waiting", flush=True)
    sys.stdin.readline()
"""


@unittest.skipUnless(shutil.which("mariadbd", path="/usr/sbin:/usr/bin") and shutil.which("mariadb"), "no MariaDB")
class MySQL(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        venv = subprocess.run([os.path.join(lab.ROOT, "tests", "venv")], capture_output=True, text=True, check=False)
        if venv.returncode:
            raise unittest.SkipTest(venv.stderr.strip() or "no venv")
        cls.python = venv.stdout.strip()
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.db, cls.user = cls.lab.pod("db"), cls.lab.pod("user")
        for pod in cls.db, cls.user:  # packets of 16 MiB come as fast as a network brings them, not as memory does
            pod.run("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "1gbit", "burst", "256kb", "latency",
                    "50ms")
        cls.start()

    @classmethod
    def start(cls):
        top = cls.lab.dir("mysql")
        os.chmod(cls.lab.top, 0o755)
        account = pwd.getpwnam("mysql")
        key, cert = os.path.join(top, "key.pem"), os.path.join(top, "cert.pem")
        lab.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=db", "-days", "2", "-keyout",
                key, "-out", cert)
        os.chmod(key, 0o644)
        os.chown(top, account.pw_uid, account.pw_gid)
        data = os.path.join(top, "data")
        lab.run("mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", "--skip-test-db",
                "--auth-root-authentication-method=normal")
        cls.log, cls.socket = os.path.join(top, "general.log"), os.path.join(top, "socket")
        cls.db.spawn("/usr/sbin/mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}",
                     f"--socket={cls.socket}", f"--pid-file={top}/pid", f"--general-log-file={cls.log}",
                     "--general-log",
                     "--bind-address=0.0.0.0", "--skip-name-resolve", "--local-infile", "--max-allowed-packet=64M",
                     "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=200M", f"--ssl-cert={cert}",
                     f"--ssl-key={key}", "--skip-log-bin", stdout=subprocess.DEVNULL,
                     stderr=open(os.path.join(top, "error.log"), "wb"))
        wait_for("mariadbd listens", lambda: cls.db.try_connect(3306), 60)
        cls.admin("CREATE DATABASE shop; CREATE DATABASE other; CREATE USER app IDENTIFIED BY 'secret-of-app';"
                  "GRANT ALL ON *.* TO app; USE shop; CREATE TABLE items (id INT PRIMARY KEY, name LONGTEXT);"
                  "INSERT INTO items SELECT seq, CONCAT('item-', seq) FROM seq_1_to_1000")
        cls.admin("USE shop;\nDELIMITER //\n"
                  "CREATE PROCEDURE twice() BEGIN SELECT 1; SELECT id FROM items WHERE id < 4; END//")

    @classmethod
    def admin(cls, sql):
        return lab.run("mariadb", "--no-defaults", f"--socket={cls.socket}", "-uroot", "-BN", "-e", sql)

    def logged(self, at):
        """Commands by connection, as the server saw them from there on."""
        seen = collections.defaultdict(list)
        with open(self.log, encoding="utf-8", errors="replace") as f:
            f.seek(at)
            for line in f:
                m = LINE.match(line.rstrip("\n"))
                if m and m[2] in LOGGED:
                    seen[m[1]].append(LOGGED[m[2]])
        return sorted(seen.values())

    @staticmethod
    def operation(span):
        """As the log would call it. A prepared statement that is run goes by its text, as a query does."""
        return attr(span, "db.operation.name", "RUN")

    def watch(self, work, *args):
        """What clovisor sees while work() runs; and what the server logged."""
        at = os.path.getsize(self.log)
        t = self.lab.trace("-i", self.db.veth, *args)
        work()
        t.stop()
        return t, self.logged(at)

    def compare(self, t, logged):
        """Request by request, on every connection."""
        seen = collections.defaultdict(list)
        for span in sorted(t.spans, key=lambda s: int(s["start_time_unix_nano"])):
            operation = self.operation(span)
            if operation != "PING" and not (operation == "PREPARE" and attr(span, "error.type")):
                seen[attr(span, "client.port")].append(operation)
        runs = sorted([o if o not in ("QUERY", "EXECUTE") else "RUN" for o in c] for c in logged)
        self.assertEqual(sorted(seen.values()), runs)
        self.assertEqual({k: v for k, v in t.summary["drops"].items() if v}, {})
        for span in t.spans:
            self.assertEqual(attr(span, "db.system.name"), "mariadb")
            for flag in ("gap", "truncated", "midstream", "unpaired"):
                self.assertNotIn(f"clovisor.{flag}", span["attributes"])
            self.assertNotIn("secret", str(span))

    def client(self, code, stdin=subprocess.DEVNULL):
        path = self.lab.path(f"client{len(code)}.py")
        with open(path, "w", encoding="ascii") as f:
            f.write(CONNECT + code)
        return self.user.spawn(self.python, path, self.db.ip, stdin=stdin, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)

    def run_client(self, code):
        child = self.client(code)
        out, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 0, err)
        return out

    def mariadb(self, sql, *args, tls="--skip-ssl"):
        """Runs the client; that statements fail is for the server's log to tell."""
        subprocess.run(["nsenter", f"--net=/run/netns/{self.user.ns}", "mariadb", "--no-defaults", "-h", self.db.ip,
                        "-uapp", "-psecret-of-app", "-BN", tls, *args, "-e", sql, "shop"], stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=60, check=False)

    def test_one_query_in_full(self):
        t, _ = self.watch(lambda: self.mariadb("SELECT name FROM items WHERE id = 7 AND name <> 'private'"))
        login, span = t.spans[0], t.spans[-1]
        self.assertEqual((login["name"], attr(login, "db.operation.name")), ("LOGIN shop", "LOGIN"))
        self.assertEqual((span["name"], span["kind"], span["status"]), ("SELECT items", "SERVER", {"code": "UNSET"}))
        for key, value in {
                "db.system.name": "mariadb", "db.namespace": "shop", "clovisor.db.user": "app",
                "db.query.text": "SELECT name FROM items WHERE id = ? AND name <> ?",
                "db.query.summary": "SELECT items", "db.response.returned_rows": 1, "server.address": self.db.ip,
                "server.port": 3306, "client.address": self.user.ip, "network.transport": "tcp"}.items():
            self.assertEqual(attr(span, key), value, key)
        for key in ("error.type", "db.response.status_code", "db.operation.name", "clovisor.db.rows_affected"):
            self.assertNotIn(key, span["attributes"])

    def test_its_own_client(self):
        path = self.lab.path("load.csv")
        with open(path, "w", encoding="ascii") as f:
            f.writelines(f"{n},loaded-{n}\n" for n in range(5000, 45000))
        t, logged = self.watch(lambda: self.mariadb(
            f"SELECT * FROM items;\nUSE other\nSELECT 1;\nUSE shop\nLOAD DATA LOCAL INFILE '{path}' INTO TABLE items "
            "FIELDS TERMINATED BY ',';\nDELETE FROM items WHERE id >= 5000;\nSELECT * FROM items WHERE id < 0;\n"
            "SHOW WARNINGS;\nSELECT * FROM nowhere", "--local-infile"))
        self.compare(t, logged)
        runs = [s for s in t.spans if self.operation(s) == "RUN"]
        self.assertEqual([(s["name"].split()[0], attr(s, "db.namespace"), attr(s, "db.response.returned_rows"),
                           attr(s, "clovisor.db.rows_affected"), attr(s, "db.response.status_code")) for s in runs], [
            ("SELECT", "shop", 1000, None, None),
            ("SELECT", "shop", 1, None, None),  # the client asks for the database before it moves to another one
            ("SELECT", "other", 1, None, None), ("SELECT", "other", 1, None, None),
            ("LOAD", "shop", None, 40000, None), ("DELETE", "shop", None, 40000, None),
            ("SELECT", "shop", 0, None, None), ("SHOW", "shop", 0, None, None),
            ("SELECT", "shop", None, None, "1146")])
        bad = runs[-1]
        self.assertEqual((bad["status"]["code"], attr(bad, "error.type"), attr(bad, "clovisor.db.sqlstate")),
                         ("ERROR", "1146", "42S02"))

    def test_pymysql(self):
        t, logged = self.watch(lambda: self.run_client("""
c = pymy(client_flag=CLIENT.MULTI_STATEMENTS, max_allowed_packet=1 << 26)
k = c.cursor()
for n in range(200):
    k.execute("SELECT name FROM items WHERE id = %s", (n,))
    k.fetchall()
k.executemany("INSERT INTO items VALUES (%s, %s)", [(n, "x" * 100) for n in range(2000, 2100)])
k.callproc("twice")
while k.nextset():
    pass
k.execute("SELECT 1; DELETE FROM items WHERE id >= 2000; SELECT id FROM items LIMIT 5")
while k.nextset():
    pass
try:
    k.execute("SELEC 1")
except pymysql.Error:
    pass
k.execute("SELECT REPEAT('x', 20000000), 1 UNION ALL SELECT 'y', 2")
k.fetchall()
k.execute("SELECT LENGTH(%s)", ("z" * 17000000,))
k.fetchall()
c.ping()
c.select_db("other")
k.execute("SELECT DATABASE()")
c.close()
"""))
        self.compare(t, logged)
        runs = [s for s in t.spans if self.operation(s) == "RUN"]
        self.assertEqual(sum(attr(s, "db.response.returned_rows", 0) for s in runs if s["name"] == "SELECT items"), 199)
        rows = [attr(s, "db.response.returned_rows") for s in runs[-6:]]
        self.assertEqual(rows, [4, 6, None, 2, 1, 1])
        self.assertEqual(attr(runs[-5], "clovisor.db.rows_affected"), 100)
        self.assertEqual(attr(runs[-4], "db.response.status_code"), "1064")
        self.assertEqual(attr(runs[-1], "db.namespace"), "other")
        self.assertLess(t.summary["record_bytes"], 4_000_000)

    def test_prepared(self):
        t, logged = self.watch(lambda: self.run_client("""
c = official()
k = c.cursor(prepared=True)
for n in range(50):
    k.execute("SELECT name FROM items WHERE id = ?", (n,))
    k.fetchall()
k.execute("SELECT id FROM items WHERE id <= ? AND name <> ?", (10, "x"))
k.fetchall()
k2 = c.cursor(prepared=True)
k2.execute("UPDATE items SET name = ? WHERE id = ?", ("new", 5))
try:
    k2.execute("SELECT 1 FROM nowhere WHERE id = ?", (1,))
except mysql.connector.Error:
    pass
c.commit()
c.cmd_ping()
c.cmd_statistics()
c.cmd_change_user("app", password, "other")
k = c.cursor(prepared=True)
k.execute("SELECT DATABASE(), ?", (1,))
k.fetchall()
c.close()
"""))
        self.compare(t, logged)
        runs = [s for s in t.spans if s["name"] == "SELECT items"]
        self.assertEqual([attr(s, "db.response.returned_rows") for s in runs], [0] + [1] * 49 + [10])
        self.assertEqual({attr(s, "db.query.text") for s in runs},
                         {"SELECT name FROM items WHERE id = ?", "SELECT id FROM items WHERE id <= ? AND name <> ?"})
        self.assertIn("PREPARE SELECT items", [s["name"] for s in t.spans])
        self.assertEqual([attr(s, "clovisor.db.rows_affected") for s in t.spans if s["name"] == "UPDATE items"], [1])
        self.assertEqual([s["name"] for s in t.spans if attr(s, "db.response.status_code")], ["PREPARE SELECT nowhere"])
        self.assertEqual(attr(t.spans[-1], "db.namespace"), "other")

    def test_joined_late(self):
        child = self.client("""
c = official()
k = c.cursor(prepared=True)
for n in range(10):
    k.execute("SELECT name FROM items WHERE id = ?", (n,))
    k.fetchall()
wait()
for n in range(10, 40):
    k.execute("SELECT name FROM items WHERE id = ?", (n,))
    k.fetchall()
d = c.cursor()
for n in range(30):
    d.execute("SELECT name FROM items WHERE id < %d" % n)
    d.fetchall()
e = c.cursor(prepared=True)
e.execute("SELECT id FROM items WHERE id < ?", (9,))
e.fetchall()
c.close()
""", stdin=subprocess.PIPE)
        self.assertEqual(child.stdout.readline(), "waiting\n")

        def work():
            child.stdin.write("\n")
            child.stdin.flush()
            self.assertEqual(child.wait(30), 0, child.stderr.read())

        t, logged = self.watch(work)
        self.assertEqual(len([s for s in t.spans if s["name"] != "PING"]), sum(len(c) for c in logged))
        self.assertEqual([s for s in t.spans if attr(s, "clovisor.unpaired") or attr(s, "clovisor.gap")], [])
        unknown = [s for s in t.spans if s["name"] == "EXECUTE"]
        self.assertEqual(len(unknown), 30)  # prepared before anybody looked
        self.assertTrue(all(attr(s, "clovisor.midstream") for s in unknown))
        known = [attr(s, "db.response.returned_rows") for s in t.spans if s["name"] == "SELECT items"]
        self.assertEqual(known, [max(0, n - 1) for n in range(30)] + [8])

    def test_compression_and_tls(self):
        """Both are agreed on in plain text; from then on nothing can be read, and nothing is said."""
        t, _ = self.watch(lambda: self.mariadb("SELECT 1; SELECT 2", "--compress"))
        self.assertEqual([s["name"] for s in t.spans], ["LOGIN shop"])
        self.assertEqual({k: v for k, v in t.summary["drops"].items() if v}, {})
        t, _ = self.watch(lambda: self.mariadb("SELECT 1", tls="--ssl"))
        self.assertEqual(t.spans, [])
        self.assertEqual({k: v for k, v in t.summary["drops"].items() if v}, {})

    def test_refused(self):
        def work():
            done = subprocess.run(["nsenter", f"--net=/run/netns/{self.user.ns}", "mariadb", "--no-defaults", "-h",
                                   self.db.ip, "-uapp", "-pwrong", "--skip-ssl"], capture_output=True, check=False)
            self.assertNotEqual(done.returncode, 0)

        t, _ = self.watch(work)
        self.assertEqual([(s["name"], attr(s, "error.type"), attr(s, "clovisor.db.user")) for s in t.spans],
                         [("LOGIN", "1045", "app")])

    def test_many_clients(self):
        t, logged = self.watch(lambda: self.run_client("""
import threading
def work():
    c = pymy()
    k = c.cursor()
    for n in range(300):
        k.execute("SELECT id FROM items WHERE id <= %s", (n,))
        assert len(k.fetchall()) == n
    c.close()
threads = [threading.Thread(target=work) for _ in range(8)]
for x in threads: x.start()
for x in threads: x.join()
"""))
        self.compare(t, logged)
        rows = collections.Counter(attr(s, "db.response.returned_rows") for s in t.spans if s["name"] == "SELECT items")
        self.assertEqual(rows, {n: 8 for n in range(300)})
