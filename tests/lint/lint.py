#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The house rules that a program can check.  usage: lint.py [TREE]

Prints each breach as path:line: rule: what, and ends with `lint: N passed, N failed`, where N
counts rules.  selftest.py plants a breach of every rule and sees it found.
"""
import fnmatch
import os
import re
import shutil
import subprocess
import sys

MAX_LINES = 600
CODE = (".c", ".h", ".def")
SCRIPTS = (".sh", ".py", ".js", ".mjs", ".cjs")
TEXT = CODE + SCRIPTS + (".md", ".txt", ".json", ".yml", ".yaml", ".toml", ".in", ".supp", "")

# Who may include what of ours (architecture.md, section 2): folder -> prefixes.
HOUSES = {
    "include/cx/": ("include/cx/",),
    "include/construct/": ("include/",),
    "src/runtime/": ("include/cx/", "src/runtime/"),
    "src/wire/": ("src/wire/",),
    "src/io/": ("include/", "src/runtime/", "src/wire/", "src/io/"),
    "src/actors/": ("include/", "src/wire/", "src/io/", "src/actors/"),
    "src/roles/": ("include/", "src/"),
}

# Header of a library -> files that may include it.
LIBRARIES = {
    "stdatomic.h": ("src/runtime/*",),
    "ck_*.h": ("src/runtime/*",),
    "msgpack*": ("src/wire/*",),
    "jansson.h": ("src/wire/*",),
    "crypt.h": ("src/wire/*",),
    "sodium*": ("src/wire/*",),
    # TLS and the hashes of the WebSocket handshake belong to the adapters of sockets.
    "openssl/*": ("src/wire/*", "src/io/openssl*", "src/io/websocket*", "src/io/ws_client*"),
    "libwebsockets.h": ("src/io/websocket*",),
    # libwebsockets runs on a foreign libuv loop, so its adapter names that type.
    "uv.h": ("src/io/loop_uv*", "src/io/websocket*"),
    "sqlite3.h": ("src/io/sqlite*",),
    "librdkafka/*": ("src/io/kafka*",),
    "libpq-fe.h": ("src/io/postgres*",),
    "hiredis/*": ("src/io/redis*",),
    "nghttp2/*": ("src/io/grpc*", "src/io/apns*"),
    "protobuf-c/*": ("src/wire/*",),
}

BANNED = {
    "sprintf": "snprintf knows the size",
    "vsprintf": "vsnprintf knows the size",
    "strcpy": "nothing bounds it",
    "strcat": "nothing bounds it",
    "strtok": "hidden state",
    "gets": "nothing bounds it",
    "alloca": "unbounded stack",
}
GETENV = ("getenv", "secure_getenv")
GETENV_HOME = "src/roles/config.c"
CONFIG_FILES = "src/roles/config"

WORK_WORDS = re.compile(r"\b(" + "TO" + r"DO(?!\(#\d+\))|FIX" + r"ME)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:root|work|home|Users)(?:/|\b)")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
FORWARD = re.compile(r"^static\s[^=;{}()]*\w\s*\([^;{}=]*\)\s*;", re.M)


class Tree:
    def __init__(self, root):
        self.root = root
        self.files = self.list_files()
        self.cache = {}

    def list_files(self):
        git = ["git", "-C", self.root, "ls-files", "-z", "-co", "--exclude-standard"]
        done = subprocess.run(git, capture_output=True)
        if done.returncode == 0:
            names = done.stdout.decode().split("\0")
        else:
            names = []
            for base, dirs, files in os.walk(self.root):
                dirs[:] = [d for d in dirs if d not in (".git", "build", "data", "node_modules")]
                names += [os.path.relpath(os.path.join(base, f), self.root) for f in files]
        return sorted(n for n in names if n and os.path.isfile(os.path.join(self.root, n)))

    def text(self, name):
        if name not in self.cache:
            with open(os.path.join(self.root, name), "rb") as f:
                raw = f.read()
            self.cache[name] = None if b"\0" in raw else raw.decode("utf-8", "replace")
        return self.cache[name]

    def lines(self, name):
        return self.text(name).split("\n")

    def having(self, endings, *folders):
        for name in self.files:
            if name.endswith(endings) and (not folders or name.startswith(folders)):
                if self.text(name) is not None:
                    yield name

    def texts(self):
        """Files written by people: no vectors, no fuzz corpora, no lock files."""
        for name in self.files:
            base = os.path.basename(name)
            if name.startswith(("tests/vectors/", "tests/fuzz/corpus/")) or "lock" in base:
                continue
            if os.path.splitext(base)[1] in TEXT and self.text(name) is not None:
                yield name


def without_comments(text):
    """Comments and texts blanked, lines kept."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def includes(tree, name):
    for number, line in enumerate(tree.lines(name), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(2), match.group(1) == '"'


def resolve(tree, name, target):
    """The file of ours that is meant, or None for a library's header."""
    for candidate in (target, "include/" + target, "src/" + target,
                      os.path.normpath(os.path.join(os.path.dirname(name), target))):
        if candidate in tree.files:
            return candidate
    return None


def house(name):
    return next((h for h in HOUSES if name.startswith(h)), None)


def rule_houses(tree):
    """an include that architecture.md does not allow"""
    for name in tree.having(CODE, *HOUSES):
        for number, target, quoted in includes(tree, name):
            ours = resolve(tree, name, target)
            if ours and not ours.startswith(HOUSES[house(name)]):
                yield name, number, f"{house(name)} must not include {ours}"
            elif not ours and (quoted or target.startswith(("cx/", "construct/"))):
                yield name, number, f"{target} does not exist"


def library_of(target):
    return next((lib for lib in LIBRARIES if fnmatch.fnmatch(target, lib)), None)


def rule_libraries(tree):
    """a library's header outside its adapter"""
    for name in tree.having(CODE, *HOUSES):
        for number, target, quoted in includes(tree, name):
            if resolve(tree, name, target):
                continue
            lib = library_of(target)
            if lib and not any(fnmatch.fnmatch(name, p) for p in LIBRARIES[lib]):
                yield name, number, f"{target} belongs to {', '.join(LIBRARIES[lib])}"


def rule_leaks(tree):
    """a library's header that reaches an actor or a role through headers"""
    for name in tree.having(CODE, "src/actors/", "src/roles/"):
        seen, todo = {name}, [name]
        while todo:
            at = todo.pop()
            for number, target, quoted in includes(tree, at):
                ours = resolve(tree, at, target)
                if ours and ours not in seen:
                    seen.add(ours)
                    todo.append(ours)
                elif not ours and library_of(target):
                    yield name, 1, f"reaches {target} by {at}:{number}"


def rule_banned(tree):
    """a function that is not used here"""
    words = re.compile(r"\b(" + "|".join((*BANNED, *GETENV)) + r")\s*\(")
    for name in tree.having((".c", ".h")):
        for number, line in enumerate(without_comments(tree.text(name)).split("\n"), 1):
            for word in words.findall(line):
                if word in BANNED:
                    yield name, number, f"{word}: {BANNED[word]}"
                elif name != GETENV_HOME and not name.startswith(("tests/", "bench/")):
                    yield name, number, f"{word}: only {GETENV_HOME} reads the environment"


def rule_spdx(tree):
    """a file without its licence line"""
    for name in tree.having(CODE):
        if tree.lines(name)[0] != "/* SPDX-License-Identifier: MIT */":
            yield name, 1, "first line must be the SPDX comment"
    for name in tree.having(SCRIPTS):
        if not any("SPDX-License-Identifier: MIT" in line for line in tree.lines(name)[:2]):
            yield name, 1, "first or second line must be the SPDX comment"


def rule_contract(tree):
    """a header that does not begin with what it is for"""
    for name in tree.having((".h",), "include/", "src/"):
        lines = tree.lines(name)
        if len(lines) < 2 or not lines[1].startswith("/* "):
            yield name, 2, "the second line must be a comment: what the module is for"


def rule_work_words(tree):
    """a mark of unfinished work"""
    for name in tree.texts():
        for number, line in enumerate(tree.lines(name), 1):
            if WORK_WORDS.search(line):
                yield name, number, "finish it, or name an issue in parentheses"


def rule_machine_paths(tree):
    """a path of somebody's machine"""
    for name in tree.texts():
        for number, line in enumerate(tree.lines(name), 1):
            if MACHINE_PATH.search(line):
                yield name, number, line.strip()[:60]


def rule_length(tree):
    """a file too long to read in one go"""
    reasons = {}
    if "tests/lint/long_files.txt" in tree.files:
        for line in tree.lines("tests/lint/long_files.txt"):
            path, _, reason = line.partition(":")
            if reason.strip() and not line.startswith("#"):
                reasons[path.strip()] = reason
    for name in tree.having((".c", ".h"), "include/", "src/", "tests/", "bench/"):
        length = tree.text(name).count("\n")
        if length > MAX_LINES and name not in reasons:
            yield name, MAX_LINES, f"{length} lines; split it, or give a reason in long_files.txt"
    for name in reasons:
        if name not in tree.files:
            yield "tests/lint/long_files.txt", 1, f"{name} does not exist"


def rule_forward(tree):
    """a forward declaration of a static function"""
    for name in tree.having((".c",), "src/"):
        text = without_comments(tree.text(name))
        for match in FORWARD.finditer(text):
            if "__attribute__" in match.group():
                continue  # a definition cannot carry it behind its parameters
            yield name, text.count("\n", 0, match.start()) + 1, "order the file bottom-up"


def rule_whitespace(tree):
    """blanks at the end of a line, no newline at the end of a file"""
    for name in tree.texts():
        for number, line in enumerate(tree.lines(name), 1):
            if line != line.rstrip() and not name.endswith(".md"):
                yield name, number, "blanks at the end"
        if tree.text(name) and not tree.text(name).endswith("\n"):
            yield name, len(tree.lines(name)), "no newline at the end"


def rule_settings(tree):
    """a setting without effect that is not marked so, or one marked so that has"""
    table = "include/construct/params.def"
    if table not in tree.files:
        return
    used = set()
    for name in tree.having((".c", ".h"), "src/"):
        if not name.startswith(CONFIG_FILES):
            used |= set(re.findall(r"(?:->|\.)\s*(\w+)", without_comments(tree.text(name))))
    # Read by config_rules.c, which hands them on as other fields or refuses them.
    used |= {"database_url", "redis_url", "kafka_enabled", "federation_enabled", "apns_enabled"}
    text = tree.text(table)
    for match in re.finditer(r"^PARAM\(\w+,\s*(\w+),[^;]*?\)\s*$", text, re.M):
        field, later = match.group(1), "P_LATER" in match.group()
        number = text.count("\n", 0, match.start()) + 1
        if field not in used and not later:
            yield table, number, f"{field} is used nowhere: mark it P_LATER"
        if field in used and later and field not in ("message_gateway_url", "grpc_port"):
            yield table, number, f"{field} is used: P_LATER is not true any more"


def rule_scripts(tree):
    """a script that does not parse"""
    for name in tree.having((".sh", ".py")):
        path = os.path.join(tree.root, name)
        if name.endswith(".sh"):
            done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
            if done.returncode:
                yield name, 1, done.stderr.strip()
        else:
            try:
                compile(tree.text(name), name, "exec")
            except SyntaxError as e:
                yield name, e.lineno or 1, str(e)


def rule_format(tree):
    """formatting other than .clang-format's"""
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not tool:
        yield ".clang-format", 1, "clang-format is not installed (ops/install-deps.sh test)"
        return
    version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    if " 14." not in version:
        # Others format differently in details: their opinion would be noise.
        print(f"lint: NOT CHECKED: formatting needs clang-format 14, here is {version.strip()}")
        return
    names = list(tree.having((".c", ".h")))
    if not names:
        return
    done = subprocess.run([tool, "--dry-run", "--style=file", *names], cwd=tree.root,
                          capture_output=True, text=True)
    seen = set()
    for line in done.stderr.split("\n"):
        match = re.match(r"([^:]+):(\d+):\d+: (?:warning|error): code should be", line)
        if match and match.group(1) not in seen:
            seen.add(match.group(1))
            yield match.group(1), int(match.group(2)), "run make format"
    if done.returncode and not seen:
        yield ".clang-format", 1, done.stderr.strip()[:200]


RULES = [value for key, value in sorted(globals().items()) if key.startswith("rule_")]


def main():
    tree = Tree(sys.argv[1] if len(sys.argv) > 1 else ".")
    if not tree.files:
        print("lint: no files here")
        return 1
    passed = failed = 0
    for rule in RULES:
        breaches = list(rule(tree))
        for name, number, what in breaches:
            print(f"{name}:{number}: {rule.__name__[5:]}: {what}")
        if breaches:
            failed += 1
            print(f"FAIL {rule.__doc__}: {len(breaches)}")
        else:
            passed += 1
    print(f"lint: {passed} passed, {failed} failed ({len(tree.files)} files)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
