#!/bin/bash
# SPDX-License-Identifier: MIT
# run-all.sh [STAGE...]: what `make test` and CI run.  Stages in order, each timed, the first
# failure ends it; nothing is skipped silently.  Last line: `N passed, N failed`.
# STAGE_TIMEOUT=n: seconds for each stage (default: limit_of).  TOTAL_TIMEOUT=n: for all of them; CI, which
# would end us without a word after 45 minutes, gets 44.
set -u
cd "$(dirname "$0")/.." || exit 1
# A make above us would hand its job server and flags to the makes below.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CONF CC WERROR
make=${MAKE:-make}
jobs=${JOBS:-$(nproc)}
logs=build/test-logs
. tests/sanitizers.sh
. tests/surroundings.sh
surroundings

mk() { "$make" --no-print-directory -j"$jobs" WERROR=1 "$@"; }

script()
{
	[ -x "$1" ] || { echo "$1 is missing or not executable: this stage cannot be skipped"; return 1; }
	"$@"
}

stage_deps() { ops/install-deps.sh run test; }
stage_build-gcc() { mk CC=gcc all library tests-build stress-build bench-build; }
stage_build-clang() { mk CC=clang all library tests-build; }
stage_headers() { mk check-headers; }
stage_lint() { mk lint; }
stage_docs() { script tests/docs.sh build/release; }
stage_install() { mk check-install; }
stage_unit-asan() { mk CONF=asan all tests-build && mk CONF=asan check; }
stage_unit-release() { UNIT_JOBS=4 mk check; } # without sanitizers they mostly wait
stage_stress-tsan() # and without it: TSan's builds spell out what Concurrency Kit does
{
	local cc

	for cc in clang gcc; do
		mk CONF=tsan CC=$cc stress-build && mk CONF=tsan CC=$cc stress || return 1
	done
	mk stress
}
stage_sim() # a failure prints its seed: relay_sim --trace SEED
{
	mk CONF=asan sim-selftest && mk CONF=asan sim SEEDS=300 &&
		mk sim-selftest && mk sim SEEDS=10000 && mk mutants
}
stage_models() { mk models; }
stage_fuzz() { mk fuzz; }
stage_e2e()
{
	local code
	mk CONF=asan all || return 1
	sanitizer_env build/asan
	script tests/e2e/run.sh build/asan/construct
	code=$?
	sanitizer_reports && { echo 'e2e: the sanitizers reported (above)'; return 1; }
	return $code
}
# Can a real Kafka be had on this machine?  Its jars come from Maven.
has_kafka()
{
	local dir code
	dir=$(mktemp -d)
	chmod 711 "$dir"
	ops/stack.sh up --only kafka "$dir/stack"
	code=$?
	ops/stack.sh down --wipe "$dir/stack" >/dev/null 2>&1
	rm -rf "$dir"
	[ $code = 69 ] || return 0
	echo "NOT RUN: $1: no Kafka can be had here (above)" >&2
	return 1
}
stage_stack() # the real backends; what is e2e on one process is so on a deployment
{
	ops/install-deps.sh stack && mk all tests-build || return 1
	if has_kafka 'stack-test, the parts that need it, and end-to-end on a real Kafka (the mock cluster instead)'; then
		mk stack-test || return 1
	fi
	script tests/e2e/stack.sh build/release/construct
}
stage_grpc() { mk grpc-test; }
stage_deploy() { mk all && mk deploy-test; }
stage_conformance() { mk all && script tests/conformance/run.sh build/release/construct; }
stage_fault() # hostile input goes to the sanitizer build
{
	mk all && mk CONF=asan all && script tests/fault/run.sh build/release/construct
}
# Fuzzing goes by the clock, and the other two mostly wait: at once.
stage_beside()
{
	local name pids=() i=0 p f passed=0 failed=0 code=0 names=(fuzz deploy conformance)

	mk all && mk CONF=fuzz fuzz-build || return 1
	for name in "${names[@]}"; do
		JOBS=1 "$0" --stage "$name" >"$logs/$name.log" 2>&1 &
		pids+=($!)
	done
	for name in "${names[@]}"; do
		wait "${pids[i++]}" || { code=1; echo "the stage $name failed:"; }
		cat "$logs/$name.log"
		read -r p f <<<"$(counts_of "$logs/$name.log")"
		passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0}))
	done
	echo "beside: $passed passed, $failed failed"
	return $code
}
# 3 minutes here, with one seed, so that a failure is the change's; 15 minutes and any seed by `make test-faults`
stage_stack-fault()
{
	ops/install-deps.sh stack && mk all || return 1
	has_kafka 'the fault test on a deployment' || { echo '0 passed, 0 failed'; return 0; }
	FAULT_SEED=${FAULT_SEED:-21} FAULT_SECS=${FAULT_SECS:-180} script tests/fault/stack.sh build/release/construct
}

