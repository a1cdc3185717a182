# SPDX-License-Identifier: Apache-2.0
"""The house rules that a program can hold: who may include whom, licences, white space, openers, no strange paths.

Each rule is a function (path, text) -> the complaints about that file, as (line number, what is wrong).
"""

import os
import re

# Data flows one way, and so do includes. Besides these, a part may always include itself.
LIMITS = "engine/limits.h"
# What a protocol is, for plugins as well; it includes nothing of ours.
CONTRACT = "clovisor/proto.h"
MAY_INCLUDE = {
    "src/base": [],
    "src/model": ["base"],
    "src/proto": ["base", "model", LIMITS],
    "src/plugin": ["base", "model", "proto"],
    "src/flow": ["base", "model", LIMITS],
    "src/trace": ["base", "model", "proto/proto.h", LIMITS],
    "src/engine": ["base", "model", "flow", "proto", "trace"],
    "src/source": ["base", "model", "wire", "capture.skel.h"],
    "src/export": ["base", "model"],
    "src/kube": ["base", "model", "source/links.h"],
    "src/agent": ["base", "model", "wire", "proto", "trace", "engine", "source", "export", "kube"],
    "src/laws": ["base", "model", "proto", "plugin", "engine"],
    "src/cli": ["base", "model", "proto", "plugin", "trace", "engine", "source", "export", "laws", "kube", "agent"],
    "include": [],
    "bpf": ["wire"],
    "wire": [],
}
APACHE, DUAL = "Apache-2.0", "GPL-2.0-only OR BSD-2-Clause"
LICENSED = re.compile(r"\.([ch]|py|sh|build|bash|zsh|[1-8])$|(^|/)(Makefile|meson_options\.txt|_clovisor)$")
TEXT = re.compile(r"\.([ch]|py|sh|md|build|txt|toml|yml|yaml|tsv|dict|[1-8])$|(^|/)[^.]+$")
COLUMNS = 120


def part_of(path):
    """The part of the house that a file belongs to: src/flow, bpf, ..."""
    pieces = path.split("/")
    return "/".join(pieces[:2]) if pieces[0] == "src" else pieces[0]


def includes(path, text):
    part = part_of(path)
    if part not in MAY_INCLUDE or not path.endswith((".c", ".h")):
        return
    own = part.removeprefix("src/")
    allowed = MAY_INCLUDE[part] + [own]
    for number, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not m:
            continue
        name = m[1]
        if name == CONTRACT or (part == "bpf" and "/" not in name) or name in allowed:
            continue
        if name.split("/")[0] in allowed and "/" in name:
            continue
        yield number, f"{part} may not include {name} (only: {', '.join(allowed)})"


def licence(path, text):
    if not LICENSED.search(path) and not text.startswith("#!"):
        return
    m = re.search(r"SPDX-License-Identifier: (.*?)(?: \*/| -->)?$", "\n".join(text.splitlines()[:3]), re.M)
    if not m:
        yield 1, "no SPDX-License-Identifier in the first lines"
        return
    kernel_side = part_of(path) in ("bpf", "wire") or path.endswith(".bpf.c")
    wanted = DUAL if kernel_side else APACHE
    if m[1].strip() != wanted:
        yield 1, f"licensed as {m[1].strip()}, not {wanted}"


def white_space(path, text):
    if not TEXT.search(path) or path.startswith("LICENSE"):
        return
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end"
    for number, line in enumerate(text.split("\n"), 1):
        if line.endswith("\r"):
            yield number, "CRLF"
        elif line != line.rstrip() and not path.endswith((".tsv", ".md")):
            yield number, "white space at the end of the line"
        if path.endswith((".c", ".h")) and re.match(r" +\t| {8}", line):
            yield number, "spaces where a tab belongs"
        if path.endswith(".py") and "\t" in line:
            yield number, "a tab in Python"
        if path.endswith((".c", ".h", ".py")) and len(line.expandtabs(8)) > COLUMNS:
            yield number, f"longer than {COLUMNS} columns"


def opener(path, text):
    """Every .c says first what it owns, what it never does, and on which thread."""
    if path.endswith(".c") and path.startswith(("src/", "bpf/")):
        if not re.match(r"(/\* SPDX[^\n]*\*/|// SPDX[^\n]*)\n/\*\n? ?\*? ?\S", text):
            yield 2, "does not open with a comment on what it owns"


def strange_paths(path, text):
    """Nothing of the machine that a file was written on."""
    for number, line in enumerate(text.split("\n"), 1):
        m = re.search(r"(?<![\w.])/(work|home|root|Users)/[\w.]", line)
        if m:
            yield number, f"a path of one machine: {m[0]}..."


def python(path, text):
    if path.endswith(".py") or text.startswith("#!/usr/bin/python3"):
        try:
            compile(text, path, "exec")
        except SyntaxError as e:
            yield e.lineno or 1, f"syntax error: {e.msg}"


RULES = [includes, licence, white_space, opener, strange_paths, python]


def check(root, paths):
    """Complaints about all files, as lines of text."""
    for path in paths:
        try:
            with open(os.path.join(root, path), encoding="utf-8", newline="") as f:
                text = f.read()
        except (UnicodeDecodeError, IsADirectoryError):
            continue  # data
        for rule in RULES:
            for number, what in rule(path, text):
                yield rule.__name__, f"{path}:{number}: {what}"
