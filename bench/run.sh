#!/bin/sh
# SPDX-License-Identifier: MIT
# make bench: every comparison with its peer in the same run.
#
#   bench/run.sh [BINARY] [PART...] [--runs 5] [--seconds 5] [--no-write]
#
#   bench/run.sh stack [...]     the three roles on Kafka, Redis and PostgreSQL: bench/stack.sh
#
# Parts: disk floor echo memory connect relay login; all of them by default.
# Results go into docs/benchmarks.md.  What could not run is named loudly, and
# the exit code is 1 then.
here=$(dirname "$0")
if [ "${1:-}" = stack ]; then
	shift
	exec "$here/stack.sh" "$@"
fi
exec python3 "$here/run.py" "$@"
