# SPDX-License-Identifier: Apache-2.0
"""Plugins: built out of tree against the installed header, checked, loaded, refused; and tools/new-proto."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True

import plugins  # noqa: E402
import runner  # noqa: E402
import test_cli  # noqa: E402

LAWS = ["probe", "splits", "losses", "offsets", "allocations", "noise", "describe", "pairs", "pairs-losses",
        "pairs-late", "pairs-offsets", "steady"]
TRUTH = LAWS[7:]
SANITIZED = "asan" in plugins.BUILD


def conversation(*lines, port=7777):
    """A capture of one connection; the client's lines and the server's take turns."""
    c = test_cli.Capture()
    test_cli.SERVER = ("10.0.0.1", port)
    c.seq = {test_cli.CLIENT: 1000, test_cli.SERVER: 5000}
    c.open()
    for i, line in enumerate(lines):
        c.packet(test_cli.SERVER if i % 2 else test_cli.CLIENT, 0x18, line)
    return bytes(c.data)


class Plugins(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.installed = plugins.Installed()
        cls.addClassCleanup(cls.installed.close)
        cls.good = cls.installed.fixture()

    def setUp(self):
        self.server = test_cli.SERVER

    def tearDown(self):
        test_cli.SERVER = self.server

    def clovisor(self, *args, **kw):
        return subprocess.run([self.installed.program, *args], capture_output=True, text=True, check=False, timeout=120,
                              **kw)

    def laws(self, path, code):
        done = self.clovisor("check-plugin", "--json", path)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        return report, {law["law"]: law for law in report["laws"]}

    def refused(self, path, *says):
        """In one line, with a way out, by each command that loads it."""
        for args in (["check-plugin", path], ["read", "--plugin", path, "/dev/null"]):
            done = self.clovisor(*args)
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertEqual(done.stdout, "")
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            for text in says:
                self.assertIn(text, done.stderr)

    def put(self, name, data):
        path = os.path.join(self.installed.top, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    # ---- check-plugin --------------------------------------------------------------------------------------------

    def test_a_good_plugin_keeps_all_laws(self):
        report, laws = self.laws(self.good, 3 if SANITIZED else 0)
        self.assertEqual((report["plugin"], report["version"], report["abi"]), ("fixture", "0.1", 1))
        self.assertEqual(list(laws), LAWS)
        self.assertEqual(report["broken"], 0)
        text = self.clovisor("check-plugin", self.good).stdout.splitlines()
        self.assertEqual(len(text), 2 + len(LAWS))
        self.assertTrue(all(line.startswith("holds  ") for line in text[1:-1]) or SANITIZED, text)

    def test_each_fault_breaks_its_law(self):
        faults = {
            "READS_BEYOND": ("splits", "beyond the slice"),
            "ALLOCATES": ("allocations", "wrote to the heap"),
            "DUPLICATES": ("allocations", "wrote to the heap"),
            "DESCRIBE_ALLOCATES": ("describe", "wrote to the heap"),
            "ABORTS": ("splits", "abort()"),
            "KEEPS_ALL": ("noise", "left unused"),
            "SPLITS": ("splits", "taken for bad"),
            "BAD_ATTRIBUTE": ("describe", "attribute"),
            "NO_SPAN_NAME": ("describe", "no name"),
            "SAYS_WRONG": ("pairs", "wrong span"),
            "PROBES_NO": ("probe", "NO to its first 3 bytes"),
            "NOT_GIVEN_BACK": ("splits", "not given back"),
        }
        for fault, (law, says) in faults.items():
            if SANITIZED and ("heap" in says or "beyond" in says):
                continue
            with self.subTest(fault):
                _, laws = self.laws(self.installed.fixture(fault), 1)
                self.assertEqual(laws[law]["state"], "broken", laws)
                self.assertIn(says, laws[law]["detail"])

    def test_without_a_talk_what_needs_one_is_not_run(self):
        report, laws = self.laws(self.installed.fixture("NO_TALK"), 3)
        self.assertEqual([law for law in LAWS if laws[law]["state"] == "holds"], ["noise"])
        self.assertEqual(laws["splits"]["detail"], "the plugin has no talk of it")
        self.assertEqual(report["not_run"], 11)

    def test_without_the_truth_about_spans_pairs_are_not_compared(self):
        _, laws = self.laws(self.installed.fixture("NO_TRUTH"), 3)
        self.assertEqual([law for law in LAWS if laws[law]["state"] == "not run" and law != "allocations"], TRUTH)

    # ---- refused -------------------------------------------------------------------------------------------------

    def test_what_is_no_good_plugin_is_refused(self):
        fixture = self.installed.fixture
        for path, *says in (
                (fixture("OTHER_ABI"), "ABI 2", "has 1", "build it anew"),
                (fixture("OTHER_SIZE"), "same ABI number", "build it anew"),
                (fixture("NO_FEED"), "no feed()"),
                (fixture("BAD_NAME"), '"Fixture"', "lower case"),
                (fixture("TAKEN_NAME"), "protocol http already", "another name"),
                (fixture("TWICE"), "two protocols named fixture", "rename"),
                (fixture("NO_PROTOCOLS"), "no protocols"),
                (fixture("NONE", "no_symbol", "-DNO_SYMBOL"), "clovisor_plugin", "clovisor/proto.h"),
                (self.put("text.so", b"no object\n"), "cannot be loaded"),
                (self.installed.top, "no file"),
                (os.path.join(self.installed.top, "missing.so"), "No such file"),
        ):
            with self.subTest(os.path.basename(path)):
                self.refused(path, *says)
        done = self.clovisor("check-plugin", fixture("STRANGE_TALK"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("stranger", done.stderr)

    def test_what_others_may_change_is_refused(self):
        def folder(name, mode):
            path = os.path.join(self.installed.top, name)
            os.mkdir(path)
            shutil.copy(self.good, path)
            os.chmod(path, mode)
            return os.path.join(path, os.path.basename(self.good))

        file = folder("file", 0o755)
        os.chmod(file, 0o666)
        self.refused(file, "can be written by others", "install")
        self.refused(folder("directory", 0o777), "directory can be written by others")
        link = os.path.join(self.installed.top, "link.so")
        os.symlink(file, link)
        self.refused(link, "can be written by others")
        if os.geteuid() == 0:
            os.chmod(file, 0o755)
            os.chown(file, 12345, 12345)
            self.refused(file, "belongs to another user")
        sticky = folder("sticky", 0o1777)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(sticky)).st_mode), 0o1777)
        self.assertEqual(self.clovisor("check-plugin", sticky).returncode, 3 if SANITIZED else 0)

    def test_usage(self):
        for args in (["check-plugin"], ["check-plugin", "a", "b"], ["read", "--plugin", "memcached.so", "x"],
                     ["read", "--plugin", "", "x"], ["read", "--plugin", "/dir/", "x"]):
            done = self.clovisor(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    # ---- used ----------------------------------------------------------------------------------------------------

    def spans(self, *args):
        done = self.clovisor("read", "--json", *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_read(self):
        path = self.put("fixture.pcap", conversation(b"fixture a\r\n", b"yes a\r\n", b"fixture bc\r\n", b"yes bc\r\n"))
        self.assertEqual(self.spans(path), [])
        first, second = self.spans("--plugin", self.good, path)
        self.assertEqual((first["name"], second["name"]), ("ask", "ask"))
        a = second["attributes"]
        self.assertEqual((a["fixture.key.bytes"], a["fixture.answered"], a["fixture.parts"], a["db.system.name"]),
                         (2, True, ["a", "b"], "fixture"))
        self.assertEqual(a["server.port"], 7777)
        self.assertEqual(len(self.spans("--plugin", self.good, "--plugin", self.good, path)), 2)
        self.assertEqual(len(self.spans("--plugin", self.good, "--port", "7777:fixture", path)), 2)
        self.assertEqual(len(self.spans("--port", "7777:fixture", "--plugin", self.good, path)), 2)
        self.assertEqual(self.spans("--port", "7777:http", "--plugin", self.good, path), [])
        done = self.clovisor("read", "--port", "7777:fixtur", "--plugin", self.good, path)
        self.assertEqual(done.returncode, 2)
        self.assertIn("fixture)", done.stderr)
        text = self.clovisor("read", "--plugin", self.good, path).stdout
        self.assertIn("FIXTURE", text)

    def test_filter_redaction_and_what_does_not_fit(self):
        path = self.put("more.pcap", conversation(b"fixture a\r\n", b"yes a\r\n"))
        self.assertEqual(len(self.spans("--plugin", self.good, "--filter", "method=FIXTURE", path)), 1)
        self.assertEqual(len(self.spans("--plugin", self.good, "--filter", "status=404", path)), 0)
        (span,) = self.spans("--plugin", self.good, "--redact", "token=[a-z]+", path)
        self.assertEqual(span["attributes"]["fixture.secret"], "REDACTED")
        self.assertNotIn("dropped_attributes_count", span)
        (span,) = self.spans("--plugin", self.installed.fixture("BAD_ATTRIBUTE"), path)
        self.assertEqual(span["dropped_attributes_count"], 1)

    def test_configuration(self):
        path = self.put("file.pcap", conversation(b"fixture a\r\n", b"yes a\r\n"))
        config = self.put("c.yaml", f"plugins: [{self.good}]\ncapture: {{ports: ['7777:fixture']}}\n".encode())
        self.assertEqual(len(self.spans("-c", config, path)), 1)
        self.assertEqual(self.clovisor("config", "check", config).returncode, 0)
        # To check a file runs nobody's code: what is there, is looked at when it is used.
        config = self.put("d.yaml", b"plugins: [/no/such.so]\n")
        self.assertEqual(self.clovisor("config", "check", config).returncode, 0)
        done = self.clovisor("read", "-c", config, path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/no/such.so: No such file", done.stderr)

    # ---- the example ---------------------------------------------------------------------------------------------

    def test_memcached_keeps_all_laws(self):
        for tool in ("make", "meson"):
            with self.subTest(tool):
                report, _ = self.laws(self.installed.example("plugin-memcached", tool), 3 if SANITIZED else 0)
                self.assertEqual((report["plugin"], report["broken"]), ("memcached", 0))

    def test_nothing_here_knows_memcached(self):
        done = subprocess.run(["git", "grep", "-il", "memcache", "--", "src", "include", "bpf", "wire"],
                              cwd=plugins.ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(done.stdout, "")


class NewProto(unittest.TestCase):
    """The scaffold builds and passes, in a copy of this tree."""

    def test_scaffold(self):
        with tempfile.TemporaryDirectory() as top:
            files = subprocess.run(["git", "ls-files", "-z"], cwd=plugins.ROOT, capture_output=True, check=True).stdout
            for name in filter(None, files.decode().split("\0")):
                source = os.path.join(plugins.ROOT, name)
                if os.path.exists(source):
                    os.makedirs(os.path.dirname(os.path.join(top, name)), exist_ok=True)
                    shutil.copy(source, os.path.join(top, name))
            for bad in ("Gopher", "1st", "http", "websocket"):
                done = subprocess.run(["tools/new-proto", bad], cwd=top, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 1, bad)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            plugins.run("tools/new-proto", "--port", "70", "gopher", cwd=top)
            plugins.run("ninja", "-C", "build", "tests/unit/test_gopher", "tests/laws/test_laws", cwd=top)
            plugins.run("build/tests/unit/test_gopher", cwd=top)
            said = plugins.run("build/tests/laws/test_laws", cwd=top,
                               env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"})
            plugins.run("cc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-Isrc", "-Iinclude", "-I.",
                        "tests/fuzz/fuzz_engine.c", cwd=top)
            self.assertIn("gopher under loss", said)
            plugins.run(sys.executable, "tests/golden/run.py", "gopher-basic", cwd=top)
            with open(os.path.join(top, "tests/golden/gopher-basic.json"), encoding="utf-8") as f:
                spans = [json.loads(line) for line in f]
            self.assertEqual([s["status"]["code"] for s in spans], ["UNSET", "UNSET", "ERROR", "ERROR"])
            done = subprocess.run(["tools/new-proto", "gopher"], cwd=top, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("already", done.stderr)


def main():
    return runner.module(__name__, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
