#!/bin/bash
# SPDX-License-Identifier: MIT
# selftest.sh RELAY_SIM: does run.sh report a seed that ends the process, hangs or breaks a promise, new
# or stored; is the search for its faults a help; and is a run its seed and nothing else?
set -u
cd "$(dirname "$0")/../.." || exit 1
sim=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0

check() # WHAT CONDITION...: the condition holds for the last output
{
	local what=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		printf 'FAIL %s:\n%s\n' "$what" "$(tail -n 20 "$dir/out")"
	fi
}

says() { grep -q -- "$1" "$dir/out"; }
says_not() { ! says "$1"; }
has_failed() { [ "$code" != 0 ]; }

planted() # WHAT SEEDS: run.sh on 100..102 with this planted in 101, and these stored
{
	printf '#!/bin/sh\nexec %s --seconds %s --plant %s 101 "$@"\n' "$sim" "$limit" "$1" >"$dir/sim"
	chmod +x "$dir/sim"
	echo "$2" >"$dir/seeds.txt"
	tests/sim/run.sh "$dir/sim" "$first" 3 "$dir/seeds.txt" >"$dir/out" 2>&1
	code=$?
}

# Nobody wants core files of what is planted.
ulimit -c 0
limit=120
for what in abort fault judge hang; do
	[ $what != hang ] || limit=6 # a run with sanitizers takes half a second
	first=100
	planted $what '# none'
	check "$what: a new seed fails the run" has_failed
	check "$what: it is named" says '^FAIL seed 101: '
	check "$what: how to keep it" says 'add to tests/sim/seeds.txt:  101 # '
	check "$what: how to see it" says '--trace 101$'
	check "$what: the others are not" says_not 'seed 10[02]:'
	check "$what: it is counted" says '^sim: [12] passed, 1 failed$'
	first=200
	planted $what '101 # once'
	check "$what: a stored seed fails the run" has_failed
	check "$what: the stored one is named" says '^FAIL seed 101: '
	check "$what: new ones run after a stored one" says '^sim: 3 passed, 1 failed$'
done

# Who is cut needs three cuts, of some hundred faults.
"$sim" --plant judge 101 101 1 >"$dir/out"
check 'the search finds what is needed' says '^sim: seed 101 fails with 3 of its [0-9][0-9]* faults '
check 'and names it' [ "$(grep -c '^  fault: life .*connection cut ([123]): client' "$dir/out")" = 3 ]
check 'and shows the end of the trace' says ' us w[01] .*/'
check 'not all of it' [ "$(wc -l <"$dir/out")" -lt 120 ]
cp "$dir/out" "$dir/first"
"$sim" --plant judge 101 101 1 >"$dir/out"
check 'a failure is told in the same words each time' cmp -s "$dir/first" "$dir/out"

# In one process and in five; the trace has all that was sent to whom and when.
"$sim" --hash 1000 5 >"$dir/batch"
for seed in 1004 1003 1002 1001 1000; do "$sim" --hash $seed 1; done | tac >"$dir/out"
check 'a seed does not know what ran before it' cmp -s "$dir/batch" "$dir/out"
for seed in 1 2 3 4 5; do
	"$sim" --trace $seed >"$dir/trace"
	"$sim" --trace $seed >"$dir/out"
	check "two traces of seed $seed are the same" cmp -s "$dir/trace" "$dir/out"
done
check 'a trace names messages' says 'fake_log/[0-9]* log_append<'

echo "sim selftest: $passed passed, $failed failed"
[ $failed = 0 ]
