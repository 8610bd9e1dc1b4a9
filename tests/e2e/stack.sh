#!/bin/bash
# SPDX-License-Identifier: MIT
# stack.sh BINARY [run.sh's arguments]: the end-to-end tests on two servers, two gateways and two workers,
# with a real Kafka, PostgreSQL and Redis of their own in a private folder.  STACK=DIR: on that stack,
# which is not stopped.  E2E_KAFKA=mock, or no Kafka to be had: librdkafka's mock cluster in its place, said
# in one loud line.  Last line as run.sh's.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=$(realpath "${1:?usage: stack.sh BINARY [-k TEXT]...}")
shift
if [ -n "${STACK:-}" ]; then
	exec "$here/run.sh" "$binary" --stack "$STACK" "$@"
fi
work=$(mktemp -d)
chmod 711 "$work" # the user of PostgreSQL must get through
mock=
end()
{
	[ -z "$mock" ] || kill "$mock" 2>/dev/null
	"$root/ops/stack.sh" down --wipe "$work/stack" >/dev/null 2>&1
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM
up() { "$root/ops/stack.sh" up "$@" "$work/stack"; }
up_with_mock()
{
	local program until=$((SECONDS + 20))
	program=$(dirname "$binary")/tests/stack/kafka_mock
	up --only pg,redis || exit
	"$program" "$work/mock" &
	mock=$!
	until [ -s "$work/mock" ]; do
		[ $SECONDS -lt $until ] && kill -0 $mock 2>/dev/null || { echo "$program does not start" >&2; exit 1; }
		sleep 0.1
	done
	sed -i '/^KAFKA_/d' "$work/stack/env"
	printf 'KAFKA_ENABLED=true\nKAFKA_BROKERS=%s\n' "$(cat "$work/mock")" >>"$work/stack/env"
	echo "NOT RUN on a real Kafka: $1; this is librdkafka's mock cluster" >&2
}
if [ "${E2E_KAFKA:-}" = mock ]; then
	up_with_mock 'E2E_KAFKA=mock'
else
	up
	case $? in
	0) ;;
	69) up_with_mock 'none can be had here (above)' ;;
	*) exit 1 ;;
	esac
fi
"$here/run.sh" "$binary" --stack "$work/stack" "$@"
