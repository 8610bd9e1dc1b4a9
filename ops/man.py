#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Man pages of section 3 from the comments of include/cx/*.h.  usage: man.py OUT [INCLUDE]

A comment at the left margin and what follows it, up to a blank line or the next such comment, is a
group: one page, named after its first function (else its first name); the other names are symbolic
links to it.
In a comment `Thread:`, `Blocks:`, `Keeps:` and `Returns` at the start of a line or behind a full
stop and two blanks begin a part of the contract, which ends with the paragraph.  A public name
without a comment, a function without `Thread:`, and a value without `Returns` are refused.
docs/man/cx.7 is copied.
"""
import os
import re
import sys
import textwrap
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
LABEL = re.compile(r"(?:(?<=\n)|(?<=\.  )|^)(Thread:|Blocks:|Keeps:|Returns )")
DECLARED = re.compile(r"(?:static inline |typedef )?(.*?)\b(\w+)\(")
SKIP = re.compile(r'#\s*(include|ifndef CX_\w+_H|define CX_\w+_H$|ifdef __cplusplus|endif)|extern "C"|}$')


class Refused(Exception):
    pass


class Group:
    def __init__(self, header, comment, code):
        self.header, self.comment, self.code = header, comment, code
        bare = re.sub(r"/\*.*?\*/", "", code, flags=re.S)
        self.functions = {}
        for text in declarations(bare):
            match = DECLARED.match(text)
            if match:
                self.functions[match.group(2)] = text
        typedefs = re.findall(r"^typedef [^;{]*?\b(\w+)\(", bare, re.M)
        passing = set(re.findall(r"^#undef (\w+)", bare, re.M))
        macros = dict.fromkeys(re.findall(r"^#define (\w+)", bare, re.M))
        self.macros = [m for m in macros if m not in passing]
        self.types = re.findall(r"^(?:struct|enum) (\w+)(?= \{|;)", bare, re.M) + typedefs
        self.variables = re.findall(r"^extern [^()]*?\b(\w+);", bare, re.M)
        self.names = [*self.functions, *self.macros, *self.types, *self.variables]


def declarations(bare):
    """Prototypes at the left margin, one string each; bodies of inline functions left out."""
    for match in re.finditer(r"^(?!typedef|struct \w+ \{|enum \w+ \{|#|extern|\s|\})([^;{}#]*?\))"
                             r"(?:\s*__attribute__\(\(.*?\)\))?\s*(?:;|\n\{)", bare, re.M | re.S):
        yield re.sub(r"\s+", " ", match.group(1)).replace("CX_NODISCARD ", "")


def groups_of(header, text):
    text = re.sub(r"\A(/\*.*?\*/\n)+", "", text, flags=re.S)  # the file's own comment
    for part in re.split(r"\n\n(?![\t}])|(?:^|\n)(?=/\*)", text):
        match = re.match(r"/\*(.*?)\*/\n?(.*)", part, re.S)
        comment, code = match.groups() if match else ("", part)
        if not comment and all(SKIP.match(line) for line in code.split("\n") if line.strip()):
            continue
        group = Group(header, re.sub(r"\n \* ?", "\n", comment).strip(), code.strip())
        if group.names:
            yield group


def read(include):
    """The groups of all headers; a struct announced and defined counts where it is defined."""
    groups = []
    for name in sorted(os.listdir(os.path.join(include, "cx"))):
        if name.endswith(".h"):
            with open(os.path.join(include, "cx", name)) as f:
                groups += groups_of("cx/" + name, f.read())
    defined = {n for g in groups for n in g.types if f"{n} {{" in g.code}
    return [g for g in groups
            if g.functions or any(f"{n};" not in g.code or n not in defined for n in g.names)]


def parts(comment):
    """The description and the labelled parts of a comment."""
    described, labelled = [], {}
    for paragraph in comment.split("\n\n"):
        pieces = LABEL.split(paragraph)
        if pieces[0].strip():
            described.append(pieces[0].strip())
        for label, text in zip(pieces[1::2], pieces[2::2]):
            labelled[label.strip(": ")] = re.sub(r"\s+", " ", text.strip())
    return described, labelled


def check(group, labelled):
    where = f"{group.header}: {group.names[0]}"
    if not group.comment:
        raise Refused(f"{where} has no comment")
    if group.functions and "Thread" not in labelled:
        raise Refused(f"{where} does not say Thread:")
    values = [n for n, text in group.functions.items() if not text.startswith(("void " + n,))]
    if values and "Returns" not in labelled:
        raise Refused(f"{where} does not say what {values[0]} Returns")


def escaped(text):
    text = text.replace("\\", "\\e")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.M)


def sentences(text):
    """One sentence a line, as the language of the pages wants it."""
    joined = re.sub(r"[ \t\n]+", " ", text.replace(".  ", ".\0").replace("?  ", "?\0"))
    joined = re.sub(r"(?<=[a-z0-9)*][.?!]) (?=[A-Z])", "\0", joined)
    return "\n".join(escaped(textwrap.fill(s.strip(), 78, break_long_words=False,
                                           break_on_hyphens=False))
                     for s in joined.split("\0") if s.strip())


def summary(group, described):
    first = re.split(r"[.?:;](?:\s|$)", described[0])[0]
    first = re.sub(r"\s+", " ", first)
    return first if first[1:2].isupper() or "_" in first.split()[0] else first[0].lower() + first[1:]


def arguments(text):
    inside = text[text.index("(") + 1:text.rindex(")")]
    return [a.strip() for a in inside.split(",")]  # no parameter of ours is a bare function type


def synopsis(group):
    lines = [f".In {group.header}"]
    for name, text in group.functions.items():
        kind = DECLARED.match(text).group(1).strip()
        lines += [f".Ft {quoted(kind)}", f".Fo {name}"]
        lines += [f".Fa {quoted(a)}" for a in arguments(text)] + [".Fc"]
    code = group.code if not group.functions else "\n".join(
        line for line in group.code.split("\n") if line.startswith("typedef"))
    if code:
        lines += [".Bd -literal", escaped(code.expandtabs(8)), ".Ed"]
    return lines


def quoted(text):
    return f'"{text}"' if " " in text else text


def see_also(group, pages):
    used = set(re.findall(r"\w+", group.comment + group.code)) & set(pages) - {"CX_NODISCARD"}
    return sorted({pages[n] for n in used} - {pages[group.names[0]]}, key=str.lower)


def page(group, pages, date):
    described, labelled = parts(group.comment)
    check(group, labelled)
    name = pages[group.names[0]]
    order = [name] + [n for n in group.names if n != name]
    lines = [f".\\\" Made from {group.header} by ops/man.py.", f".Dd {date}", f".Dt {name.upper()} 3",
             ".Os", ".Sh NAME"]
    lines += [f".Nm {n} ," for n in order[:-1]] + [f".Nm {order[-1]}"]
    lines += [f".Nd {escaped(summary(group, described))}", ".Sh SYNOPSIS", *synopsis(group)]
    lines += [".Sh DESCRIPTION", "\n.Pp\n".join(sentences(d) for d in described)]
    notes = [(k, labelled[k]) for k in ("Thread", "Blocks", "Keeps") if k in labelled]
    if notes:
        lines += [".Bl -tag -width Thread"]
        for label, text in notes:
            lines += [f".It Sy {label}", sentences(text)]
        lines += [".El"]
    if "Returns" in labelled:
        lines += [".Sh RETURN VALUES", sentences("Returns " + labelled["Returns"])]
    lines += [".Sh SEE ALSO"] + [f".Xr {n} 3 ," for n in see_also(group, pages)] + [".Xr cx 7"]
    return "\n".join(lines) + "\n"


def main():
    out, include = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.path.join(ROOT, "include")
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    date = re.sub(r" 0", " ", time.strftime("%B %d, %Y", time.gmtime(seconds)))
    groups = read(include)
    pages = {name: next(iter(g.functions), g.names[0]) for g in groups for name in g.names}
    os.makedirs(os.path.join(out, "man3"), exist_ok=True)
    os.makedirs(os.path.join(out, "man7"), exist_ok=True)
    for group in groups:
        first = pages[group.names[0]]
        with open(os.path.join(out, "man3", first + ".3"), "w") as f:
            f.write(page(group, pages, date))
        for name in set(group.names) - {first}:
            os.symlink(first + ".3", os.path.join(out, "man3", name + ".3"))
    with open(os.path.join(ROOT, "docs/man/cx.7")) as source:
        text = source.read().replace("@DATE@", date)
    with open(os.path.join(out, "man7/cx.7"), "w") as f:
        f.write(text)


if __name__ == "__main__":
    try:
        main()
    except Refused as e:
        sys.exit(f"man.py: {e}")
