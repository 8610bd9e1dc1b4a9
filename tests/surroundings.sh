# SPDX-License-Identifier: MIT
# What the tests need around them, whoever runs them and wherever; read by run-all.sh.

# A program can be written there and run, and there is room for the files of a Kafka and a PostgreSQL.
serves_as_tmp()
{
	local probe code
	[ "$(df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')" -gt 600000 ] 2>/dev/null || return 1
	probe=$(mktemp -p "$1" 2>/dev/null) || return 1
	printf '#!/bin/sh\n' >"$probe" && chmod +x "$probe" && "$probe" 2>/dev/null
	code=$?
	rm -f "$probe"
	return $code
}

# pip, npm, Maven and Go keep what they fetch in HOME; a container's user often has none, or /.
surroundings()
{
	local place
	if [ -z "${HOME:-}" ] || [ ! -d "$HOME" ] || [ ! -w "$HOME" ]; then
		echo "HOME=${HOME:-} cannot be written: $PWD/build/home in its place"
		export HOME=$PWD/build/home
		mkdir -p "$HOME"
		export MAVEN_OPTS="${MAVEN_OPTS:-} -Duser.home=$HOME" # Java looks into the passwd file
	fi
	# Short names come first: a Unix socket's path has 107 characters at most.
	for place in "${TMPDIR:-/tmp}" /var/tmp "$PWD/build/tmp"; do
		[ "$place" != "$PWD/build/tmp" ] || mkdir -p "$place"
		serves_as_tmp "$place" || continue
		[ "$place" = "${TMPDIR:-/tmp}" ] || echo "${TMPDIR:-/tmp} runs no programs or is full: TMPDIR=$place in its place"
		export TMPDIR=$place
		break
	done
	# A clone made by another user than ours (a runner outside, root in the container): git reads it all the same.
	if ! git rev-parse HEAD >/dev/null 2>&1; then
		export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD
	fi
	unset XDG_RUNTIME_DIR TERM COLUMNS LINES # nothing depends on a terminal
}
