#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh BINARY [-k TEXT]...: every row of docs/failure-modes.md on a real Kafka, PostgreSQL and Redis in a private
# folder.  STACK=DIR: on that stack, which is not stopped (and is taken down and up by the rows).  E2E_BUILD: where
# the Python packages are.  Needs `ops/install-deps.sh stack`.  Last line: `modes: N passed, N failed`.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=$(realpath "${1:?usage: run.sh BINARY [-k TEXT]...}")
shift
[ -x "$binary" ] || { echo "$0: $binary is no program" >&2; exit 2; }
build=${E2E_BUILD:-$root/build/e2e}
mkdir -p "$build" && build=$(cd "$build" && pwd) || exit 1
"$root/tests/e2e/prepare.sh" "$build" python || exit 1
python=$build/venv/bin/python
work=$(mktemp -d)
chmod 711 "$work" # the user of PostgreSQL must get through
end()
{
	[ -n "${STACK:-}" ] || "$root/ops/stack.sh" down --wipe "$work/stack" >/dev/null 2>&1
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM
export PYTHONDONTWRITEBYTECODE=1
"$python" "$here/table_test.py" || exit 1
[ -n "${STACK:-}" ] || "$root/ops/stack.sh" up "$work/stack" || exit
TMPDIR=$work timeout -k 10 "${MODES_TIMEOUT:-1200}" \
	"$python" "$here/run.py" "$binary" --stack "${STACK:-$work/stack}" "$@"
