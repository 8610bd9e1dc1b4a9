#!/bin/bash
# SPDX-License-Identifier: MIT
# Stock gRPC clients against our server:  tests/grpc/run.sh GRPC_ECHO
# GRPC_BUILD: where their packages are kept (default build/grpc).
set -eu
[ $# -eq 1 ] || { echo "usage: $0 GRPC_ECHO" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
echo_server=$(realpath "$1")
build=${GRPC_BUILD:-$root/build/grpc}
. "$here/../fetch.sh"
mkdir -p "$build/node"
build=$(cd "$build" && pwd)

# prepare NAME FILES... -- COMMAND...: COMMAND, unless it was done for these files.
prepare()
{
	local name=$1 stamp files=()
	shift
	while [ "$1" != -- ]; do files+=("$1"); shift; done
	shift
	stamp=$(cat "${files[@]}" | cksum)
	[ "$(cat "$build/$name.stamp" 2>/dev/null)" = "$stamp" ] && return
	"$@"
	echo "$stamp" >"$build/$name.stamp"
}
make_venv()
{
	rm -rf "$build/venv"
	python3 -m venv "$build/venv"
	fetch 'Python packages of tests/grpc' "$build/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
}
make_node()
{
	cp "$here"/node/* "$build/node/"
	fetch 'node modules of tests/grpc' env -C "$build/node" npm ci --loglevel=error --no-audit --no-fund
}
make_h2spec()
{
	fetch h2spec env GOBIN="$build" GOFLAGS=-modcacherw go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
}

exec 9>"$build/.lock" # two runs at once share the folder: one prepares, the other waits
flock 9
venv_runs "$build/venv" || rm -f "$build/venv.stamp"
prepare venv "$here/requirements.txt" -- make_venv
prepare node "$here"/node/* -- make_node
if command -v go >/dev/null; then prepare h2spec "$here/run.sh" -- make_h2spec; fi
flock -u 9
exec 9>&-

PYTHONDONTWRITEBYTECODE=1 exec timeout -k 10 "${GRPC_TIMEOUT:-240}" \
	"$build/venv/bin/python" "$here/run.py" "$echo_server" "$build"
