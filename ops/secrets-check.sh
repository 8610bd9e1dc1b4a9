#!/bin/bash
# SPDX-License-Identifier: MIT
# secrets-check.sh [ROLE...]: is what .env (or ENV_FILE) holds fit to be sent?  Every fault by its
# name, all at once; nothing is sent and no value is shown.  Exit code: 0 fit, 78 not.
set -u +x +a
program=secrets-check
. "${BASH_SOURCE[0]%"${0##*/}"}deploy/common.sh"
. "$home/ops/deploy/envfile.sh"
. "$home/ops/deploy/secrets.sh"

[ $# -gt 0 ] || set -- server gateway worker
for role; do
	is_role "$role" || [ "$role" = autoscaler ] || die 2 "usage: ops/secrets-check.sh [server|gateway|worker|autoscaler ...]"
done
list_read
env_read "${ENV_FILE:-.env}" || exit 78
check_roles fly "$@" || exit 78
[ ${#env_value[JWT_SECRET]} -ge 64 ] 2>/dev/null || say 'note: JWT_SECRET is good from 32 characters on, 64 are advised'
say "fit for: $*"
