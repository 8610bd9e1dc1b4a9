#!/bin/bash
# SPDX-License-Identifier: MIT
# run-stress.sh BUILD BINARY...: run plain test programs that end with `N passed, N failed`.
set -u
. "$(dirname "$0")/sanitizers.sh"
build=$1
shift
[ $# -gt 0 ] || { echo 'stress: no programs found' >&2; exit 1; }
sanitizer_env "$build"
passed=0 failed=0

for binary; do
	start=$(date +%s%N)
	out=$(timeout "${STRESS_TIMEOUT:-600}" $noaslr "$binary" 2>&1)
	code=$?
	ms=$((($(date +%s%N) - start) / 1000000))
	read -r p f <<<"$(tail -n 1 <<<"$out" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')"
	reports=$(sanitizer_reports) && code=86
	rm -f "$SAN_LOGS"/*
	if [ -z "${p:-}" ] || [ -z "${f:-}" ]; then
		code=${code/#0/1} reports="$reports no line 'N passed, N failed' at the end"
	elif [ "$f" != 0 ] || [ "$p" = 0 ]; then
		code=${code/#0/1}
	fi
	printf '  %-4s %-44s %8s %6d ms\n' "$([ $code = 0 ] && echo ok || echo FAIL)" \
		"${binary#"$build"/}" "${p:-0}" "$ms"
	if [ $code != 0 ]; then
		printf '%s\n%s\n(exit code %d)\n' "$out" "$reports" "$code"
		failed=$((failed + (${f:-0} > 0 ? ${f:-0} : 1)))
	fi
	passed=$((passed + ${p:-0}))
done
echo "stress: $passed passed, $failed failed"
[ $failed = 0 ]
