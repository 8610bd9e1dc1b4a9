#!/bin/bash
# SPDX-License-Identifier: MIT
# run-unit.sh BUILD BINARY...: run Criterion binaries; last line `unit: N passed, N failed`.
# A binary fails by its exit code, by a sanitizer report of any of its children, or by having
# run no test at all.
set -u
. "$(dirname "$0")/sanitizers.sh"
build=$1
shift
[ $# -gt 0 ] || { echo 'unit: no tests found' >&2; exit 1; }
sanitizer_env "$build"
log=$build/unit.log
: >"$log"
passed=0 failed=0

for binary; do
	start=$(date +%s%N)
	out=$(timeout 300 $noaslr "$binary" -j2 --color=never 2>&1)
	code=$?
	printf '== %s\n%s\n' "$binary" "$out" >>"$log"
	read -r tested ok <<<"$(sed -n 's/.*Tested: \([0-9]*\) | Passing: \([0-9]*\).*/\1 \2/p' <<<"$out" | tail -n 1)"
	if reports=$(sanitizer_reports); then
		code=86
	elif [ $code = 86 ] && [ "${tested:-0}" = "${ok:-}" ]; then
		code=0 # Criterion's own leak
	fi
	rm -f "$SAN_LOGS"/*
	# What a machine lacks is said loudly, not passed over; with CI=true such a test fails.
	not_run=$(grep '^NOT RUN' <<<"$out" | sort -u)
	[ -z "$not_run" ] || echo "$not_run" >&2
	[ "${tested:-0}" -gt 0 ] || { [ -n "$not_run" ] && [ "${CI:-}" != true ]; } ||
		{ code=${code/#0/1}; reports="$reports no test ran"; }
	ms=$((($(date +%s%N) - start) / 1000000))
	printf '  %-4s %-44s %3s/%-3s %6d ms\n' "$([ $code = 0 ] && echo ok || echo FAIL)" \
		"${binary#"$build"/}" "${ok:-0}" "${tested:-0}" "$ms"
	if [ $code != 0 ]; then
		printf '%s\n%s\n(exit code %d)\n' "$out" "$reports" "$code" | tee -a "$log"
		bad=$((${tested:-0} - ${ok:-0}))
		failed=$((failed + (bad > 0 ? bad : 1)))
	fi
	passed=$((passed + ${ok:-0}))
done
echo "unit: $passed passed, $failed failed"
[ $failed = 0 ]
