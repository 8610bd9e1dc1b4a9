#!/bin/bash
# SPDX-License-Identifier: MIT
# run-unit.sh BUILD BINARY...: run Criterion binaries, UNIT_JOBS (2) at a time, since many of their tests
# wait; last line `unit: N passed, N failed`.
# A binary fails by its exit code, by a sanitizer report of any of its children, or by having
# run no test at all.
set -u
. "$(dirname "$0")/sanitizers.sh"
build=$1
shift
[ $# -gt 0 ] || { echo 'unit: no tests found' >&2; exit 1; }
log=$build/unit.log
: >"$log"
rm -rf "$build/san-logs"
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM

# run_one BINARY NUMBER: prints its lines at once; counts go to $results/NUMBER
run_one()
{
	local binary=$1 start out code tested ok reports= not_run ms bad
	sanitizer_env "$build" "$2"
	start=$(date +%s%N)
	out=$(timeout 300 $noaslr "$binary" -j2 --color=never 2>&1)
	code=$?
	read -r tested ok <<<"$(sed -n 's/.*Tested: \([0-9]*\) | Passing: \([0-9]*\).*/\1 \2/p' <<<"$out" | tail -n 1)"
	if reports=$(sanitizer_reports); then
		code=86
	elif [ $code = 86 ] && [ "${tested:-0}" = "${ok:-}" ]; then
		code=0 # Criterion's own leak
	fi
	rm -rf "$SAN_LOGS"
	# What a machine lacks is said loudly, not passed over; with CI=true such a test fails.
	not_run=$(grep '^NOT RUN' <<<"$out" | sort -u)
	[ -z "$not_run" ] || echo "$not_run" >&2
	[ "${tested:-0}" -gt 0 ] || { [ -n "$not_run" ] && [ "${CI:-}" != true ]; } ||
		{ code=${code/#0/1}; reports="$reports no test ran"; }
	ms=$((($(date +%s%N) - start) / 1000000))
	bad=0
	if [ $code != 0 ]; then
		bad=$((${tested:-0} - ${ok:-0}))
		[ $bad -gt 0 ] || bad=1
	fi
	printf '== %s\n%s\n' "$binary" "$out" >>"$log"
	[ $code = 0 ] || printf '%s\n(exit code %d)\n' "$reports" "$code" >>"$log"
	# one write, so that lines of two do not mix
	echo "$(printf '  %-4s %-44s %3s/%-3s %6d ms' "$([ $code = 0 ] && echo ok || echo FAIL)" \
		"${binary#"$build"/}" "${ok:-0}" "${tested:-0}" "$ms"
	[ $code = 0 ] || printf '\n%s\n%s\n(exit code %d)' "$out" "$reports" "$code")"
	echo "${ok:-0} $bad" >"$results/$2"
}

number=0
for binary; do
	while [ "$(jobs -pr | wc -l)" -ge "${UNIT_JOBS:-2}" ]; do wait -n; done
	number=$((number + 1))
	run_one "$binary" $number &
done
wait
passed=0 failed=0
for ((i = 1; i <= number; i++)); do
	read -r ok bad <"$results/$i" || { ok=0 bad=1; echo "unit: run $i ended without a result" >&2; }
	passed=$((passed + ok)) failed=$((failed + bad))
done
echo "unit: $passed passed, $failed failed"
[ $failed = 0 ]
