#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh [MODEL...]: check the models of the runtime's lock-free parts exhaustively with spin, and see
# that each planted mistake is refuted, by the property it breaks.  A passing search has to be a full
# one, and the passing variants of a model together have to reach each of its statements (a model that
# cannot get anywhere proves nothing).  Last line: `N passed, N failed`.
set -u
cd "$(dirname "$0")" || exit 1
SECONDS_MAX=${MODEL_SECONDS:-120}
MEGABYTES=1500

# model, variant (- : none, + joins several), what must come: pass, or the property that breaks
table='
wake         -                     pass
wake         WEAK_CLEAR            pass
wake         WEAK_SLEEPER          nothing_waits
wake         WEAK_SENDER           nothing_waits
wake         NO_RECHECK            nothing_waits
wake         FLAG_LATE             nothing_waits
wake         LOOK_FIRST            nothing_waits
wake         NO_EXCHANGE           one_write_a_sleep
mailbox      -                     pass
mailbox      UNDO                  one_runner
mailbox      PUSH_FIRST            depth_true
mailbox      SPLIT_SUB             depth_true
mailbox      RESTART               pass
mailbox      RESTART+WEAK_PARK     nothing_stuck
mailbox      RESTART+WEAK_PUSH     nothing_stuck
mailbox      RESTART+NO_PARK_CHECK nothing_stuck
mailbox      RESTART+PARK_BLIND    nothing_stuck
mailbox      RESTART+PLAIN_UNPARK  one_runner
mailbox      REUSE                 pass
mailbox      REUSE+CONTROL_FIRST   in_order
crossing     -                     pass
crossing     NO_FLUSH_SWITCH       causal
crossing     ALONE_FIRST           in_order
crossing     NO_FLUSH_ANY          causal
crossing     NO_FLUSH_WRITE        causal
crossing     FLUSH_LATE            in_order
crossing     NO_TAKE_ENTER         causal
crossing     ANY_DIRECT            causal
crossing     NO_TURN_ROUND         in_order
crossing     NO_FLUSH_POLL         nothing_waits
crossing     ROOM                  pass
crossing     ROOM+BACK_EARLY       given_back
crossing     ROOM+COUNT_FIRST      room_true
crossing     ROOM+SETTLE_FIRST     room_true
crossing     ROOM+LOOK_ONCE        bound
crossing     ROOM+ALONE            pass
crossing     ROOM+ALONE+DEPTH_OLD  room_true
run_queue    -                     pass
run_queue    RELAXED_BOTTOM        taken_once
run_queue    BOTTOM_FIRST          taken_once
run_queue    READ_EARLY            taken_once
run_queue    READ_LATE             taken_once
run_queue    PLAIN_TOP             taken_once
run_queue    FULL_LATE             taken_once
watch        -                     pass
watch        LOOK_FIRST            nothing_waits
watch        PUSH_LATE             nothing_waits
watch        NO_RECHECK            nothing_waits
watch        NO_HAND_ON            nothing_waits
watch        FORGET_OWN            nothing_waits
watch        SEEN_ASLEEP           nothing_waits
watch        ALL_SLEEP             nothing_waits
pool_return  -                     pass
pool_return  STORE_HEAD            all_gathered
pool_return  STORE_TAKE            all_gathered
pool_return  RELAXED_PUSH          all_gathered
pool_return  LINK_LATE             all_gathered
pool_return  WALK_LATE             all_gathered
pool_return  FOREIGN_REST          nothing_lost
pool_return  NO_COLLECT            memory_flat
'

for tool in spin gcc; do
	command -v $tool >/dev/null || { echo "models: $tool is missing: nothing was checked" >&2; exit 1; }
done
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# As many searches at once as there are cores and memory for.
jobs=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 / MEGABYTES))
[ "$jobs" -le "$(nproc)" ] || jobs=$(nproc)
[ "$jobs" -ge 1 ] || jobs=1

