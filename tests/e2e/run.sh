#!/bin/sh
# SPDX-License-Identifier: MIT
#
# End-to-end tests with clients that are not ours:  tests/e2e/run.sh BINARY [-k TEXT] [-j N]
# E2E_BUILD: where Python packages and node modules are kept (default build/e2e).
set -eu

[ $# -ge 1 ] || { echo "usage: $0 BINARY [-k TEXT]..." >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=$(realpath "$1")
shift
[ -x "$binary" ] || { echo "$0: $binary is no program" >&2; exit 2; }
build=${E2E_BUILD:-$root/build/e2e}
mkdir -p "$build"
build=$(cd "$build" && pwd)

prepare_python() {
	stamp=$(cat "$here/requirements.txt" | cksum)
	[ "$(cat "$build/venv/.stamp" 2>/dev/null)" = "$stamp" ] && return
	rm -rf "$build/venv"
	python3 -m venv "$build/venv"
	"$build/venv/bin/pip" install -q --disable-pip-version-check \
		-r "$here/requirements.txt"
	echo "$stamp" >"$build/venv/.stamp"
}

prepare_node() {
	mkdir -p "$build/node"
	cp "$here/node/package.json" "$here/node/package-lock.json" "$here"/node/*.mjs \
		"$build/node/"
	stamp=$(cat "$here/node/package.json" "$here/node/package-lock.json" | cksum)
	[ "$(cat "$build/node/.stamp" 2>/dev/null)" = "$stamp" ] && return
	(cd "$build/node" && npm ci --silent --no-audit --no-fund)
	echo "$stamp" >"$build/node/.stamp"
}

# Two runs at once share the folder: one prepares, the other waits.
exec 9>"$build/.lock"
flock 9
prepare_python
prepare_node
flock -u 9
exec 9>&-

PYTHONDONTWRITEBYTECODE=1 exec timeout -k 10 "${E2E_TIMEOUT:-480}" \
	"$build/venv/bin/python" "$here/run.py" "$binary" --build "$build" "$@"
