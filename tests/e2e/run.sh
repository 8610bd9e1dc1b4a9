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

"$here/prepare.sh" "$build"

PYTHONDONTWRITEBYTECODE=1 exec timeout -k 10 "${E2E_TIMEOUT:-600}" \
	"$build/venv/bin/python" "$here/run.py" "$binary" --build "$build" "$@"
