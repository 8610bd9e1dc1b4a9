#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh BUILD: ops/stack.sh against itself, `construct migrate` on its PostgreSQL, the three roles from one
# .env.  Real services in a private folder, on free ports; all of it is stopped at the end.  Needs
# `ops/install-deps.sh stack`.  Last line: `N passed, N failed`.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${1:?usage: run.sh BUILD (build/release)}
here=tests/stack
all='lifecycle tls migrate run'
parts=${PARTS:-$all}
. tests/sanitizers.sh
sanitizer_env "$build"
work=$(mktemp -d)
chmod 711 "$work" # the user of PostgreSQL must get through
D=$work/stack
passed=0 failed=0
declare -A running=() # processes of a part

stack() { timeout -k 5 "${STACK_TIMEOUT:-300}" ops/stack.sh "$@"; }
end()
{
	[ ${#running[@]} = 0 ] || { kill "${running[@]}"; wait "${running[@]}"; } 2>/dev/null
	stack down --wipe "$D" >/dev/null 2>&1
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

# check SENTENCE COMMAND...: it must exit with 0; its output is shown when it does not.
check()
{
	local what=$1 out code
	shift
	out=$("$@" 2>&1)
	code=$?
	if [ $code = 0 ]; then
		passed=$((passed + 1))
		printf '  ok   %s\n' "$what"
	else
		failed=$((failed + 1))
		printf '  FAIL %s (exit code %d)\n%s\n' "$what" $code "$out"
	fi
}

exits() # CODE COMMAND...
{
	local want=$1 code
	shift
	"$@"
	code=$?
	[ $code = "$want" ] || { echo "exit code $code, not $want"; return 1; }
}

says() # TEXT COMMAND...: whatever its exit code
{
	local text=$1 out
	shift
	out=$("$@" 2>&1)
	grep -qF -- "$text" <<<"$out" || { printf 'no "%s" in:\n%s\n' "$text" "$out"; return 1; }
}

not() { ! "$@"; }

pid() { cut -d' ' -f1 "$D/$1.pid"; }
port() { cat "$D/ports/$1"; }
sql() { timeout 60 psql -XAtq -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "$1"; }
redis() { timeout 60 redis-cli --no-auth-warning -u "$REDIS_URL" "$@"; }
query() { [ "$(sql "$1")" = "$2" ]; }
redis_gives() { local want=$1; shift; [ "$(redis "$@")" = "$want" ]; }

load_env() { set -a; . "$D/env"; set +a; }

for part in $parts; do
	printf '== %s\n' "$part"
	. "$here/part_$part.sh"
done
if sanitizer_reports; then failed=$((failed + 1)); echo 'FAIL the sanitizers reported (above)'; fi
[ "$parts" = "$all" ] || echo "only these parts ran: $parts"
echo "stack: $passed passed, $failed failed"
[ $failed = 0 ]
