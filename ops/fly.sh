#!/bin/bash
# SPDX-License-Identifier: MIT
# fly.sh ACTION [ROLE]: what the Makefile's deploy-, status-, logs-, scale-, rollback- and ssh-
# targets do.  Names, region and sizes: ops/fly.conf.  DRY_RUN=1 prints each command.
set -u +x +a
program=fly.sh
. "${BASH_SOURCE[0]%"${0##*/}"}deploy/common.sh"
. "$home/ops/deploy/secrets.sh"

usage()
{
	cat >&2 <<-'EOT'
		usage: ops/fly.sh ACTION [server|gateway|worker|autoscaler|all]
		  deploy ROLE|all     all: migrations, gateway, worker, server; ends at the first that fails
		  status ROLE|all     all: each, then an exit code that counts for all
		  logs ROLE, ssh ROLE
		  scale ROLE          COUNT=machines  SIZE=shared-cpu-2x  MEMORY=megabytes
		  rollback ROLE       VERSION=number of a release; without it the one before the last
		EOT
	exit 2
}

# The file of a role.  Paths are those of the project's folder, where we go.
file_of() { case $1 in server) echo ops/fly.toml ;; *) echo "ops/fly.$1.toml" ;; esac; }

# What differs from the file when ops/fly.conf says so.
deploy_flags()
{
	local role=$1
	flags=(-a "$(app_of "$role")" -c "$(file_of "$role")" --primary-region "${conf[FLY_REGION]}" --ha=false --yes)
	case $role in
	server) flags+=(--env "MESSAGE_GATEWAY_URL=http://${conf[FLY_APP_GATEWAY]}.internal:8080") ;;
	gateway | worker) flags+=(--no-public-ips) ;;
	autoscaler)
		flags+=(--no-public-ips --env "FAS_ORG=${conf[FLY_ORG]}" --env "FAS_APP_NAME=${conf[FLY_APP_SERVER]}"
			--env "FAS_REGIONS=${conf[FLY_REGION]}"
			--env "FAS_PROMETHEUS_ADDRESS=https://api.fly.io/prometheus/${conf[FLY_ORG]}"
			--env "FAS_PROMETHEUS_QUERY=sum(construct_connections{app='${conf[FLY_APP_SERVER]}'})")
		return ;;
	esac
	flags+=(--vm-size "${conf[FLY_SIZE_${role^^}]}" --vm-memory "${conf[FLY_MEMORY_${role^^}]}")
}

# As many machines as are wanted at least; more of them are left alone.
fill_up()
{
	local role=$1 app list have want
	app=$(app_of "$role")
	want=${conf[FLY_COUNT_${role^^}]}
	[ "$want" -gt 1 ] || return 0
	if [ -n "${DRY_RUN:-}" ]; then
		have=0
	else
		list=$(fly machine list -a "$app" --quiet </dev/null 9<&-) || return
		have=$(grep -cE '^[[:blank:]]*[0-9a-f]{8,}' <<<"$list")
	fi
	[ "$have" -ge "$want" ] || run fly scale count "$want" -a "$app" --region "${conf[FLY_REGION]}" --yes
}

deploy()
{
	local role=$1 flags
	deploy_flags "$role"
	# `fly deploy` runs the migrations, waits until the checks pass, and fails when they do not.
	case $role in
	autoscaler) run fly deploy "${flags[@]}" ;;
	*)
		run fly deploy "${flags[@]}" --build-arg "VERSION=$(ops/version.sh)" && fill_up "$role" ;;
	esac
}

# Callers before those they call would find nobody, so the server comes last.  The migrations are
# the gateway's release command, so they come first.
deploy_all()
{
	local role
	for role in gateway worker server; do
		[ -n "${DRY_RUN:-}" ] || say "$role: $(app_of $role)"
		deploy $role || die 1 "$role is not healthy: stopped here, later apps are as they were (make logs-$role, make rollback-$role)"
	done
}

status_all()
{
	local role bad=0
	for role in server gateway worker; do
		run fly status -a "$(app_of $role)" || bad=1
	done
	return $bad
}

