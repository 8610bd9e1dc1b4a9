# SPDX-License-Identifier: MIT
"""Reads the table of docs/failure-modes.md: its cells are what the tests expect."""
import re

COLUMNS = ("state", "connect", "login", "send", "receive", "waiting", "acknowledge", "test")
WORDS = {
    "receive": {"now", "later"}, "waiting": {"now", "later"},
    "acknowledge": {"pong", "SERVER_ERROR", "closed"},
    "connect": {"connectSuccess", "SERVER_ERROR", "sessionExpired", "closed"},
    "login": {"loginSuccess", "SERVER_ERROR", "closed"},
    "send": {"accepted", "KAFKA_FAILURE", "SERVER_ERROR", "closed"},
}


class Fault(Exception):
    pass


def read(text):
    """{test: {column: set of words}}; a cell allows the words that stand in it as `code`."""
    rows = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            continue
        cells = [c.strip() for c in line.strip("| \n").split("|")]
        if cells[-1] == "test" or set(line) <= set("|- :"):
            continue
        if len(cells) != len(COLUMNS):
            raise Fault(f"line {number}: {len(cells)} cells, not {len(COLUMNS)}")
        words = {c: set(re.findall(r"`([^`]+)`", cell)) for c, cell in zip(COLUMNS, cells)}
        if len(words["test"]) != 1:
            raise Fault(f"line {number}: a row has one test")
        for column, known in WORDS.items():
            if words[column] - known:
                raise Fault(f"line {number}, {column}: no outcome is called "
                            f"{sorted(words[column] - known)}")
            if not words[column] and column != "waiting":
                raise Fault(f"line {number}, {column}: it says nothing")
        name = words["test"].pop()
        if name in rows:
            raise Fault(f"line {number}: {name} has a row already")
        rows[name] = words
    return rows


def compare(rows, tests):
    """What one has and the other lacks, as sentences."""
    return ([f"{n}: a row without a test" for n in rows if n not in tests]
            + [f"{n}: a test without a row" for n in tests if n not in rows])


def differences(cells, seen):
    """seen: {column: [word]}; each word must be one that its cell allows."""
    return [f"{column}: {word}, and the table says {' or '.join(sorted(cells[column])) or 'nothing'}"
            for column, words in seen.items() for word in words if word not in cells[column]]
