#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh [PART OF A TEST'S NAME]: the deployment guide and the files of ops/, with stand-ins for fly
# and docker.  DEPLOY_BUILD: where the linter is kept (default build/deploy).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${DEPLOY_BUILD:-$root/build/deploy}
. "$here/../fetch.sh"
mkdir -p "$build"
exec 9>"$build/.lock"
flock 9
stamp=$(cksum <"$here/requirements.txt")
if [ "$(cat "$build/stamp" 2>/dev/null)" != "$stamp" ] || ! venv_runs "$build/venv"; then
	rm -rf "$build/venv"
	python3 -m venv "$build/venv"
	fetch 'the linter of tests/deploy' "$build/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
	echo "$stamp" >"$build/stamp"
fi
exec 9>&-
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
HADOLINT=$build/venv/bin/hadolint PYTHONDONTWRITEBYTECODE=1 \
	exec timeout -k 10 "${DEPLOY_TIMEOUT:-900}" python3 "$here/run.py" "$@"
