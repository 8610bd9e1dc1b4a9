#!/bin/bash
# SPDX-License-Identifier: MIT
# bench/run.sh stack: one server, one gateway and one worker on a Kafka, PostgreSQL and Redis of their
# own in a private folder, under load, beside a floor program that does nothing but the same calls.
#
#   bench/stack.sh [PART...] [--runs 5] [--seconds 10] [...]     (--help: parts and options)
#
# STACK=DIR: on that stack of ops/stack.sh, which is not stopped and keeps the users (bench_...) of the
# run.  Needs: make all bench-build.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
case " $* " in *' -h '* | *' --help '*) exec python3 "$here/stack.py" --help ;; esac
if [ -n "${STACK:-}" ]; then
	exec python3 "$here/stack.py" --stack "$STACK" "$@"
fi
work=$(mktemp -d)
chmod 711 "$work" # the user of PostgreSQL must get through
end()
{
	"$root/ops/stack.sh" down --wipe "$work/stack" >/dev/null 2>&1
	rm -rf "$work"
}
trap end EXIT
trap 'kill "$child" 2>/dev/null; wait "$child"; exit 130' INT TERM
child=
"$root/ops/stack.sh" up "$work/stack" || exit
python3 "$here/stack.py" --stack "$work/stack" "$@" &
child=$!
wait "$child"
