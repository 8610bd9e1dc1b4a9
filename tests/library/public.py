# SPDX-License-Identifier: MIT
"""What include/cx makes public, as the compiler sees it: functions from gcc -aux-info, macros from
-dM, types and variables from the preprocessed headers."""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
INCLUDE = os.path.join(ROOT, "include")


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **more)


class Checks:
    def __init__(self, title):
        self.title, self.passed, self.failed = title, 0, 0

    def __call__(self, name, wrong):
        """wrong: what is wrong, empty when nothing is."""
        if wrong:
            self.failed += 1
            print(f"FAIL {name}: {wrong}")
        else:
            self.passed += 1

    def end(self):
        print(f"{self.title}: {self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def compiler(include, *flags):
    headers = sorted(h for h in os.listdir(os.path.join(include, "cx")) if h.endswith(".h"))
    source = "".join(f"#include <cx/{h}>\n" for h in headers)
    done = run("gcc", "-std=c11", "-I" + include, *flags, "-x", "c", "-", input=source)
    if done.returncode:
        sys.exit(f"the headers do not compile: {done.stderr}")
    return done.stdout


def public_functions(include, kind="(?:extern|static)"):
    """kind: extern (in the library) or static (inline in the header)."""
    text = compiler(include, "-fsyntax-only", "-aux-info", "/dev/stdout")
    return set(re.findall(rf"^/\* \S*/cx/\w+\.h:.*?\*/ {kind} [^;(]*?\b(\w+) \(", text, re.M))


def public_variables(include):
    return set(re.findall(r"extern [^;(]*?\b(cx_\w+);", compiler(include, "-E", "-P")))


def public_names(include):
    macros = set(re.findall(r"^#define ((?:cx|CX)_\w+)", compiler(include, "-E", "-dM"), re.M))
    macros -= {m for m in macros if re.fullmatch(r"CX_[A-Z]+_H", m)}
    text = compiler(include, "-E", "-P")
    types = set(re.findall(r"\b(?:struct|enum) (cx_\w+)", text))
    types |= set(re.findall(r"typedef [^;{]*?\b(cx_\w+)\s?\(", text))
    return public_functions(include) | macros | types | public_variables(include)
