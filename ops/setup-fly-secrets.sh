#!/bin/bash
# SPDX-License-Identifier: MIT
# setup-fly-secrets.sh [--stage] [all|server|gateway|worker|autoscaler ...]: give the apps on Fly.io
# what ops/secrets.list says, from .env (or the file ENV_FILE).  Everything is checked before anything
# is sent.  Secrets go to `fly secrets import` on standard input and nowhere else.  An app that is
# not there yet is made.  --stage: the values wait for the next deployment; without it the app's
# machines are restarted with them, in one release.  DRY_RUN=1: checks, then prints the commands.
set -u +x +a
program=setup-fly-secrets
. "${BASH_SOURCE[0]%"${0##*/}"}deploy/common.sh"
. "$home/ops/deploy/envfile.sh"
. "$home/ops/deploy/secrets.sh"

stage=() roles=()
for word; do
	case $word in
	--stage) stage=(--stage) ;;
	all) roles+=(gateway worker server) ;;
	server | gateway | worker | autoscaler) roles+=("$word") ;;
	*) die 2 "usage: ops/setup-fly-secrets.sh [--stage] [all|server|gateway|worker|autoscaler ...]" ;;
	esac
done
[ ${#roles[@]} -gt 0 ] || roles=(gateway worker server)

conf_read
list_read
env_read "${ENV_FILE:-.env}" || die 78 'nothing was sent'
check_roles fly "${roles[@]}" || die 78 'nothing was sent'
need_fly
lock_apps

make_app() # APP, unless it is there
{
	local apps
	if [ -z "${DRY_RUN:-}" ]; then
		apps=$(fly apps list --json </dev/null 9<&-) || return
		grep -q "\"Name\": *\"$1\"" <<<"$apps" && return
	fi
	run fly apps create "$1" --org "${conf[FLY_ORG]}" </dev/null
}

for role in "${roles[@]}"; do
	app=$(app_of "$role")
	make_app "$app" || die 1 "$role: the app $app cannot be made; nothing more was sent"
	# The pipe is filled by this shell itself: no program ever has a value in its arguments.
	names_for "$role"
	fly_lines | run fly secrets import -a "$app" "${stage[@]}" ||
		die 1 "$role: fly did not take the secrets of $app; nothing more was sent"
	[ -n "${DRY_RUN:-}" ] || say "$role: ${#given[@]} values in $app${stage:+, for the next deployment}: ${given[*]}"
done
