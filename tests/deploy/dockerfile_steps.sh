#!/bin/bash
# SPDX-License-Identifier: MIT
# dockerfile_steps.sh: the steps of ops/Dockerfile by hand in a bare Debian (debootstrap), where there
# is no Docker; then the three roles start from the result on a real stack, as a container would start
# them (user 10001, root read-only, no variable but theirs), and a message crosses.  Root; needs
# debootstrap and ops/install-deps.sh stack; takes some minutes and the network.
#
# DEPLOY_IMAGE=DIR: where the bare Debian and the output of the steps are kept (default
# build/deploy/image).  IMAGE=DIR: the root that the steps made before; only the rest is done.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/bare_debian.sh"
need_tools setpriv
keep=${DEPLOY_IMAGE:-$root/build/deploy/image}
mkdir -p "$keep"
work=$(mktemp -d)
chmod 711 "$work" # the user of PostgreSQL must get through
image=$work/image run=$work/run
passed=0 failed=0
declare -A pids=()

end()
{
	local pid
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
	[ ! -e "$work/stack" ] || "$root/ops/stack.sh" down --wipe "$work/stack" >/dev/null 2>&1
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

check() # NAME COMMAND...
{
	local name=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		passed=$((passed + 1)) && echo "  ok   $name"
	else
		failed=$((failed + 1)) && echo "  FAIL $name" && tail -n 20 "$work/out"
	fi
}
finish() { echo "image: $passed passed, $failed failed"; [ $failed = 0 ]; exit; }

# --- build -----------------------------------------------------------------------------------

build_image()
{
	local began
	bare_debian
	began=$SECONDS
	python3 "$here/dockerfile.py" "$keep/base" "$image" >"$keep/build.log" 2>&1
	check 'every step of the Dockerfile runs' test $? = 0 -a -x "$image/usr/local/bin/construct"
	echo "       $((SECONDS - began)) s; its output: $keep/build.log"
	[ $failed = 0 ] || { tail -n 20 "$keep/build.log"; finish; }
}
[ -z "${IMAGE:-}" ] || image=$(realpath "$IMAGE")
[ -n "${IMAGE:-}" ] || build_image

# --- look ------------------------------------------------------------------------------------

has_none() { local n; for n; do [ ! -e "$image/usr/bin/$n" ] || { echo "$n is there"; return 1; }; done; }
has() { local n; for n; do chroot "$image" sh -c "command -v $n" || return; done; }
no_setting_of_ours() { ! find "$image/app" "$image/src" -name '.env*' -o -name '*.pem' 2>/dev/null | grep .; }
check 'no compiler and no make are in it' has_none gcc cc clang make git
check 'nc, psql, redis-cli and the four programs are in it' has nc psql redis-cli construct construct-server message-gateway delivery-worker
check 'migrations are in /app' test -e "$(ls "$image"/app/migrations/*.sql | head -n 1)"
check 'no file of settings or keys is in it' no_setting_of_ours

# --- run -------------------------------------------------------------------------------------

# The stack's PostgreSQL is the host's, so nothing here touches /var/run.
"$root/ops/stack.sh" up "$work/stack" >"$work/stack.log" 2>&1 || { cat "$work/stack.log"; exit 1; }
mapfile -t vars < <(sed '/^#/d; /^$/d' "$work/stack/env")
mkdir "$run" && chown 10001:10001 "$run"

# inside NAME=VALUE... COMMAND...: as a container: its user, its variables, a root that is read-only,
# a /tmp that is not.
inside()
{
	local words=()
	while [[ $1 == *=* ]]; do words+=("$1"); shift; done
	exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${vars[@]}" "${words[@]}" unshare --mount /bin/sh -c '
		root=$1 run=$2; shift 2
		mount --bind "$root" "$root" && mount --bind "$run" "$root/tmp" && mount -t proc proc "$root/proc" &&
			mount -o remount,bind,ro "$root" && cd "$root" &&
			exec chroot "$root" env -C /app setpriv --no-new-privs --bounding-set=-all --reuid=10001 \
				--regid=10001 --clear-groups "$@"' sh "$image" "$run" "$@"
}

await() { local until=$((SECONDS + 60)); until [ -s "$run/$1" ]; do [ $SECONDS -lt $until ] || return 1; sleep 0.1; done; }
start() # ROLE PROGRAM NAME=VALUE...
{
	local role=$1 program=$2
	shift 2
	(inside PORT_FILE=/tmp/$role.port PORT=0 HEALTH_PORT=0 BIND=127.0.0.1 "$@" "$program") >"$run/$role.log" 2>&1 &
	pids[$role]=$!
	await "$role.port" || { cat "$run/$role.log"; return 1; }
}
port() { cat "$run/$1.port${2:-}"; }
healthy() # ROLE NAME=VALUE...: by the check of the image
{
	local until=$((SECONDS + 60))
	shift
	until (inside "$@" /app/healthcheck.sh); do [ $SECONDS -lt $until ] || return 1; sleep 0.5; done
}
ends() { local pid=${pids[$1]}; kill -TERM "$pid" && wait "$pid" && unset "pids[$1]"; }
read_only() { (inside touch /app/x) 2>&1 | grep 'Read-only file system'; }

check 'its root cannot be written to' read_only
check 'construct migrate' eval '(inside construct migrate)'
check 'psql reaches the database' eval '(inside sh -c "psql \"\$DATABASE_URL\" -c \"SELECT 1\"")'
check 'redis-cli reaches Redis' eval '(inside sh -c "redis-cli -u \"\$REDIS_URL\" PING" | grep PONG)'
check 'message-gateway starts' start gateway message-gateway
check 'delivery-worker starts' start worker delivery-worker
check 'construct-server starts' start server construct-server MESSAGE_GATEWAY_URL="http://127.0.0.1:$(port gateway)"
check 'the health check finds the gateway ready' healthy gateway HEALTH_PORT="$(port gateway .health)" PORT=1
check 'the health check finds the worker ready' healthy worker HEALTH_PORT="$(port worker)" PORT=1
check 'the health check finds the server ready' healthy server HEALTH_PORT=1 PORT="$(port server)"
check 'a message crosses' eval '(inside construct probe ws://127.0.0.1:'"$(port server)"')'
for role in server gateway worker; do check "the $role ends by SIGTERM" ends $role; done
finish