scale()
{
	local role=$1 app
	app=$(app_of "$role")
	[ -n "${COUNT:-}${SIZE:-}${MEMORY:-}" ] || die 2 "what to? make scale-$role COUNT=3, SIZE=shared-cpu-2x, MEMORY=2048, or several"
	[[ ${COUNT:-1} =~ ^[0-9]+$ && ${MEMORY:-1} =~ ^[0-9]+$ && ${SIZE:-a} =~ ^[a-z0-9-]+$ ]] || die 2 'COUNT and MEMORY (megabytes) are numbers, SIZE is a name of fly platform vm-sizes'
	if [ "$role" = worker ] && [ -n "${COUNT:-}" ] && [ "$COUNT" -lt 2 ]; then
		die 2 'two workers at least: with one, messages wait while it restarts'
	fi
	if [ -n "${SIZE:-}" ]; then
		run fly scale vm "$SIZE" -a "$app" ${MEMORY:+--vm-memory "$MEMORY"} || return
	elif [ -n "${MEMORY:-}" ]; then
		run fly scale memory "$MEMORY" -a "$app" || return
	fi
	[ -z "${COUNT:-}" ] || run fly scale count "$COUNT" -a "$app" --yes
}

# VERSION and image of the releases, the newest first, from `fly releases --json`.
releases()
{
	fly releases -a "$1" --image --json </dev/null 9<&- | tr '{},' '\n\n\n' | awk '
		/^[ \t]*"Version":/ { version = $2 + 0; status = "" }
		/^[ \t]*"Status":/ { status = $2 }
		/^[ \t]*"ImageRef":/ { gsub(/"/, "", $2); if ($2 != "" && status !~ /failed|running|pending|interrupted/) print version, $2 }'
}

# `fly releases rollback` is no more: the image of the earlier release is deployed again.  Its
# migrations are not asked for: the schema never goes back, and each is made for the release before.
rollback()
{
	local role=$1 app list image now version flags
	app=$(app_of "$role")
	if [ -n "${DRY_RUN:-}" ]; then
		run fly releases -a "$app" --image --json
		deploy_flags "$role"
		run fly deploy "${flags[@]}" --image "IMAGE-OF-RELEASE-${VERSION:-BEFORE}" --skip-release-command
		return
	fi
	list=$(releases "$app")
	[ -n "$list" ] || die 1 "$app has no release to go back to"
	now=$(head -n 1 <<<"$list")
	if [ -n "${VERSION:-}" ]; then
		version=${VERSION#v}
		image=$(awk -v v="$version" '$1 == v { print $2; exit }' <<<"$list")
		[ -n "$image" ] || die 1 "$app has no complete release $version among its last ones: fly releases -a $app --image"
	else
		# The same image may have several releases (a secret, a scale): another image is wanted.
		read -r version image < <(awk -v now="${now#* }" '$2 != now { print; exit }' <<<"$list")
		[ -n "$image" ] || die 1 "all releases of $app have the image that runs; nothing to go back to"
	fi
	say "$role: back to release $version, $image"
	deploy_flags "$role"
	run fly deploy "${flags[@]}" --image "$image" --skip-release-command
}

[ $# = 2 ] || usage
action=$1 role=$2
case $action:$role in
deploy:autoscaler | logs:autoscaler | status:autoscaler | ssh:autoscaler | deploy:all | status:all) ;;
deploy:* | status:* | logs:* | ssh:* | scale:* | rollback:*) is_role "$role" || usage ;;
*) usage ;;
esac
cd "$home" || exit 1
conf_read
list_read
need_fly
case $action in deploy | scale | rollback) lock_apps ;; esac
case $action:$role in
deploy:all) deploy_all ;;
status:all) status_all ;;
deploy:*) deploy "$role" ;;
status:*) run fly status -a "$(app_of "$role")" ;;
logs:*) run fly logs -a "$(app_of "$role")" ;;
ssh:*) run fly ssh console -a "$(app_of "$role")" ;;
scale:*) scale "$role" ;;
rollback:*) rollback "$role" ;;
esac
