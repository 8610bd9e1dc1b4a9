#!/bin/bash
# SPDX-License-Identifier: MIT
# stack.sh BINARY: the fault test on two servers, two gateways and two workers with a real Kafka,
# PostgreSQL and Redis of their own in a private folder.  FAULT_SECS=n (900), FAULT_SEED=n repeats
# a schedule, FAULT_ONLY=kind,kind breaks only that.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/build/venv-fault
. "$here/../fetch.sh"
binary=$(realpath "${1:?usage: stack.sh BINARY}")
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt" || ! venv_runs "$venv"; then
	rm -rf "$venv"
	mkdir -p "$root/build"
	python3 -m venv "$venv" &&
		fetch 'Python packages of tests/fault' "$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt" &&
		cp "$here/requirements.txt" "$venv/requirements.txt" || exit
fi
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
work=$(mktemp -d)
chmod 711 "$work" # the user of PostgreSQL must get through
pid=
end()
{
	[ -z "$pid" ] || kill "$pid" 2>/dev/null
	mkdir -p "$work/run"
	for one in "$work"/run/*.pid; do [ ! -f "$one" ] || kill -KILL "$(cat "$one")" 2>/dev/null; done
	"$root/ops/stack.sh" down --wipe "$work/run/stack" >/dev/null 2>&1
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python3" "$here/stack_run.py" "$binary" "$work" &
pid=$!
wait "$pid"
code=$?
pid=
exit $code
