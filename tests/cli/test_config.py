#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The configuration file as its users meet it: check, print and schema, what counts for more, reloads, documentation.

Needs no root.

usage: [CLOVISOR=PATH] tests/cli/test_config.py [--update] [NAME...]
--update writes the table of docs/configuration.md anew.
"""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from test_cli import ROOT, capture, clovisor, paths, runner
import test_cli

try:
    import jsonschema
    import yaml
except ImportError as missing:
    jsonschema = yaml = None
    print(f"skip: {missing} (Debian: python3-jsonschema, python3-yaml)")

EXAMPLE = os.path.join(ROOT, "docs", "clovisor.yaml")
DOCS = os.path.join(ROOT, "docs", "configuration.md")
BEGIN, END = "<!-- settings -->\n", "<!-- end of settings -->\n"


def clean(**env):
    """An environment without a word on settings."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}, **env}


def config(*args, **env):
    return subprocess.run([test_cli.CLOVISOR, "config", *args], capture_output=True, text=True, check=False, timeout=60,
                          env=clean(**env))


def schema():
    return json.loads(config("schema").stdout)


def settings(node=None, path=""):
    """key -> its part of the schema."""
    for name, part in (node or schema())["properties"].items():
        key = f"{path}.{name}" if path else name
        if "properties" in part:
            yield from settings(part, key)
        else:
            yield key, part


def flat(tree, keys, path=""):
    """key -> value, of a file."""
    for name, value in tree.items():
        key = f"{path}.{name}" if path else name
        if key in keys:
            yield key, value
        else:
            yield from flat(value, keys, key)


def table():
    def row(key, part):
        def code(words):
            return ", ".join(f"`{w}`" for w in words)

        default = part.get("default", "")
        if isinstance(default, (list, bool)):
            default = json.dumps(default)
        help_text = part["description"].replace("|", "\\|").replace("{", "&#123;").replace("*", "\\*")
        return (f"| `{key}` | {code([part['x-option']] if 'x-option' in part else [])} | {code(part.get('x-env', []))} "
                f"| {default} | {'yes' if part['x-reload'] else ''} | {help_text} |\n")

    head = "| key | option | environment | default | reload | meaning |\n| --- | --- | --- | --- | --- | --- |\n"
    return head + "".join(row(k, p) for k, p in settings())


class Files(unittest.TestCase):
    def setUp(self):
        self.dir = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.dir, "c.yaml")

    def put(self, text):
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(text)
        return self.path


