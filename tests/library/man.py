#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every public name has a man page, and every page a name.  usage: man.py MAN_FOLDER

What is public is asked of the compiler, not of ops/man.py.  Then mandoc's opinion, the references,
and the generator's own refusals, each provoked once.
"""
import os
import re
import shutil
import sys
import tempfile

from public import INCLUDE, ROOT, Checks, public_functions, public_names, run


def pages_of(man):
    return {n[:-2] for n in os.listdir(os.path.join(man, "man3")) if n.endswith(".3")}


def difference(include, man):
    names, pages = public_names(include), pages_of(man)
    return [f"{n} has no page" for n in sorted(names - pages)] + \
        [f"a page for {n}, which does not exist" for n in sorted(pages - names)]


def names_inside(man):
    """A page carries its own name, and a link leads to a page that names it."""
    wrong = []
    for name in sorted(pages_of(man)):
        with open(os.path.join(man, "man3", name + ".3")) as f:
            if name not in re.findall(r"^\.Nm (\w+)", f.read(), re.M):
                wrong.append(f"{name}.3 does not name {name}")
    return wrong


def references(man, files):
    known = {(n, "3") for n in pages_of(man)} | {("cx", "7")}
    wrong = []
    for path in files:
        with open(path) as f:
            wrong += [f"{os.path.basename(path)} refers to {n}({s})"
                      for n, s in re.findall(r"^\.Xr (\w+) (\d)", f.read(), re.M)
                      if (n, s) not in known]
    return wrong


def lint(files):
    # mandoc looks for the referred pages in the system's folders only; references() knows ours.
    done = run("mandoc", "-T", "lint", "-W", "all", *files)
    lines = done.stdout.split("\n") + done.stderr.split("\n")
    return [line for line in lines if line and "referenced manual not found" not in line]


def generate(include, out):
    return run(sys.executable, os.path.join(ROOT, "ops/man.py"), out, include)


def planted(folder, name, old, new, expected):
    """A breach in a copy of the headers is refused, or found by difference()."""
    include, out = os.path.join(folder, name, "include"), os.path.join(folder, name, "man")
    shutil.copytree(INCLUDE, include)
    path = os.path.join(include, "cx/log.h")
    with open(path) as f:
        text = f.read()
    if old not in text:
        return f"{old!r} is not in log.h any more"
    with open(path, "w") as f:
        f.write(text.replace(old, new))
    done = generate(include, out)
    return [] if done.returncode and expected in done.stderr else f"{expected!r} was not said: {done}"


def main():
    man, check = sys.argv[1], Checks("man")
    if not shutil.which("mandoc"):
        sys.exit("man: mandoc is missing (ops/install-deps.sh test): this test cannot be skipped")
    files = [os.path.join(man, "man3", n + ".3") for n in sorted(pages_of(man))]
    files = [f for f in files if not os.path.islink(f)] + [os.path.join(man, "man7/cx.7")]
    check("more than a few public functions were found", len(public_functions(INCLUDE)) < 60)
    check("each public name has a page, each page a name", difference(INCLUDE, man))
    check("each page names itself", names_inside(man))
    check("each reference leads to a page", references(man, files))
    check("mandoc has nothing to say", lint(files))
    declared = "bool cx_log_enabled(enum cx_log_level level);\n"
    with tempfile.TemporaryDirectory() as folder:
        check("a function without a comment is refused", planted(
            folder, "comment", declared, declared + "\nvoid cx_log_new(void);\n", "has no comment"))
        check("a function without Thread: is refused", planted(
            folder, "thread", " * Thread: main, before any other is started.", " * x", "Thread:"))
        check("a value without Returns is refused", planted(
            folder, "returns", " * Returns true when it would.", " * x", "Returns"))
        os.makedirs(os.path.join(folder, "gone/man3"))
        for name in pages_of(man) - {"cx_send"} | {"cx_gone"}:
            open(os.path.join(folder, "gone/man3", name + ".3"), "w").close()
        found = difference(INCLUDE, os.path.join(folder, "gone"))
        check("a missing page and a page too many are found", [] if found == [
            "cx_send has no page", "a page for cx_gone, which does not exist"] else found)
    return check.end()


if __name__ == "__main__":
    sys.exit(main())
