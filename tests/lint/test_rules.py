# SPDX-License-Identifier: Apache-2.0
"""Each rule sees what it is there for, and lets pass what is right."""

import unittest

import rules


def said(rule, path, text):
    return [what for _, what in rule(path, text)]


class Rules(unittest.TestCase):
    def test_includes(self):
        good = [("src/flow/a.c", "base/mem.h"), ("src/flow/a.c", "flow/b.h"), ("src/flow/a.c", "engine/limits.h"),
                ("src/trace/a.c", "proto/proto.h"), ("bpf/a.h", "maps.h"), ("bpf/a.h", "wire/record.h"),
                ("tests/unit/a.c", "flow/b.h")]
        bad = [("src/base/a.c", "model/b.h"), ("src/flow/a.c", "engine/engine.h"), ("src/trace/a.c", "proto/http1.h"),
               ("src/export/a.c", "source/b.h"), ("src/source/a.c", "flow/b.h"), ("wire/a.h", "base/slice.h"),
               ("src/model/a.h", "flow/base/x.h")]
        for path, name in good:
            self.assertEqual(said(rules.includes, path, f'#include "{name}"\n'), [], (path, name))
        for path, name in bad:
            self.assertEqual(len(said(rules.includes, path, f'#include "{name}"\n')), 1, (path, name))

    def test_licence(self):
        self.assertEqual(said(rules.licence, "src/a.c", "/* SPDX-License-Identifier: Apache-2.0 */\n"), [])
        self.assertEqual(said(rules.licence, "bpf/a.h", f"/* SPDX-License-Identifier: {rules.DUAL} */\n"), [])
        self.assertEqual(said(rules.licence, "a.txt", "no code\n"), [])
        self.assertEqual(len(said(rules.licence, "bpf/a.h", "/* SPDX-License-Identifier: Apache-2.0 */\n")), 1)
        self.assertEqual(len(said(rules.licence, "src/a.c", "int x;\n")), 1)
        self.assertEqual(len(said(rules.licence, "tools/x", "#!/bin/sh\n")), 1)

    def test_white_space(self):
        self.assertEqual(said(rules.white_space, "a.c", "\tint x;\n\t     /* aligned */\n"), [])
        for path, text in (("a.c", "int x; \n"), ("a.c", "        int x;\n"), ("a.c", "int x;"), ("a.py", "\tx\n"),
                           ("a.c", "int x;\r\n"), ("a.c", "\t" * 15 + "x" * 2 + "\n")):
            self.assertEqual(len(said(rules.white_space, path, text)), 1, text)

    def test_opener(self):
        spdx = "/* SPDX-License-Identifier: Apache-2.0 */\n"
        self.assertEqual(said(rules.opener, "src/a/b.c", spdx + "/*\n * Owns it.\n */\n"), [])
        self.assertEqual(len(said(rules.opener, "src/a/b.c", spdx + "#include <stdio.h>\n")), 1)

    def test_strange_paths(self):
        self.assertEqual(said(rules.strange_paths, "a.c", "/* /proc/self/ns, a/root/b, /root */\n"), [])
        self.assertEqual(len(said(rules.strange_paths, "a.c", '"/ho' + 'me/me/x"\n')), 1)

    def test_python(self):
        self.assertEqual(len(said(rules.python, "a.py", "def f(:\n")), 1)


if __name__ == "__main__":
    unittest.main()
