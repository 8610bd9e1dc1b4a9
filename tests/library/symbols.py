#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libcx.so exports what include/cx declares, all of it and nothing else; libcx.a takes no name but
cx_ and cx__; the shared library needs the C library alone (pthread was once a file of its own).
usage: symbols.py LIBCX_SO LIBCX_A
"""
import re
import sys

from public import INCLUDE, Checks, public_functions, public_variables, run


def exported(library):
    lines = run("nm", "-D", "--defined-only", library).stdout.split("\n")
    names = [line.split()[-1].split("@")[0] for line in lines if line and line.split()[1] != "A"]
    return set(names)


def main():
    shared, static = sys.argv[1:3]
    check = Checks("symbols")
    declared = public_functions(INCLUDE, "extern") | public_variables(INCLUDE)
    there = exported(shared)
    check("more than a few functions are declared", [] if len(declared) > 50 else declared)
    check("each declared name is exported", sorted(declared - there))
    check("each exported name is declared", sorted(there - declared))
    dynamic = run("readelf", "-dW", shared).stdout
    check("it needs the C library alone",
          [n for n in re.findall(r"NEEDED.*\[(.*?)\]", dynamic) if not re.match(r"lib(c|pthread)\.|ld-", n)])
    check("the soname ends with the first part of the version",
          [] if re.search(r"SONAME.*\[libcx\.so\.\d+\]", dynamic) else dynamic)
    check("all symbols are bound at the start", [] if "NOW" in dynamic else dynamic)
    check("no code is changed at load", "TEXTREL" in dynamic)
    check("tables are read-only after it",
          [] if "GNU_RELRO" in run("readelf", "-lW", shared).stdout else "no GNU_RELRO")
    globals_ = re.findall(r"^[0-9a-f]+ [A-Z] (\w+)$", run("nm", "-g", static).stdout, re.M)
    check("the archive has globals", len(globals_) < 50)
    check("the archive's globals are cx_ or cx__", [n for n in globals_ if not n.startswith("cx_")])
    return check.end()


if __name__ == "__main__":
    sys.exit(main())
