# SPDX-License-Identifier: MIT
"""The Autobahn Testsuite's cases, made loadable by Python 3.

The suite is Python 2 source and its payloads are byte strings.  Instead of
rewriting every literal, the converted files declare Latin-1: each byte of the
source becomes the character with the same number, so a Python 2 byte string
lives on as a `str` whose characters are bytes.  client.py encodes and decodes
at the edge.  What else differs between the languages is a handful of textual
replacements, each of which must hit (see RULES), so that a changed suite is
noticed and not half converted.
"""

import importlib
import pathlib
import re
import sys
import types

# Cases that need an extension (12, 13: compression) or are not part of the
# suite's own list (9.9.1).
LEFT_OUT = re.compile(r"case12_x_x|case9_9_1|Case12_X_X|Case13_X_X|Case9_9_1")

# (file, pattern, replacement); file None: every file, and no hit is fine.
RULES = [
    (None, r"(?m)^#\s*coding=.*$", ""),
    (None, r"(?m)^from case import Case$", "from case_base import Case"),
    (None, r"(?m)^import binascii$", "from py2 import binascii"),
    (None, r"(?m)^(\s*)print\b.*$", r"\1pass"),
    (None, r"\(object, Case, \)", "(Case,)"),
    (None, r"\bxrange\b", "range"),
    (None, r"\bunichr\b", "chr"),
    ("case6_x_x.py", r"(?m)^from autobahn.*Utf8Validator$", "from py2 import Utf8Validator"),
    ("case10_1_1.py", r"len\(self\.payload\) / ", "len(self.payload) // "),
    ("case_base.py", r"pickle\.dumps\(obj1\) == pickle\.dumps\(obj2\)", "obj1 == obj2"),
]


class Utf8Validator:
    """What case6_x_x.py asks of autobahn's validator, over byte characters."""

    def reset(self):
        pass

    def validate(self, text):
        raw = text.encode("latin-1")
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as err:
            # An error at the very end is a code point cut short: valid so far.
            cut = err.reason == "unexpected end of data"
            return cut, False, err.start, err.start
        return True, True, len(raw), len(raw)


def _py2_module():
    import binascii as real

    py2 = types.ModuleType("py2")
    py2.Utf8Validator = Utf8Validator
    py2.binascii = types.SimpleNamespace(
        b2a_hex=lambda s: real.b2a_hex(s if isinstance(s, bytes) else s.encode("latin-1")).decode()
    )
    return py2


def _convert(name, text):
    for where, pattern, replacement in RULES:
        if where not in (None, name):
            continue
        text, hits = re.subn(pattern, replacement, text)
        if where == name and hits == 0:
            raise SystemExit(f"conformance: {name}: nothing matches {pattern!r}")
    return "# -*- coding: latin-1 -*-\n" + text


def convert(source, target):
    """Write the Python 3 form of the case folder `source` into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.py")):
        name = {"__init__.py": "all_cases.py", "case.py": "case_base.py"}.get(path.name, path.name)
        if LEFT_OUT.search(path.stem):
            continue
        text = path.read_text(encoding="latin-1")
        if name == "all_cases.py":
            text = "\n".join(l for l in text.split("\n") if not LEFT_OUT.search(l))
        (target / name).write_text(_convert(name, text), encoding="latin-1")


def load(source, target):
    """All case classes, in the suite's order, as a list of (id, class)."""
    source, target = pathlib.Path(source), pathlib.Path(target)
    convert(source, target)
    sys.modules["py2"] = _py2_module()
    sys.path.insert(0, str(target))
    module = importlib.import_module("all_cases")
    return [(".".join(c.__name__[len("Case"):].split("_")), c) for c in module.Cases]