all='deps build-gcc build-clang headers lint docs install unit-asan unit-release models stress-tsan sim beside e2e stack grpc fault stack-fault'
parts='fuzz deploy conformance' # of a stage

# Three times and more of what a stage takes on two cores, so that what hangs is named while there is time.
limit_of()
{
	case $1 in
	build-* | unit-asan | stress-tsan | sim | stack) echo 1200 ;;
	*) echo 900 ;;
	esac
}
total=${TOTAL_TIMEOUT:-$([ "${CI:-}" = true ] && echo 2640 || echo 0)}

# What a log's last line of that kind counts.
counts_of() { sed -n 's/.*\b\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\1 \2/p' "$1" | tail -n 1; }

# The seconds that a stage gets: its limit, or what is left for all.
seconds_for()
{
	local limit=${STAGE_TIMEOUT:-$(limit_of "$1")} left=$((total + began - SECONDS))
	if [ "$total" -gt 0 ] && [ $left -lt "$limit" ]; then limit=$((left > 0 ? left : 1)); fi
	echo "$limit"
}

# The processors' time so far in ticks: what was used, and all.  A stage that leaves them idle can go beside another.
ticks() { awk '/^cpu / { for (i = 2; i <= 9; i++) all += $i; print all - $5 - $6, all }' /proc/stat; }

# What still runs of a stage just before its time is over: the last of these hangs.
tell_of_hang() # PROCESS GROUP, SECONDS
{
	sleep $(($2 > 2 ? $2 - 2 : 0)) &
	trap "kill $! 2>/dev/null; exit" TERM
	wait $!
	echo "after $2 s these still run:"
	ps -e -o pgid=,pid=,ppid=,etimes=,args= | awk -v g="$1" '$5 != "awk" && ($1 == g || index($0, "'"$PWD"'/build/")) { print "  " substr($0, 1, 200) }'
}

# The parent calls itself for one stage, so that a stage is one process that can be timed out.
if [ "${1:-}" = --stage ]; then
	"stage_$2"
	exit
fi

[ $# -gt 0 ] && want="$*" || want=$all
for s in $want; do
	case " $all $parts " in
	*" $s "*) ;;
	*) echo "in beside: $parts" >&2; echo "no stage '$s'; there are: $all" >&2; exit 2 ;;
	esac
done

mkdir -p "$logs"
passed=0 failed=0 began=$SECONDS pid= code=0
stop() { [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null; echo; echo "interrupted: $passed passed, $failed failed"; exit 130; }
trap stop INT TERM
declare -a times=()

for s in $want; do
	log=$logs/$s.log
	printf '\n======== %s ========\n' "$s"
	start=$SECONDS
	read -r used0 all0 <<<"$(ticks)"
	: >"$log"
	limit=$(seconds_for "$s")
	# A minute between TERM and KILL: backends have to be stopped.
	MAKE=$make JOBS=$jobs timeout -k 60 "$limit" "$0" --stage "$s" >"$log" 2>&1 </dev/null &
	pid=$!
	tell_of_hang $pid "$limit" >>"$log" 2>&1 &
	teller=$!
	tail -n +1 -s 0.2 -f --pid=$pid "$log" &
	shown=$!
	wait $pid
	code=$?
	pid=
	kill $teller 2>/dev/null
	wait $teller 2>/dev/null
	wait $shown 2>/dev/null
	secs=$((SECONDS - start))
	read -r p f <<<"$(counts_of "$log")"
	p=${p:-$((code == 0))} f=${f:-0}
	[ $code = 0 ] && [ "$f" -gt 0 ] && code=1
	[ $code != 0 ] && [ "$f" = 0 ] && f=1
	passed=$((passed + p)) failed=$((failed + f))
	read -r used all_ticks <<<"$(ticks)"
	busy=$((100 * (used - used0) / (all_ticks - all0 + 1)))
	times+=("$(printf '%-14s %5d s  %3d %% busy  %s' "$s" $secs $busy "$([ $code = 0 ] && echo ok || echo FAILED)")")
	[ $code = 0 ] || break
done

printf '\n======== summary ========\n'
printf '  %s\n' "${times[@]}"
printf '  %-14s %5d s\n' total $((SECONDS - began))
if [ $code != 0 ]; then
	why="exit code $code"
	[ $code != 124 ] || why='a time limit inside it'
	[ $secs -lt "$limit" ] || why="took longer than $limit s"
	[ "$total" = 0 ] || [ $((SECONDS - began)) -lt "$total" ] || why="the $total s for all stages are over; $why"
	echo "FAILED at stage '$s' ($why); its output: $log; again: make test STAGES=$s"
elif [ "$want" != "$all" ]; then
	echo "only these stages ran: $want"
fi
echo "$passed passed, $failed failed"
[ $code = 0 ]
