# SPDX-License-Identifier: MIT
# fetch WHAT COMMAND...: a download, tried three times with a time limit each, since networks hiccup; says
# in one sentence what could not be had.  Plain sh.
#
# venv_runs DIR: its Python is there and ours to run; the folder may be of another user, or of a Python
# that was replaced since.
venv_runs() { "$1/bin/python" -c 'import pip' 2>/dev/null; }

fetch()
{
	local what=$1 pause
	shift
	for pause in 5 15 0; do
		timeout --foreground -k 10 "${FETCH_TIMEOUT:-180}" "$@" </dev/null && return 0
		[ $pause = 0 ] || echo "$what: not fetched (exit code or time limit); once more in $pause s" >&2
		sleep $pause
	done
	echo "$what: could not be fetched in 3 tries of at most ${FETCH_TIMEOUT:-180} s; the command: $*" >&2
	return 1
}
