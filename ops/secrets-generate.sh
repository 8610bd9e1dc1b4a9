#!/bin/bash
# SPDX-License-Identifier: MIT
# secrets-generate.sh: write the random secrets that are missing into .env (or ENV_FILE), for its
# owner only; never over a value that is there, and nothing else of the file changes.  Says names,
# not values.  Existing values that are weak are left too: secrets-check names them.
set -u +x +a
program=secrets-generate
. "${BASH_SOURCE[0]%"${0##*/}"}deploy/common.sh"
. "$home/ops/deploy/envfile.sh"
. "$home/ops/deploy/secrets.sh"
umask 077

file=${ENV_FILE:-.env}
[ ! -L "$file" ] || file=$(readlink -f "$file")
# The folder is the lock: a file for it could be deleted by one while the next one holds it.
exec 9<"$(dirname "$file")" || exit 74
flock -n 9 || die 75 "another one writes $file"
trap 'rm -f "$file.new"' EXIT
list_read
[ -e "$file" ] || : >"$file"
env_read "$file" || die 78 "$file was left as it is"

# The random bytes go through pipes only.
make_value()
{
	case $1 in
	random:*) head -c 64 /dev/urandom | base64 -w 0 ;;
	hex:*) head -c $((${1#hex:} / 2)) /dev/urandom | od -An -v -tx1 | tr -d ' \n' ;;
	seed) head -c 32 /dev/urandom | base64 -w 0 ;;
	*) return 1 ;;
	esac
}

made=()
for name in "${listed[@]}"; do
	[ -z "${env_value[$name]:-}" ] && { is_needed "$name" || [ "${need_of[$name]}" = made ]; } || continue
	value=$(make_value "${kind_of[$name]}") || continue
	made+=("$name")
	added+=$name=$value$'\n'
done
if [ ${#made[@]} -gt 0 ]; then
	{
		# Empty settings of these names go: a name may come once only.
		names=$(IFS='|'; echo "${made[*]}")
		grep -vE "^[[:blank:]]*(export[[:blank:]]+)?($names)[[:blank:]]*=" "$file" | sed -e '$a\'
		printf '%s' "$added"
	} >"$file.new" || die 74 "$file.new cannot be written"
	sync "$file.new"
	mv -f "$file.new" "$file" || die 74 "$file cannot be replaced"
	say "$file has now: ${made[*]}"
else
	say "$file lacks no random secret"
fi
chmod 600 "$file"
