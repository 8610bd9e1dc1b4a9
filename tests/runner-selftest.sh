#!/bin/bash
# SPDX-License-Identifier: MIT
# Do the runners see a failure?  Stand-ins for test programs fail in each way that must count.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0

program() # NAME, body on standard input
{
	{ echo '#!/bin/bash'; cat; } >"$dir/$1"
	chmod +x "$dir/$1"
}

expect() # ok|fail WHAT LAST-LINE COMMAND...
{
	local want=$1 what=$2 line=$3 out code got=fail
	shift 3
	out=$("$@" 2>&1)
	code=$?
	[ $code != 0 ] || got=ok
	if [ $got = "$want" ] && [ "$(tail -n 1 <<<"$out")" = "$line" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		printf 'FAIL %s (code %d):\n%s\n' "$what" $code "$out"
	fi
}

synthesis='[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: %d \n'
program good <<<"printf '$synthesis' 3 3 0 0"
program bad <<<"printf '$synthesis' 3 1 1 1; exit 1"
program empty <<<"printf '$synthesis' 0 0 0 0"
program crash <<<'kill -SEGV $$'
# A leak in a forked child: all tests pass, the exit code is 0, the report lies in a file.
program leak <<<"echo 'ERROR: LeakSanitizer' >\"\$(sed 's/.*log_path=\([^:]*\).*/\1/' <<<\"\$ASAN_OPTIONS\").99\"; printf '$synthesis' 2 2 0 0"
leak_report() # FRAME-1: a report as LeakSanitizer writes it
{
	cat <<-EOF
		printf '\n====\n==9==ERROR: LeakSanitizer: detected memory leaks\n
		Direct leak of 48 byte(s) in 1 object(s) allocated from:\n    #0 0x7f in calloc x.cpp:7
		    #1 0x7f $1\n    #2 0x7f (libcriterion.so.3+0x1a332)\n\nSUMMARY: AddressSanitizer: 48\n' \\
			>"\$(sed 's/.*log_path=\([^:]*\).*/\1/' <<<"\$ASAN_OPTIONS").9"
		printf '$synthesis' 2 2 0 0
		exit 86
	EOF
}
leak_report '(libcriterion.so.3+0x1a332)' | program leak-criterion
leak_report 'in make_user src/actors/user.c:3' | program leak-ours
program stress-good <<<"echo '5 passed, 0 failed'"
program stress-bad <<<"echo '4 passed, 1 failed'; exit 1"
program stress-liar <<<"echo '4 passed, 1 failed'"
program stress-none <<<"echo '0 passed, 0 failed'"
program stress-mute <<<"echo hello"

expect ok 'unit: good' 'unit: 3 passed, 0 failed' tests/run-unit.sh "$dir" "$dir/good"
expect fail 'unit: bad' 'unit: 4 passed, 2 failed' tests/run-unit.sh "$dir" "$dir/good" "$dir/bad"
expect fail 'unit: empty' 'unit: 0 passed, 1 failed' tests/run-unit.sh "$dir" "$dir/empty"
expect fail 'unit: crash' 'unit: 0 passed, 1 failed' tests/run-unit.sh "$dir" "$dir/crash"
expect fail 'unit: leak' 'unit: 2 passed, 1 failed' tests/run-unit.sh "$dir" "$dir/leak"
expect ok 'unit: leak of Criterion' 'unit: 2 passed, 0 failed' tests/run-unit.sh "$dir" "$dir/leak-criterion"
expect fail 'unit: leak of ours' 'unit: 2 passed, 1 failed' tests/run-unit.sh "$dir" "$dir/leak-ours"
expect fail 'unit: none' 'unit: no tests found' tests/run-unit.sh "$dir"
expect ok 'stress: good' 'stress: 5 passed, 0 failed' tests/run-stress.sh "$dir" "$dir/stress-good"
for kind in bad liar; do
	expect fail "stress: $kind" 'stress: 4 passed, 1 failed' tests/run-stress.sh "$dir" "$dir/stress-$kind"
done
for kind in none mute; do
	expect fail "stress: $kind" 'stress: 0 passed, 1 failed' tests/run-stress.sh "$dir" "$dir/stress-$kind"
done
expect fail 'stress: no programs' 'stress: no programs found' tests/run-stress.sh "$dir"
expect fail 'fuzz: no corpus' 'fuzz: 0 passed, 1 failed' tests/run-fuzz.sh "$dir" "$dir/fuzz_nothing"
expect fail 'stages: unknown' "no stage 'x'; there are: $(sed -n "s/^all='\(.*\)'/\1/p" tests/run-all.sh)" tests/run-all.sh x
expect fail 'stages: one that takes too long' '0 passed, 1 failed' env STAGE_TIMEOUT=1 tests/run-all.sh headers
expect fail 'stages: no time for all' '0 passed, 1 failed' env TOTAL_TIMEOUT=1 tests/run-all.sh headers
echo "runners: $passed passed, $failed failed"
[ $failed = 0 ]