# search MODEL VARIANT EXPECTED FOLDER: leaves the checker's words in FOLDER/out, milliseconds in FOLDER/ms
search()
{
	local defines= optimise=-O0 table_bits=20 began
	began=$(date +%s%N)
	mkdir "$4"
	[ "$2" = - ] || defines="-D${2//+/ -D}"
	# Only a search that has to be complete is long.
	[ "$3" = pass ] && optimise=-O1 table_bits=24
	cp "$1.pml" "$4"
	(
		cd "$4" || exit 1
		# shellcheck disable=SC2086
		spin $defines -a "$1.pml" >spin.out 2>&1 || { cat spin.out; exit 1; }
		gcc $optimise -w -DSAFETY -DCOLLAPSE -DMEMLIM=$MEGABYTES -o pan pan.c || exit 1
		# A search that is cut short says so in its output, which full_search looks for.
		timeout "$SECONDS_MAX" ./pan -m100000 -w$table_bits
	) >"$4/out" 2>&1
	rm -f "$4"/pan* "$4"/*.trail
	echo $((($(date +%s%N) - began) / 1000000)) >"$4/ms"
}

is_wanted() { [ -n "$1" ] && { [ ${#wanted[@]} = 0 ] || [[ " ${wanted[*]} " == *" $1 "* ]]; }; }

search_all()
{
	local model variant expected running=0
	while read -r model variant expected; do
		is_wanted "$model" || continue
		[ "$running" -lt "$jobs" ] || wait -n
		[ "$running" -lt "$jobs" ] && running=$((running + 1))
		search "$model" "$variant" "$expected" "$scratch/$model,$variant" &
	done <<<"$table"
	wait
}

full_search()
{
	grep -q '^Full statespace search for:' "$out" &&
		grep -q 'assertion violations[[:space:]]*+' "$out" &&
		grep -q 'invalid end states[[:space:]]*+' "$out" &&
		grep -q 'errors: 0$' "$out" &&
		! grep -Eq 'not completed|too small|MEMLIM|out of memory|truncated|Bit ?state' "$out"
}

verdict()
{
	local broken
	broken=$(sed -n 's/^pan:1: assertion violated (*\([a-z_]*\).*/\1/p' "$out")
	if [ -n "$broken" ]; then
		echo "$broken"
	elif full_search; then
		echo pass
	elif grep -q 'pan:1: invalid end state' "$out"; then
		echo deadlock
	else
		echo incomplete
	fi
}

# Statements that no passing variant so far has reached; ends of processes that never end aside.
unreached()
{
	sed -n '/^unreached in/,/^$/s/^\t\([a-z_]*\.pml:[0-9]*\), state [0-9]*, \("[^"]*"\)$/\1 \2/p' \
		"$out" | grep -v '"-end-"' | sort -u >"$scratch/now"
	if [ -e "$scratch/$1.unreached" ]; then
		comm -12 "$scratch/now" "$scratch/$1.unreached" >"$scratch/both"
		mv "$scratch/both" "$scratch/$1.unreached"
	else
		mv "$scratch/now" "$scratch/$1.unreached"
	fi
}

wanted=("$@")
search_all
passed=0 failed=0
note() # RESULT WORD...
{
	[ "$1" = ok ] && passed=$((passed + 1)) || failed=$((failed + 1))
	printf '  %-4s ' "$1"
	shift
	printf "$@"
}

printf '  %-4s %-12s %-22s %10s %7s  %-18s %s\n' '' model variant states seconds expected got
while read -r model variant expected; do
	is_wanted "$model" || continue
	out=$scratch/$model,$variant/out
	got=$(verdict)
	states=$(sed -n 's/^ *\([0-9][0-9]*\) states, stored.*/\1/p' "$out")
	ms=$(cat "$scratch/$model,$variant/ms")
	[ "$got" = "$expected" ] && result=ok || result=FAIL
	note $result '%-12s %-22s %10s %5d.%d  %-18s %s\n' "$model" "$variant" "${states:-?}" \
		$((ms / 1000)) $((ms / 100 % 10)) "$expected" "$got"
	[ $result = ok ] || tail -n 30 "$out"
	[ "$got" = pass ] && unreached "$model"
done <<<"$table"

for list in "$scratch"/*.unreached; do
	[ -e "$list" ] || continue
	model=$(basename "$list" .unreached)
	[ -s "$list" ] && result=FAIL || result=ok
	note $result '%-12s all statements reached\n' "$model"
	cat "$list"
done
[ $((passed + failed)) -gt 0 ] || { echo "models: there is none named: $*" >&2; exit 1; }
echo "models: $passed passed, $failed failed"
[ $failed = 0 ]
