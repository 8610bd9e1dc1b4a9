#!/bin/bash
# SPDX-License-Identifier: MIT
# run-role.sh server|gateway|worker|migrate: become that program of build/release with the variables
# of .env (or ENV_FILE), read as ops/deploy/envfile.sh says.  `check server|gateway|worker`: the program
# judges the file for that role and starts nothing.  What the environment has already goes over the
# file, so that PORT=9000 make run-server works.  DRY_RUN=1 prints the command.
#
# Three roles on one machine, one .env: PORT and HEALTH_PORT of the file are the server's.  Here the
# gateway listens on 127.0.0.1:8090 (GATEWAY_PORT; it trusts its callers), its health is one port
# above, the worker's two; the server sends to it unless MESSAGE_GATEWAY_URL says otherwise.
set -u +x +a
program=run-role
. "${BASH_SOURCE[0]%"${0##*/}"}deploy/common.sh"
. "$home/ops/deploy/envfile.sh"

usage() { die 2 'usage: ops/run-role.sh server|gateway|worker|migrate|check ROLE'; }
role=${1:-}
case $role in
server) command=(construct-server) ;;
gateway) command=(message-gateway) ;;
worker) command=(delivery-worker) ;;
migrate) command=(construct migrate) ;;
check)
	role=${2:-}
	is_role "$role" || usage
	command=(construct check-config --role "$role") ;;
*) usage ;;
esac
command[0]=${BUILD:-build/release}/${command[0]}
env_read "${ENV_FILE:-.env}" || die 78 "$1 was not started"

is_exported() { [[ $(declare -p "$1" 2>/dev/null) =~ ^declare\ -[a-z]*x && -n ${!1:-} ]]; }

# What goes over the file, but not over the environment.
here() { is_exported "$1" || env_value[$1]=$2; }
unless_set() { [ -n "${env_value[$1]:-}" ] || { env_names+=("$1"); here "$1" "$2"; }; }
port=${GATEWAY_PORT:-${env_value[GATEWAY_PORT]:-8090}}
[[ $port =~ ^[1-9][0-9]{0,4}$ ]] || die 78 'GATEWAY_PORT is not a number'
unset 'env_value[GATEWAY_PORT]'
case $role in
server)
	unless_set MESSAGE_GATEWAY_URL "http://127.0.0.1:$port" ;;
gateway)
	# Plain on the loopback, whatever certificate the server has.
	unset 'env_value[TLS_CERT_FILE]' 'env_value[TLS_KEY_FILE]'
	env_names+=(BIND PORT HEALTH_PORT)
	here BIND 127.0.0.1
	here PORT "$port"
	here HEALTH_PORT $((port + 1)) ;;
worker)
	env_names+=(BIND HEALTH_PORT)
	here BIND 127.0.0.1
	here HEALTH_PORT $((port + 2)) ;;
esac
if [ -z "${DRY_RUN:-}" ]; then
	for name in "${env_names[@]}"; do
		[ -z "${env_value[$name]:-}" ] || is_exported "$name" || export "$name=${env_value[$name]}"
	done
fi
run exec "${command[@]}"
