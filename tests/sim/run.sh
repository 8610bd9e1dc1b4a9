#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh RELAY_SIM FIRST COUNT [SEEDS.TXT]: the seeds that ever failed (seeds.txt), then COUNT new ones
# from FIRST.  A failing seed is printed, with the line for seeds.txt and the command that shows what
# happened.  Whether one failed is said by exit codes; what is printed only counts them.
set -u
here=$(cd "$(dirname "$0")" && pwd)
sim=$1 first=$2 count=$3 seeds=${4:-$here/seeds.txt} passed=0 failed=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

failures() { grep -c '^FAIL seed' "$dir/out"; }

advise() # what to do about each that failed
{
	sed -n 's/^FAIL seed \([0-9]*\): \(.*\)/\1 \2/p' "$dir/out" | while read -r seed what; do
		echo "sim: add to tests/sim/seeds.txt:  $seed # $what"
		echo "sim: to see it:  $sim --trace $seed"
	done
}

for seed in $(sed 's/#.*//' "$seeds"); do
	if "$sim" "$seed" 1 >"$dir/out"; then
		passed=$((passed + 1))
		continue
	else
		code=$?
	fi
	failed=$((failed + 1))
	grep -v '^sim: [0-9]* passed' "$dir/out"
	[ "$(failures)" -gt 0 ] || echo "FAIL seed $seed: exit code $code"
	echo "sim: stored in tests/sim/seeds.txt; to see it:  $sim --trace $seed"
done

# New ones, on all cores, at least a hundred on each.
jobs=$(nproc 2>/dev/null || echo 1) at=$first all_codes=0
[ "$jobs" -le $((count / 100)) ] || jobs=$((count / 100))
[ "$jobs" -gt 0 ] || jobs=1
part=0 parts=
while [ $part -lt "$jobs" ]; do
	n=$((count * (part + 1) / jobs - count * part / jobs))
	"$sim" "$at" $n >"$dir/out.$part" &
	parts="$parts $!"
	at=$((at + n)) part=$((part + 1))
done
# in the background they do not hear of Ctrl-C
trap 'kill $parts 2>/dev/null; rm -rf "$dir"; trap - EXIT; exit 130' INT TERM
part=0
for pid in $parts; do
	wait "$pid"
	echo $? >"$dir/code.$part"
	part=$((part + 1))
done
trap - INT TERM

part=0 at=$first
while [ $part -lt "$jobs" ]; do
	n=$((count * (part + 1) / jobs - count * part / jobs))
	mv "$dir/out.$part" "$dir/out"
	code=$(cat "$dir/code.$part")
	[ "$code" = 0 ] || all_codes=1
	grep -v '^sim: [0-9]* passed' "$dir/out"
	advise
	new=$(failures)
	if grep -q '^sim: [0-9]* passed' "$dir/out"; then
		[ "$code" = 0 ] || [ "$new" -gt 0 ] || { echo "sim: exit code $code, after the last seed"; new=1; }
		passed=$((passed + n - new))
	elif [ "$new" -gt 0 ]; then # the last of them ended it
		last=$(sed -n 's/^FAIL seed \([0-9]*\):.*/\1/p' "$dir/out" | tail -n 1)
		echo "sim: it ended there: the seeds after $last, up to $((at + n - 1)), did not run"
		passed=$((passed + last - at + 1 - new))
	else
		echo "sim: exit code $code, and no seed was named"
		new=1
	fi
	failed=$((failed + new))
	at=$((at + n)) part=$((part + 1))
done
echo "sim: $passed passed, $failed failed"
[ $failed = 0 ] && [ $all_codes = 0 ]
