#!/bin/sh
# SPDX-License-Identifier: MIT
#
# prepare.sh FOLDER [python]: the Python packages and node modules of the tests, in FOLDER/venv and FOLDER/node
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$1
. "$here/../fetch.sh"

prepare_python() {
	stamp=$(cat "$here/requirements.txt" | cksum)
	[ "$(cat "$build/venv/.stamp" 2>/dev/null)" = "$stamp" ] && venv_runs "$build/venv" && return
	rm -rf "$build/venv"
	python3 -m venv "$build/venv"
	fetch 'Python packages of tests/e2e' "$build/venv/bin/pip" install -q --disable-pip-version-check \
		-r "$here/requirements.txt"
	echo "$stamp" >"$build/venv/.stamp"
}

prepare_node() {
	mkdir -p "$build/node"
	cp "$here/node/package.json" "$here/node/package-lock.json" "$here"/node/*.mjs \
		"$build/node/"
	stamp=$(cat "$here/node/package.json" "$here/node/package-lock.json" | cksum)
	[ "$(cat "$build/node/.stamp" 2>/dev/null)" = "$stamp" ] && return
	fetch 'node modules of tests/e2e' env -C "$build/node" npm ci --loglevel=error --no-audit --no-fund
	echo "$stamp" >"$build/node/.stamp"
}

# Two runs at once share the folder: one prepares, the other waits.
exec 9>"$build/.lock"
flock 9
prepare_python
# Not `... || prepare_node`: there a failure in it would end nothing, and be stamped as done.
if [ "${2:-all}" != python ]; then prepare_node; fi
flock -u 9
