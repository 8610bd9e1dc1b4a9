# SPDX-License-Identifier: MIT
# What the scripts of deployment share; read by them, never run.  They set `program`.

home=$(cd "${BASH_SOURCE[0]%common.sh}../.." && pwd)
# Bytes are bytes: lengths and patterns do not depend on the terminal's language.
export LC_ALL=C

say() { printf '%s: %s\n' "$program" "$*"; }
complain() { printf '%s: %s\n' "$program" "$*" >&2; }
die() { complain "$2"; exit "$1"; }

# One clear sentence for a tool that is not there; with DRY_RUN it is not needed.
need_fly()
{
	[ -z "${DRY_RUN:-}" ] || return 0
	command -v fly >/dev/null ||
		die 69 'fly is not installed: https://fly.io/docs/flyctl/install tells how; then `fly auth login`'
}
need_docker()
{
	[ -z "${DRY_RUN:-}" ] || return 0
	command -v docker >/dev/null ||
		die 69 'docker is not installed: https://docs.docker.com/engine/install tells how (without it: ops/stack.sh up)'
	docker compose version >/dev/null 2>&1 ||
		die 69 'docker has no compose plugin: https://docs.docker.com/compose/install tells how'
}

# Run a command; with DRY_RUN=1 print it instead, as one could type it.
run()
{
	local word line=
	# Without the lock: fly leaves an agent behind that would hold it.
	if [ -z "${DRY_RUN:-}" ]; then "$@" 9<&-; return; fi
	for word; do
		case $word in
		'' | *[!A-Za-z0-9_./:=,@%+-]*) line+=" '${word//\'/\'\\\'\'}'" ;;
		*) line+=" $word" ;;
		esac
	done
	printf '%s\n' "${line# }"
}

# ops/fly.conf and, over it, ops/fly.local.conf: NAME=value lines, the environment over both.
# Read, not sourced: a file of settings must not be able to do anything.
declare -A conf=()
conf_read()
{
	local file line
	for file in "$home/ops/fly.conf" "$home/ops/fly.local.conf"; do
		[ -e "$file" ] || continue
		while IFS= read -r line || [ -n "$line" ]; do
			[[ $line =~ ^(FLY_[A-Z_]+)=([A-Za-z0-9._-]+)[[:blank:]]*$ ]] && conf[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]} && continue
			[[ $line =~ ^[[:blank:]]*(#.*)?$ ]] || die 78 "$file: not NAME=value with letters, digits, ._- : $line"
		done <"$file"
	done
	for line in "${!conf[@]}"; do [ -z "${!line:-}" ] || conf[$line]=${!line}; done
	for line in "${!conf[@]}"; do conf_is_sound "$line" || die 78 "$line: '${conf[$line]}' is ${line_is}"; done
}

# Wherever it came from: these words become arguments, patterns and parts of a query.
conf_is_sound() # NAME; what it must be in line_is
{
	case $1 in
	FLY_COUNT_* | FLY_MEMORY_*) line_is='not a number' && [[ ${conf[$1]} =~ ^[0-9]{1,6}$ ]] ;;
	*) line_is='not letters, digits and -' && [[ ${conf[$1]} =~ ^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$ ]] ;;
	esac
}

# One at a time that changes the apps, from this folder.  Another machine's is held off by Fly's own
# leases.
lock_apps()
{
	[ -z "${DRY_RUN:-}" ] || return 0
	exec 9<"$home/ops/fly.conf" || exit 74
	flock -n 9 || die 75 'another deployment from this folder is under way'
}

app_of() { printf '%s' "${conf[FLY_APP_${1^^}]}"; }

is_role() { case $1 in server | gateway | worker) true ;; *) false ;; esac; }
