#!/bin/sh
# SPDX-License-Identifier: MIT
# Fault tests: kill -9, SIGTERM, stalled readers, hostile input, half-open handshakes.
#   tests/fault/run.sh BINARY [checker|kill|term|slow|halfopen|hostile]...
# SEED=n repeats a run's choices; KILLS=n and HOSTILE_FRAMES=n change the amounts;
# ASAN_BINARY names the sanitizer build that `hostile` runs (else build/asan/construct).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/build/venv-fault
. "$here/../fetch.sh"
if [ $# -lt 1 ]; then
	sed -n '3,6s/^# \{0,1\}//p' "$0" >&2
	exit 2
fi
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt" || ! venv_runs "$venv"; then
	rm -rf "$venv"
	mkdir -p "$root/build"
	python3 -m venv "$venv"
	fetch 'Python packages of tests/fault' "$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
	cp "$here/requirements.txt" "$venv/requirements.txt"
fi
# Every connection costs a descriptor here and one in the server.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
exec "$venv/bin/python3" "$here/fault.py" --work "$root/build/fault" "$@"
