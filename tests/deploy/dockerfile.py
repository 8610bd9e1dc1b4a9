# SPDX-License-Identifier: MIT
"""usage: dockerfile.py BASE OUT     (root)

ops/Dockerfile, step by step, without Docker: BASE is the folder of a bare Debian that stands for its
base image, OUT becomes the root of the last stage, and OUT.json what a container is started with.
The context is what git would commit, less what .dockerignore leaves out.  A step that is not known here
is an error, so that the file is not read more kindly than Docker reads it."""
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def steps():
    """(word, rest) of each instruction, lines joined, comments gone."""
    with open(os.path.join(ROOT, "ops/Dockerfile"), encoding="utf-8") as f:
        text = "".join(line for line in f if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, rest = line.split(None, 1)
            yield word.upper(), rest.strip()


def ignored(name, rules):
    """As .dockerignore says: the last rule that fits decides."""
    out = False
    for rule in rules:
        keep, pattern = rule.startswith("!"), rule.lstrip("!").rstrip("/")
        parts = name.split("/")
        heads = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        if any(fnmatch.fnmatch(h, pattern) or (pattern.startswith("**/") and fnmatch.fnmatch(h, pattern[3:])) for h in heads):
            out = not keep
    return out


def context(folder, whole=False):
    """What the builder is given; `whole`: what a clone has."""
    with open(os.path.join(ROOT, ".dockerignore"), encoding="utf-8") as f:
        rules = [line.strip() for line in f if line.strip() and not line.startswith("#")]
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"], capture_output=True, check=True).stdout
    for name in names.decode().split("\0"):
        if name and (whole or not ignored(name, rules)) and os.path.exists(os.path.join(ROOT, name)):
            os.makedirs(os.path.dirname(os.path.join(folder, name)) or folder, exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), os.path.join(folder, name))


class Stage:
    def __init__(self, base, root):
        self.root, self.env, self.workdir, self.user, self.config = root, {"PATH": PATH}, "/", "0:0", {}
        subprocess.run(["rm", "-rf", root], check=True)
        subprocess.run(["cp", "-a", base, root], check=True)

    def inside(self, path):
        return os.path.join(self.root, os.path.join(self.workdir, path).lstrip("/"))

    def chroot(self, words):
        # A /proc of its own, as a container has; it goes with the namespace.
        script = 'mount -t proc proc "$0/proc" && exec chroot "$0" /bin/sh -c "cd \\"\\$0\\" && exec \\"\\$@\\"" "$@"'
        subprocess.run(["unshare", "--mount", "--pid", "--fork", "/bin/sh", "-c", script, self.root, self.workdir, *words],
                       env=self.env | {"HOME": "/", "DEBIAN_FRONTEND": "noninteractive"}, stdin=subprocess.DEVNULL, check=True)

    def copy(self, words, sources):
        *froms, to = [w for w in words if not w.startswith("--")]
        for name in froms:
            source, target = os.path.join(sources, name.lstrip("/")), self.inside(to)
            into = to.endswith("/") or to == "."
            if os.path.isdir(source):
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            else:
                target = os.path.join(target, os.path.basename(name)) if into else target
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(source, target)


def build(base, out):
    stages, stage, args = {}, None, {}
    files = f"{out}.context"
    context(files)
    for word, rest in steps():
        print(f"--- {word} {rest[:100]}", flush=True)
        words = shlex.split(rest)
        if word == "ARG":
            name, _, value = rest.partition("=")
            args[name] = value
            if stage:
                stage.env[name] = value
        elif word == "FROM":
            assert words[0] == "${DEBIAN}" and args["DEBIAN"].startswith("debian:bookworm-"), "another base than a Debian 12"
            name = words[2] if len(words) == 3 and words[1].lower() == "as" else "last"
            stage = stages[name] = Stage(base, f"{out}.{name}")
        elif word == "WORKDIR":
            stage.workdir = rest
            os.makedirs(stage.inside("."), exist_ok=True)
        elif word == "RUN":
            stage.chroot(["/bin/sh", "-c", rest])
        elif word == "COPY":
            origin = [w.partition("=")[2] for w in words if w.startswith("--from=")]
            stage.copy(words, stages[origin[0]].root if origin else files)
        elif word == "USER":
            stage.user = rest
        elif word == "HEALTHCHECK":
            stage.config["healthcheck"] = json.loads(rest[rest.index("CMD") + 3:])
        elif word == "CMD":
            stage.config["cmd"] = json.loads(rest)
        elif word not in ("EXPOSE", "STOPSIGNAL"):
            raise SystemExit(f"{word}: a step that this script does not know")
    with open(f"{out}.json", "w", encoding="utf-8") as f:
        json.dump(stage.config | {"user": stage.user, "workdir": stage.workdir}, f)
    subprocess.run(["rm", "-rf", out, files], check=True)
    os.rename(stage.root, out)


if __name__ == "__main__":
    build(*sys.argv[1:])
