#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh RELAY_SIM FIRST COUNT: the seeds that ever failed (seeds.txt), then COUNT new ones from FIRST.
# A failing seed is printed; RELAY_SIM --trace SEED shows what happened.  Put it into seeds.txt.
set -u
here=$(cd "$(dirname "$0")" && pwd)
sim=$1 passed=0 failed=0
for seed in $(sed 's/#.*//' "$here/seeds.txt"); do
	if "$sim" "$seed" 1 | grep FAIL; then failed=$((failed + 1)); else passed=$((passed + 1)); fi
done
out=$("$sim" "$2" "$3")
echo "$out" | grep -v '^sim: [0-9]* passed'
set -- $(echo "$out" | sed -n 's/^sim: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
[ $# = 2 ] || { echo "sim: it did not end"; exit 1; }
echo "sim: $((passed + $1)) passed, $((failed + $2)) failed"
[ $((failed + $2)) = 0 ]