class Check(Files):
    def test_valid(self):
        for text in ("", "# nothing\n", "---\n", "routes: []\n", "export:\nmetrics:\n  listen: ':1'\n"):
            done = config("check", self.put(text))
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f"{self.path} is valid\n", ""), text)

    def test_errors(self):
        done = config("check", self.put("capture:\n  memory: 1K\n  max-flows: 5\nservce: x\n"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr.replace(self.path, "F").splitlines(), [
            "F:2:11: capture.memory 1K: it must be a size from 1M on, as in 64M",
            "F:3:3: there is no setting capture.max-flows; did you mean max_flows?",
            "F:4:1: there is no setting servce; did you mean service?"])

    def test_settings_that_do_not_go_together(self):
        done = config("check", self.put("export:\n  otlp:\n    cert_file: a\n"))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"c\.yaml:3:16: export\.otlp\.cert_file: .*key_file")

    def test_usage(self):
        for args in ((), ("check",), ("chek", "x"), ("check", "a", "b"), ("print", "x"), ("schema", "x")):
            done = config(*args)
            self.assertEqual((done.returncode, done.stdout), (2, ""), args)
            self.assertRegex(done.stderr, r"\Aclovisor config: [^\n]*\n\Z")
        done = config("check", os.path.join(self.dir, "missing"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("missing", done.stderr)
        self.assertEqual(config("check", self.dir).returncode, 1)

    def test_commands_refuse_a_bad_file(self):
        bad = self.put("output:\n  limit: 0\n")
        done = clovisor("read", "-c", bad, "-", stdin=capture(b"/a"))
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertIn(f"{bad}:2:10: output.limit 0: ", done.err)
        self.assertEqual(clovisor("read", "-c", self.path + ".no", "-", stdin=capture(b"/a")).returncode, 1)


@unittest.skipIf(jsonschema is None, "no python3-jsonschema or python3-yaml")
class Schema(Files):
    def validator(self):
        s = schema()
        jsonschema.Draft202012Validator.check_schema(s)
        return jsonschema.Draft202012Validator(s)

    def test_example(self):
        """It is valid, by clovisor and by the schema, and has every setting."""
        with open(EXAMPLE, encoding="utf-8") as f:
            example = yaml.safe_load(f)
        self.validator().validate(example)
        done = config("check", EXAMPLE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        keys = dict(settings())
        self.assertEqual(set(dict(flat(example, keys))), set(keys))

    def test_agrees_with_check(self):
        """What the schema refuses, check refuses too, and the other way round but for bounds of sizes and times."""
        validator = self.validator()
        good = ["capture: {memory: 64M, ports: [80, '81:http']}", "output: {limit: 5, hexdump: true}",
                "service: {by_place: {web: x, '1': y}}", "metrics: {bounds: [0.5, 1, 2]}",
                "export: {otlp: {timeout: 3}}",
                "export:", "sampling: {sampler: traceidratio=0.5, keep: [errors, slower=1.5s]}"]
        bad = ["capture: {memory: -1}", "capture: {memory: lots}", "output: {limit: '5'}", "output: {limit: 0}",
               "output: {hexdump: 1}", "output: {format: xml}", "output: {filter: method=GET}", "service: {name: 5}",
               "service: {name: null}", "service: {name: ''}", "service: {by_place: [a]}", "metrics: {bounds: []}",
               "metrics: {bounds: [a]}", "metrics: {bounds: [-1]}", "nothing: 1", "capture: {nothing: 1}", "capture: 5",
               "[a]", "export: {otlp: {endpoint: 'ftp://x'}}", "sampling: {keep: [slow]}",
               "routes: [" + ", ".join(["/a"] * 65) + "]"]
        for text in good + bad:
            done = config("check", self.put(text))
            self.assertEqual(done.returncode == 0, text in good, (text, done.stderr))
            self.assertEqual(validator.is_valid(yaml.safe_load(text)), text in good, text)

    def test_defaults_are_valid(self):
        done = config("print")
        self.validator().validate(yaml.safe_load(done.stdout))
        self.assertEqual(config("check", self.put(done.stdout)).returncode, 0)


@unittest.skipIf(yaml is None, "no python3-yaml")
class Print(Files):
    def test_round_trip(self):
        with open(EXAMPLE, encoding="utf-8") as f:
            example = yaml.safe_load(f)
        headers = example["export"]["otlp"]["headers"]
        example["export"]["otlp"]["headers"] = {name: "REDACTED" for name in headers}
        for args in ((), ("--given",)):
            printed = json.loads(config("print", "--json", *args, "-c", EXAMPLE).stdout)
            self.assertEqual(printed["config"], example)
            self.assertEqual(set(printed["origin"].values()), {"file"})
        text = config("print", "-c", EXAMPLE).stdout
        self.assertEqual(yaml.safe_load(text), example)
        self.assertEqual(config("check", self.put(text)).returncode, 0)

    def test_any_text(self):
        name = "a\"b\\c: #\t\u20ac\U0001f600'"
        printed = json.loads(config("print", "--json", "--given", "--service", name).stdout)
        self.assertEqual(printed["config"], {"service": {"name": name}})
        text = config("print", "--given", "--service", name).stdout
        self.assertEqual(yaml.safe_load(text), printed["config"])
        again = json.loads(config("print", "--json", "--given", "-c", self.put(text)).stdout)
        self.assertEqual(again["config"], printed["config"])

    def test_secrets(self):
        done = config("print", "--otlp-header", "authorization=sesame", "--otlp", "http://user:sesame@host/x",
                      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://sesame@other")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("sesame", done.stdout)
        self.assertIn("authorization", done.stdout)
        self.assertNotIn("sesame", config("print", "--otlp-header", "bad name=sesame").stderr)
        done = config("print", OTEL_EXPORTER_OTLP_HEADERS="api-key=sesame,other=sesame")
        self.assertNotIn("sesame", done.stdout)
        self.assertIn('{"api-key": "REDACTED", "other": "REDACTED"}', done.stdout)
        done = config("check", self.put("export: {otlp: {headers: {'bad name': sesame}}}"))
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("sesame", done.stderr)

    def value(self, key, *args, **env):
        printed = json.loads(config("print", "--json", *args, **env).stdout)
        value = printed["config"]
        for part in key.split("."):
            value = value[part]
        return value, printed["origin"][key]

    def test_precedence(self):
        """Default, environment, file, command line, each stronger than the one before."""
        path = self.put("sampling: {sampler: always_off}\ncontext: {propagators: [b3]}\ncapture: {memory: 2M}\n")
        env = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25",
               "OTEL_PROPAGATORS": "jaeger, xray"}
        key, list_key = "sampling.sampler", "context.propagators"
        self.assertEqual(self.value(key), ("parentbased_always_on", "default"))
        self.assertEqual(self.value(key, **env), ("traceidratio=0.25", "environment"))
        self.assertEqual(self.value(key, "-c", path, **env), ("always_off", "file"))
        self.assertEqual(self.value(key, "--sampler", "always_on", "-c", path, **env), ("always_on", "command line"))
        self.assertEqual(self.value(list_key, **env), (["jaeger", "xray"], "environment"))
        self.assertEqual(self.value(list_key, "-c", path, **env), (["b3"], "file"))
        self.assertEqual(self.value(list_key, "--propagators", "xray,b3", "-c", path), (["xray", "b3"], "command line"))
        self.assertEqual(self.value("capture.memory", "--memory", "3M", "-c", path), ("3M", "command line"))
        self.assertEqual(self.value("export.otlp.timeout", OTEL_EXPORTER_OTLP_TIMEOUT="1500"),
                         ("1500ms", "environment"))
        self.assertEqual(self.value("export.otlp.timeout", OTEL_EXPORTER_OTLP_TIMEOUT=""), ("10s", "default"))
        self.assertEqual(self.value("export.otlp.protocol", OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
                                    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/json"), ("http/json", "environment"))
        self.assertIn(f"# {path}:1", config("print", "-c", path).stdout)

    def test_environment_that_is_not_valid(self):
        done = config("print", "--json", OTEL_TRACES_SAMPLER="sometimes", OTEL_PROPAGATORS="b3,nosuch")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(json.loads(done.stdout)["origin"]["sampling.sampler"], "default")
        self.assertEqual(json.loads(done.stdout)["origin"]["context.propagators"], "default")
        self.assertRegex(done.stderr, r"(?m)^clovisor: warning: OTEL_TRACES_SAMPLER is left out: ")
        self.assertRegex(done.stderr, r"(?m)^clovisor: warning: OTEL_PROPAGATORS is left out: ")

    def test_lists_replace(self):
        path = self.put("routes: [/a, /b]\nservice: {name: file, by_place: {web: web-file}}\n")
        self.assertEqual(self.value("routes", "-c", path, "--route", "/c", "--route", "/d")[0], ["/c", "/d"])
        self.assertEqual(self.value("service.name", "-c", path, "--service", "line"), ("line", "command line"))
        self.assertEqual(self.value("service.by_place", "-c", path, "--service", "line")[0], {"web": "web-file"})
        self.assertEqual(self.value("service.by_place", *[f"--service={s}" for s in ("web=a", "db=b", "web=c")])[0],
                         {"web": "c", "db": "b"})

    def test_too_many(self):
        done = config("print", *["--route=/a"] * 65)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--route /a: there may be 64 of them at most", done.stderr)
        self.assertEqual(config("print", *[f"--route=/{i}" for i in range(64)]).returncode, 0)

    def test_options_of_trace(self):
        """Every option of trace is one of print."""
        for option in test_cli.help_options("trace") - {"--help", "-h", "--json"}:
            self.assertNotIn("unrecognized", config("print", option, "x").stderr)
            self.assertNotIn("invalid option", config("print", option, "x").stderr)


class Values(unittest.TestCase):
    def test_passwords_are_not_shown(self):
        done = clovisor("read", "--otlp=ftp://bob:secret@h/", "-")
        self.assertEqual(done.returncode, 2)
        self.assertIn("ftp://REDACTED@h/", done.err)
        self.assertNotIn("secret", done.err)

    def test_bad(self):
        bad = {"--otlp": ["collector:4318", "http://", "ftp://x", "http:///x", "http://a b", ""],
               "--otlp-protocol": ["http", "GRPC"], "--otlp-compression": ["zstd"],
               "--otlp-header": ["x", "=y", "a b=c"],
               "--export-queue": ["1", "2G"], "--spool-max": ["1K"], "--flush-timeout": ["soon", "2h"],
               "--metrics": ["9464", ":0", ":65536", "ho_st:1", "::1:80", "[1.2.3.4]:80", ""],
               "--metrics-max-series": ["0", "x"],
               "--metrics-bounds": ["", "0", "1,1", "2,1", "a", "1,,2", "-1", "0x1"],
               "--propagators": ["nosuch", "b3,nosuch", ""],
               "--sampler": ["", "always", "traceidratio=2", "traceidratio=-1", "traceidratio=x", "always_on=1",
                             "traceidratio="],
               "--sample-rate": ["0"], "--sample-keep": ["slow", "slower=", "slower=5", "slower=0ms"],
               "--route": ["a", "", "/{", "/}", "/{}", "/{a", "/{a/b}", "/a?b", "/a/{b}.{c}", "/{a...}/b", "/{a b}"],
               "--capture-header": ["", "a b", "request:", "both:x"], "--redact": [""],
               "--service": ["web=", "=x", "web=" + "x" * 256]}
        for option, values in bad.items():
            for value in values:
                done = clovisor("read", f"{option}={value}", "-")
                self.assertEqual((done.returncode, done.stdout), (2, b""), (option, value))
                self.assertRegex(done.err, rf"\Aclovisor read: {option} [^\n]*; see clovisor read --help\n\Z")

    def test_good(self):
        good = {"--otlp": ["http://c", "HTTPS://c:4318/x", "grpc://[::1]:4317", "grpcs://c"],
                "--otlp-header": ["a=b=c", "a="],
                "--flush-timeout": ["0s", "5", "1.5s"], "--metrics": [":9464", "127.0.0.1:1", "[::1]:65535"],
                "--metrics-bounds": ["0.5", ".5,1,1e1"], "--propagators": ["none", "tracecontext, b3"],
                "--sampler": ["always_on", "traceidratio", "traceidratio=0", "parentbased_traceidratio=1"],
                "--sample-keep": ["errors", "slower=250ms"], "--route": ["/", "/users/{id}", "/a/{b}/*", "/{c...}"],
                "--capture-header": ["X-Id", "request:x", "response:x"], "--service": ["x", "eth0=x", "/run/netns/a=x"]}
        for option, values in good.items():
            for value in values:
                self.assertEqual(config("print", f"{option}={value}").returncode, 0, (option, value))


class Reload(Files):
    """`clovisor read -` on a pipe that goes on: one connection, requests before and after a change."""

    @contextlib.contextmanager
    def reading(self, *args):
        child = subprocess.Popen([test_cli.CLOVISOR, "read", "--json", "-c", self.path, *args, "-"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean(),
                                 bufsize=0)
        try:
            yield child
        finally:
            child.kill()
            child.wait()
            for f in (child.stdin, child.stdout, child.stderr):
                f.close()

    def line(self, stream):
        """The next line, or a failure after ten seconds."""
        end, line = time.monotonic() + 10, b""
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            if left < 0 or not select.select([stream], [], [], left)[0]:
                self.fail(f"no line, only {line}")
            byte = stream.read(1)
            if not byte:
                self.fail(f"no line, but the end, after {line}")
            line += byte
        return line.decode()

    def path_shown(self, child):
        return json.loads(self.line(child.stdout))["attributes"]["url.path"]

    def rest(self, child):
        child.stdin.close()
        out = child.stdout.read()
        self.assertEqual(child.wait(10), 0)
        return [json.loads(line)["attributes"]["url.path"] for line in out.splitlines()]

    def parts(self, *targets):
        """The capture's pieces: what comes before the first request, and each exchange."""
        whole = [capture()] + [capture(*targets[:i + 1]) for i in range(len(targets))]
        return [whole[0]] + [b[len(a):] for a, b in zip(whole, whole[1:])]

    def change(self, child, how):
        """The change, and the line that it makes."""
        how()
        return self.line(child.stderr)

    def run_change(self, how, says):
        head, a1, b1, a2, b2 = self.parts(b"/a/1", b"/b/1", b"/a/2", b"/b/2")
        self.put("output: {filter: ['path=/a/*']}\n")
        with self.reading() as child:
            child.stdin.write(head + a1 + b1)
            self.assertEqual(self.path_shown(child), "/a/1")
            self.assertIn(says, self.change(child, lambda: how(child)))
            child.stdin.write(a2 + b2)
            return self.rest(child)

    def test_hangup(self):
        """In place, where only SIGHUP comes before the file system has been quiet; the connection goes on."""
        def how(child):
            self.put("output: {filter: ['path=/b/*']}\n")
            child.send_signal(signal.SIGHUP)

        self.assertEqual(self.run_change(how, "c.yaml: changed: output.filter"), ["/b/2"])

    def test_hangup_of_what_is_not_watched(self):
        """A link in the middle of the way, in a directory of its own, leads elsewhere: only the signal tells."""
        for name, path in (("1", "/a/*"), ("2", "/b/*")):
            os.makedirs(os.path.join(self.dir, "far", name))
            with open(os.path.join(self.dir, "far", name, "c.yaml"), "w", encoding="utf-8") as f:
                f.write(f"output: {{filter: ['path={path}']}}\n")
        os.symlink("1", os.path.join(self.dir, "far", "now"))
        os.symlink("far/now/c.yaml", self.path)
        head, a1, b1, a2, b2 = self.parts(b"/a/1", b"/b/1", b"/a/2", b"/b/2")
        with self.reading() as child:
            child.stdin.write(head + a1 + b1)
            self.assertEqual(self.path_shown(child), "/a/1")
            os.symlink("2", os.path.join(self.dir, "far", "next"))
            os.rename(os.path.join(self.dir, "far", "next"), os.path.join(self.dir, "far", "now"))
            said = self.change(child, lambda: child.send_signal(signal.SIGHUP))
            self.assertIn("c.yaml: changed: output.filter", said)
            child.stdin.write(a2 + b2)
            self.assertEqual(self.rest(child), ["/b/2"])

    def test_file_change(self):
        self.assertEqual(self.run_change(lambda _: self.put("output: {filter: ['path=/b/*']}\n"),
                                         "c.yaml: changed: output.filter"), ["/b/2"])

    def test_file_replaced(self):
        def how(_):
            with open(self.path + ".new", "w", encoding="utf-8") as f:
                f.write("output: {filter: ['path=/b/*']}\n")
            os.rename(self.path + ".new", self.path)

        self.assertEqual(self.run_change(how, "c.yaml: changed: output.filter"), ["/b/2"])

    def test_config_map(self):
        """As Kubernetes does: c.yaml -> ..data/c.yaml, ..data -> a directory of that version, swapped by a rename."""
        def version(name, text):
            os.mkdir(os.path.join(self.dir, name))
            with open(os.path.join(self.dir, name, "c.yaml"), "w", encoding="utf-8") as f:
                f.write(text)
            os.symlink(name, os.path.join(self.dir, "..data_tmp"))
            os.rename(os.path.join(self.dir, "..data_tmp"), os.path.join(self.dir, "..data"))

        head, a1, b1, a2, b2 = self.parts(b"/a/1", b"/b/1", b"/a/2", b"/b/2")
        version("..1", "output: {filter: ['path=/a/*']}\n")
        os.symlink("..data/c.yaml", self.path)
        with self.reading() as child:
            child.stdin.write(head + a1 + b1)
            self.assertEqual(self.path_shown(child), "/a/1")
            said = self.change(child, lambda: version("..2", "output: {filter: ['path=/b/*']}\n"))
            self.assertIn("c.yaml: changed: output.filter", said)
            said = self.change(child, lambda: version("..3", "output: {filter: ['path=/*/2']}\n"))
            self.assertIn("c.yaml: changed: output.filter", said)
            child.stdin.write(a2 + b2)
            self.assertEqual(self.rest(child), ["/a/2", "/b/2"])

    def test_broken_file_changes_nothing(self):
        def how(child):
            self.put("output:\n  filter: ['verb=x']\n")
            child.send_signal(signal.SIGHUP)

        self.assertEqual(self.run_change(how, "c.yaml:2:12: output.filter verb=x: "), ["/a/2"])

    def test_missing_file_changes_nothing(self):
        def how(_):
            os.unlink(self.path)

        self.assertEqual(self.run_change(how, "c.yaml: cannot read it: No such file"), ["/a/2"])

    def test_command_line_counts_for_more(self):
        head, b1, a1, b2 = self.parts(b"/b/1", b"/a/1", b"/b/2")
        self.put("output: {stats: false}\n")
        with self.reading("--filter", "path=/b/*") as child:
            child.stdin.write(head + b1)
            self.assertEqual(self.path_shown(child), "/b/1")
            self.put("output: {filter: ['path=/a/*']}\n")
            child.send_signal(signal.SIGHUP)
            self.assertIn("nothing has changed", self.line(child.stderr))
            child.stdin.write(a1 + b2)
            self.assertEqual(self.rest(child), ["/b/2"])

    def test_restart(self):
        """One line tells what waits."""
        self.put("capture: {memory: 2M}\n")
        with self.reading() as child:
            child.stdin.write(capture(b"/a"))
            self.assertEqual(self.path_shown(child), "/a")
            self.put("capture: {memory: 3M}\noutput: {stats: false, filter: ['path=/b']}\n")
            self.assertRegex(self.line(child.stderr),
                             r"\Aclovisor: \S+c\.yaml: changed: output\.filter; only after a restart: "
                             r"capture\.memory\n\Z")
            self.assertEqual(self.rest(child), [])

    def test_hangup_without_a_file_ends(self):
        child = subprocess.Popen([test_cli.CLOVISOR, "read", "--json", "-"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        with child, child.stdin, child.stdout:
            child.stdin.write(capture(b"/a"))
            self.line(child.stdout)
            child.send_signal(signal.SIGHUP)
            self.assertEqual(child.wait(10), -signal.SIGHUP)


class Uses(Files):
    def test_file_is_used(self):
        path = self.put("output: {format: json, filter: [status=404]}\nservice: {name: shop}\n")
        done = clovisor("read", "-c", path, "-", stdin=capture((b"/a", 200), (b"/b", 404)))
        self.assertEqual(paths(done), ["/b"])
        self.assertEqual(json.loads(done.stdout)["resource"], {"service.name": "shop"})
        self.assertEqual(paths(clovisor("read", "-c", path, "--filter", "status=200", "-",
                                        stdin=capture((b"/a", 200), (b"/b", 404)))), ["/a"])


class Docs(unittest.TestCase):
    def test_table(self):
        with open(DOCS, encoding="utf-8") as f:
            text = f.read()
        self.assertEqual(text.split(BEGIN)[1].split(END)[0], table(), "tests/cli/test_config.py --update writes it")

    def test_manual_page(self):
        with open(os.path.join(ROOT, "man", "clovisor.yaml.5"), encoding="utf-8") as f:
            lines = f.read().replace("\\-", "-").splitlines()
        named = {lines[i + 1].removeprefix(".B ") for i, line in enumerate(lines) if line == ".TP"}
        self.assertEqual(named, {k for k, _ in settings()})
        text = " ".join(lines)
        for key, part in settings():
            for word in [part["x-option"]] if "x-option" in part else part.get("x-env", []):
                self.assertIn(word, text, key)


def update():
    with open(DOCS, encoding="utf-8") as f:
        text = f.read()
    with open(DOCS, "w", encoding="utf-8") as f:
        f.write(text.split(BEGIN)[0] + BEGIN + table() + END + text.split(END)[1])


def main():
    if "--update" in sys.argv:
        update()
        return 0
    if len(sys.argv) > 1 and sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        return 0
    return runner.module(__name__, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
