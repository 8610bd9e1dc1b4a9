#!/bin/sh
# SPDX-License-Identifier: MIT
# make bench: every comparison with its peer in the same run.
#
#   bench/run.sh [BINARY] [PART...] [--runs 5] [--seconds 5] [--no-write]
#
# Parts: disk floor echo memory connect relay login; all of them by default.
# Results go into docs/benchmarks.md.  What could not run is named loudly, and
# the exit code is 1 then.
exec python3 "$(dirname "$0")/run.py" "$@"
