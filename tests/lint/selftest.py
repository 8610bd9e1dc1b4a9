#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does lint.py see what it should?  A small clean tree must pass; each planted breach must
fail, by the rule that is meant for it and by no other."""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SPDX = "/* SPDX-License-Identifier: MIT */\n"
TD = "TO" + "DO"

CLEAN = {
    ".clang-format": open(os.path.join(HERE, "../../.clang-format")).read(),
    "include/cx/actor.h": SPDX + "/* Actors. */\n#include <stdint.h>\n",
    "include/construct/params.def": SPDX
    + 'PARAM(INT, port, "PORT", 0, 65535, "8080", "", 0,\n      "help (with parentheses)")\n'
    + 'PARAM(STR, topic, "TOPIC", 1, 9, "x", "", P_LATER, "help")\n',
    "src/runtime/mailbox.c": SPDX
    + "#include <ck_stack.h>\n#include <cx/actor.h>\n#include <stdatomic.h>\n",
    "src/runtime/pool.h": SPDX + "/* Pools. */\nint pool_size(void);\n",
    "src/wire/frame.h": SPDX + "/* Frames. */\n#include <stdint.h>\n",
    "src/wire/frame.c": SPDX + '#include "wire/frame.h"\n\n#include <msgpack.h>\n',
    "src/io/sqlite.h": SPDX + "/* The store. */\n#include <cx/actor.h>\n",
    "src/io/sqlite.c": SPDX + '#include "io/sqlite.h"\n\n#include <sqlite3.h>\n',
    "src/actors/user.c": SPDX
    + '#include "io/sqlite.h"\n#include "wire/frame.h"\n\nstatic int level;\n\n'
    + "/* sprintf( in a comment */\nint user_level(void)\n{\n\treturn level;\n}\n",
    "src/roles/config.c": SPDX + '#include <stdlib.h>\n\nchar *x(void)\n{\n\treturn getenv("A");\n}\n',
    "src/roles/main.c": SPDX
    + '#include "actors/user.h"\n\nint port(const struct config *c)\n{\n\treturn c->port;\n}\n',
    "src/actors/user.h": SPDX + "/* A user. */\nint user_level(void);\n",
    "tests/run.sh": "#!/bin/bash\n# SPDX-License-Identifier: MIT\necho ok\n",
    "tests/tool.py": "# SPDX-License-Identifier: MIT\nprint('ok')\n",
    "README.md": "# Nothing at all\n\nSee `https://example.org/home/page`.\n",
}

# rule, file, change: text to append, or a function of the old text.
PLANTED = [
    ("houses", "include/cx/actor.h", '#include "roles/config.h"\n'),
    ("houses", "src/runtime/mailbox.c", "#include <construct/params.def>\n"),
    ("houses", "src/runtime/mailbox.c", '#include "wire/frame.h"\n'),
    ("houses", "src/wire/frame.c", "#include <cx/actor.h>\n"),
    ("houses", "src/wire/frame.c", '#include "io/sqlite.h"\n'),
    ("houses", "src/io/sqlite.c", '#include "actors/user.h"\n'),
    ("houses", "src/actors/user.c", '#include "roles/config.h"\n'),
    ("houses", "src/actors/user.c", '#include "../runtime/pool.h"\n'),
    ("houses", "src/actors/user.c", '#include "io/missing.h"\n'),
    ("libraries", "src/wire/frame.c", "#include <stdatomic.h>\n"),
    ("libraries", "src/io/sqlite.c", "#include <ck_ring.h>\n"),
    ("libraries", "src/io/sqlite.c", "#include <libwebsockets.h>\n"),
    ("libraries", "src/io/sqlite.c", "#include <openssl/evp.h>\n"),
    ("libraries", "src/wire/frame.c", "#  include <sqlite3.h>\n"),
    ("leaks", "src/wire/frame.h", "#include <msgpack.h>\n"),
    ("leaks", "src/io/sqlite.h", "#include <sqlite3.h>\n"),
    ("banned", "src/actors/user.c", 'void f(char *b)\n{\n\tsprintf(b, "x");\n}\n'),
    ("banned", "tests/test_x.c", SPDX + 'void f(char *b)\n{\n\tstrcpy(b, "x");\n}\n'),
    ("banned", "src/actors/user.c", "void f(void)\n{\n\talloca(3);\n}\n"),
    ("banned", "src/actors/user.c", 'void f(void)\n{\n\tgetenv("A");\n}\n'),
    ("spdx", "src/wire/frame.c", lambda t: t.replace(SPDX, "")),
    ("spdx", "tests/run.sh", lambda t: t.replace("# SPDX-License-Identifier: MIT\n", "")),
    ("contract", "src/wire/frame.h", lambda t: t.replace("/* Frames. */\n", "")),
    ("work_words", "README.md", TD + ": write this\n"),
    ("work_words", "src/actors/user.c", "/* FIX" + "ME */\n"),
    ("machine_paths", "README.md", "see /ro" + "ot/x\n"),
    ("machine_paths", "tests/run.sh", "cd /ho" + "me/me/relay\n"),
    ("length", "src/actors/user.c", "\n/* x */" * 601 + "\n"),
    ("length", "tests/lint/long_files.txt", "src/gone.c: it was long\n"),
    ("forward", "src/actors/user.c", "static int later(int a,\n                 int b);\n"),
    ("whitespace", "tests/run.sh", "echo \n"),
    ("whitespace", "tests/run.sh", "echo"),
    ("settings", "include/construct/params.def", 'PARAM(INT, gone, "GONE", 0, 1, "0", "", 0, "x")\n'),
    ("settings", "include/construct/params.def",
     'PARAM(INT, level, "LEVEL", 0, 1, "0", "", P_LATER, "x")\n'),
    ("scripts", "tests/run.sh", "if true; then\n"),
    ("scripts", "tests/tool.py", "def f(:\n"),
    ("format", "src/actors/user.c", "int  a;\n"),
]

# What must not be mistaken for a breach.
ALLOWED = [
    ("README.md", TD + "(#12): is allowed\n"),
    ("src/actors/user.c", '#include <stdio.h>\nstatic const char *const text = "getenv(sprintf(";\n'),
    ("src/actors/user.c", "int work(void);\nstatic int a = 3;\n"),
    ("src/actors/user.c", "static void f(int a) __attribute__((noreturn));\n"),
    ("src/io/websocket.c", SPDX + "#include <libwebsockets.h>\n#include <uv.h>\n"),
    ("tests/test_y.c", SPDX + '#include <stdlib.h>\nvoid f(void)\n{\n\tgetenv("CX_SEED");\n}\n'),
]


def write(root, name, text):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def lint(extra, change):
    """The rules that failed on the clean tree with one file changed."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in CLEAN.items():
            write(root, name, text)
        # The planted user of a field for the settings rule.
        write(root, "src/roles/uses.c", SPDX + "int f(struct s *s)\n{\n\treturn s->level;\n}\n")
        if extra:
            old = CLEAN.get(extra, "")
            write(root, extra, change(old) if callable(change) else old + change)
        done = subprocess.run([sys.executable, os.path.join(HERE, "lint.py"), root],
                              capture_output=True, text=True)
        rules = set(re.findall(r"^[^:\n]+:\d+: (\w+): ", done.stdout, re.M))
        if (done.returncode == 0) != (not rules) or "lint:" not in done.stdout:
            rules.add(f"exit code {done.returncode} does not fit: {done.stdout}{done.stderr}")
        return rules


def main():
    passed = failed = 0
    cases = [(set(), None, None)]
    cases += [(set(), name, text) for name, text in ALLOWED]
    cases += [({rule}, name, change) for rule, name, change in PLANTED]
    for want, name, change in cases:
        got = lint(name, change)
        # A breach may look bad to the formatter too, that is not what is asked here.
        if got - ({"format"} - want) == want:
            passed += 1
            continue
        failed += 1
        print(f"FAIL {name} {change!r:.60}: want {want or 'nothing'}, got {got or 'nothing'}")
    rules = {r[5:] for r in re.findall(r"rule_\w+", open(os.path.join(HERE, "lint.py")).read())}
    untested = rules - {rule for rule, _, _ in PLANTED}
    if untested:
        failed += 1
        print(f"FAIL rules without a planted breach: {untested}")
    print(f"lint selftest: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
