#!/bin/bash
# SPDX-License-Identifier: MIT
# run-stack.sh: a whole deployment on this machine: the backends of ops/stack.sh, 2 gateways, 2 workers,
# 2 servers; a probe from one server to the other; then it serves until Ctrl-C.  --once: ends after
# the probe.  Data and logs lie in DIR (default: stack/), which stays; ops/stack.sh down --wipe ends it.
set -u
umask 077
home=$(cd "$(dirname "$0")/.." && pwd)
program=${CONSTRUCT:-$home/build/release/construct}
once=no dir=
while [ $# -gt 0 ]; do
	case $1 in
	--once) once=yes ;;
	-h | --help) sed -n 's/^# //p' "$0" | tail -n +2; exit 0 ;;
	-*) echo "run-stack: no option '$1' (there is --once)" >&2; exit 2 ;;
	*) [ -z "$dir" ] || { echo "run-stack: one folder is enough: $1" >&2; exit 2; }; dir=$1 ;;
	esac
	shift
done
dir=$(realpath -m "${dir:-$home/stack}")
run=$dir/roles
pids=()

stop_all()
{
	local code=0 pid
	trap - EXIT INT TERM
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null
	for pid in "${pids[@]}"; do
		wait "$pid" || { code=1; echo "run-stack: a role ended with an error; logs: $run" >&2; }
	done
	"$home/ops/stack.sh" down "$dir" >/dev/null || code=1
	[ $# -gt 0 ] && code=$1
	exit $code
}

fail() { echo "run-stack: $*" >&2; stop_all 1; }

# start ROLE NUMBER [NAME=VALUE...]
start()
{
	local role=$1 name=$1-$2
	shift 2
	rm -f "$run/$name.port" "$run/$name.port.health"
	env "$@" PORT_FILE="$run/$name.port" HEALTH_PORT=0 BIND=127.0.0.1 LOG_FORMAT=text TOP_SOCKET="$run/$name.sock" \
		"$program" "$role" >"$run/$name.log" 2>&1 &
	pids+=($!)
}

await_port()
{
	local until=$((SECONDS + 120))
	until [ -s "$run/$1.port" ]; do
		[ $SECONDS -lt $until ] && kill -0 "$2" 2>/dev/null ||
			fail "$1 does not start: $(tail -n 1 "$run/$1.log")"
		sleep 0.05
	done
}

port_of() { cat "$run/$1.port"; }

# A role is ready when each backend that it needs answers.
await_ready()
{
	local name=$1 port until=$((SECONDS + 120)) answer=
	port=$(cat "$run/$name.port.health" 2>/dev/null || port_of "$name")
	until case $answer in *'"ready"'*) true ;; *) false ;; esac do
		[ $SECONDS -lt $until ] || fail "$name is not ready: ${answer:-no answer}"
		answer=$({ exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'GET /health/ready HTTP/1.0\r\n\r\n' >&3 && cat <&3; } 2>/dev/null)
		sleep 0.1
	done
}

mkdir -p "$run" || exit 1
"$home/ops/stack.sh" up "$dir" || exit
trap stop_all EXIT
trap 'stop_all 0' INT TERM
set -a
. "$dir/env"
set +a
"$program" migrate >"$run/migrate.log" 2>&1 || fail "construct migrate failed: $run/migrate.log"
for n in 1 2; do start gateway $n PORT=0; done
for n in 1 2; do start worker $n; done
await_port gateway-1 "${pids[0]}"
await_port gateway-2 "${pids[1]}"
gateways=http://127.0.0.1:$(port_of gateway-1),http://127.0.0.1:$(port_of gateway-2)
start server 1 PORT="${PORT:-8080}" MESSAGE_GATEWAY_URL="$gateways"
start server 2 PORT="$((${PORT:-8080} > 0 ? ${PORT:-8080} + 2 : 0))" MESSAGE_GATEWAY_URL="$gateways"
n=0
for name in gateway-1 gateway-2 worker-1 worker-2 server-1 server-2; do
	await_port $name "${pids[$n]}"
	n=$((n + 1))
	await_ready $name
done
first=ws://127.0.0.1:$(port_of server-1)
second=ws://127.0.0.1:$(port_of server-2)
echo "2 gateways, 2 workers, 2 servers run: $first/ws $second/ws; logs in $run"
"$program" probe "$first" "$second" || fail 'the probe failed'
[ $once = yes ] && stop_all
echo "Try it:  build/release/construct probe $first $second    (Ctrl-C ends all)"
wait -n "${pids[@]}"
fail "a role ended; logs in $run"
