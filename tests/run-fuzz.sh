#!/bin/bash
# SPDX-License-Identifier: MIT
# run-fuzz.sh BUILD TARGET...: FUZZ_SECS of libFuzzer for each target, JOBS at a time.
# It starts from the committed corpus tests/fuzz/corpus/NAME (first each entry once, so known
# inputs are regression tests) and keeps what it finds in BUILD/corpus/NAME.
set -u
. "$(dirname "$0")/sanitizers.sh"
build=$1
shift
[ $# -gt 0 ] || { echo 'fuzz: no targets found' >&2; exit 1; }
secs=${FUZZ_SECS:-10}
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$build/artifacts" "$build/fuzz-logs"

fuzz_one()
{
	local target=$1 name seeds log dict
	name=$(basename "$target")
	name=${name#fuzz_}
	seeds=$top/tests/fuzz/corpus/$name
	log=$build/fuzz-logs/$name.log
	if [ -z "$(ls -A "$seeds" 2>/dev/null)" ]; then
		echo "  FAIL $name: no committed corpus in tests/fuzz/corpus/$name"
		return 1
	fi
	mkdir -p "$build/corpus/$name"
	dict=$top/tests/fuzz/$name.dict
	# -runs=0 would only load: it runs each input of the seeds once.
	if $noaslr "$target" -runs=0 -timeout=30 -rss_limit_mb=2048 \
		-artifact_prefix="$build/artifacts/$name-" "$seeds" >"$log" 2>&1 &&
		$noaslr "$target" -max_total_time="$secs" -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 \
			$([ -f "$dict" ] && echo "-dict=$dict") -artifact_prefix="$build/artifacts/$name-" \
			"$build/corpus/$name" "$seeds" >>"$log" 2>&1; then
		printf '  ok   %-28s %10s runs\n' "$name" \
			"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)"
		return 0
	fi
	tail -n 40 "$log"
	echo "  FAIL $name: log $log, input in $build/artifacts/"
	return 1
}

passed=0 failed=0
export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1
declare -a pids=()
reap()
{
	if wait "${pids[0]}"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	pids=("${pids[@]:1}")
}
for target; do
	fuzz_one "$target" &
	pids+=($!)
	[ ${#pids[@]} -lt "${JOBS:-2}" ] || reap
done
while [ ${#pids[@]} -gt 0 ]; do reap; done
echo "fuzz: $passed passed, $failed failed"
[ $failed = 0 ]
