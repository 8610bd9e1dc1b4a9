#!/bin/sh
# SPDX-License-Identifier: MIT
# Autobahn Testsuite's fuzzing client against our echo role.
#
#   tests/conformance/run.sh BINARY [--only '6.*,9.1.1'] [--times]
#   tests/conformance/run.sh --self-test        the runner against a server that
#                                               is right and servers that are not
#
# BINARY is build/release/construct.  All cases but 12 and 13 (compression, which
# the server does not offer); about half a minute.  The suite and the library it
# runs on are fetched once by pip, pinned by hash, into build/conformance.
# Last line: `conformance: N passed, N failed`; exit 0 only if none failed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/build/conformance
python=$work/venv/bin/python
suite=$work/suite/autobahntestsuite/case
server_pid=
. "$here/../fetch.sh"
export PYTHONDONTWRITEBYTECODE=1

fail() {
	echo "conformance: did not run: $*" >&2
	exit 1
}

# Fetched again whenever a pin changes.
fetch_suite() {
	wanted=$(cat "$here/requirements.txt" "$here/suite.txt" | cksum)
	[ "$(cat "$work/fetched" 2>/dev/null)" = "$wanted" ] && venv_runs "$work/venv" && return
	echo "conformance: fetching the test suite"
	rm -rf "$work"
	mkdir -p "$work/suite" "$work/fetch"
	python3 -m venv "$work/venv" || fail "python3 -m venv (Debian: apt-get install python3-venv)"
	pip="$python -m pip --disable-pip-version-check -q"
	fetch 'packages of tests/conformance' $pip install --no-deps --require-hashes -r "$here/requirements.txt" ||
		fail "pip could not install requirements.txt"
	fetch 'the suite of tests/conformance' $pip download --no-deps --no-binary :all: --require-hashes -d "$work/fetch" \
		-r "$here/suite.txt" || fail "pip could not download suite.txt"
	tar -xzf "$work"/fetch/autobahntestsuite-*.tar.gz -C "$work/suite" --strip-components=1
	echo "$wanted" >"$work/fetched"
}

stop_server() {
	[ -n "$server_pid" ] || return 0
	kill "$server_pid" 2>/dev/null || true
	wait "$server_pid" 2>/dev/null && server_rc=0 || server_rc=$?
	server_pid=
}
trap stop_server EXIT
trap 'exit 130' INT TERM

# wait_port FILE: the server writes its port there once it listens.
wait_port() {
	tries=0
	while [ ! -s "$1" ]; do
		kill -0 "$server_pid" 2>/dev/null || fail "the server ended: $(tail -n 3 "$work/server.log")"
		tries=$((tries + 1))
		[ $tries -lt 300 ] || fail "the server did not listen in 30 s"
		sleep 0.1
	done
	port=$(cat "$1")
}

start_reference() { # DEFECT
	rm -f "$work/port"
	"$python" "$here/echo_reference.py" "$work/port" "$1" >"$work/server.log" 2>&1 &
	server_pid=$!
	wait_port "$work/port"
}

start_ours() { # BINARY
	rm -f "$work/port"
	mkdir -p "$work/data"
	(cd "$work/data" && exec env PORT=0 BIND=127.0.0.1 PORT_FILE="$work/port" "$1" echo) \
		>"$work/server.log" 2>&1 &
	server_pid=$!
	wait_port "$work/port"
}

fuzz() {
	"$python" "$here/fuzz.py" --suite "$suite" --work "$work/converted" \
		--url "ws://127.0.0.1:$port" "$@" 2>>"$work/client.log"
}

# must_fail DEFECT CASES: every one of these cases has to notice the defect.
must_fail() {
	start_reference "$1"
	wanted=$(echo "$2" | tr ',' '\n' | grep -c .)
	found=$(fuzz --only "$2" | grep -c ': FAILED: ') || true
	stop_server
	[ "$found" -eq "$wanted" ] || {
		echo "conformance: defect '$1': $found of $wanted cases noticed it" >&2
		exit 1
	}
	echo "conformance: defect '$1' noticed by $2"
}

defects() {
	must_fail utf8 6.3.1,6.3.2,6.6.1,6.14.1
	must_fail truncate 1.1.2,1.2.2,5.3,6.2.1
	must_fail flip 9.1.1,9.2.1
	must_fail mute 2.2,2.10,5.6
	must_fail drop 1.1.2,1.2.2,7.1.1
}

mode=ours
binary=
case ${1:-} in
--self-test) mode=self ;;
'' | -*) fail "usage: tests/conformance/run.sh BINARY | --self-test" ;;
*)
	binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
	[ -x "$binary" ] || fail "$1 is not there: build it first"
	;;
esac
shift
fetch_suite
: >"$work/client.log"

if [ $mode = self ]; then
	defects
	start_reference none
	fuzz "$@" && rc=0 || rc=$?
	exit $rc
fi

defects
start_ours "$binary"
fuzz "$@" >"$work/result" && rc=0 || rc=$?
alive=yes
kill -0 "$server_pid" 2>/dev/null || alive=no
stop_server
if [ $alive = no ] || [ "$server_rc" -ne 0 ]; then
	tail -n 20 "$work/server.log" >&2
	echo "server: FAILED: it did not outlive the cases (alive: $alive, exit $server_rc)"
	awk '/^conformance: / { $4 += 1 } { print }' "$work/result"
	exit 1
fi
cat "$work/result"
exit $rc
