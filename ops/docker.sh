#!/bin/bash
# SPDX-License-Identifier: MIT
# docker.sh up|down|logs|build|rebuild|probe: the whole stack on this machine (ops/docker-compose.yml).
# Its secrets are its own, made once in data/docker/, never those of .env.  DRY_RUN=1 prints.
set -u +x +a
program=docker.sh
. "${BASH_SOURCE[0]%"${0##*/}"}deploy/common.sh"
. "$home/ops/deploy/secrets.sh"
# Left alone, compose reads .env, by rules of its own, and would hold its secrets.
compose=(docker compose --env-file /dev/null -f ops/docker-compose.yml --project-directory .)

# Files for `secrets:` of the composition.  The folder is for its owner only; a file may be read by
# the user that a container runs as, whose number nobody here knows.
make_secrets()
{
	local dir=data/docker name password
	(umask 077 && mkdir -p data "$dir") && chmod 700 "$dir" || return
	for name in jwt_secret log_hash_salt delivery_secret_key device_token_key postgres_password; do
		[ -s "$dir/$name" ] || hex >"$dir/$name" || return
	done
	password=$(<"$dir/postgres_password")
	printf 'postgresql://construct:%s@postgres:5432/construct' "$password" >"$dir/database_url" || return
	chmod 644 "$dir"/*
}
hex() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# Throw-away users send each other messages through everything that runs.
probe() { run "${compose[@]}" run --rm --no-deps probe; }

cd "$home" || exit 1
list_read
need_docker
export CONSTRUCT_VERSION
CONSTRUCT_VERSION=$(ops/version.sh)
case ${1:-} in up | build | rebuild) [ -n "${DRY_RUN:-}" ] || make_secrets || die 74 'data/docker cannot be written' ;; esac
case ${1:-} in
up) run "${compose[@]}" up -d --build --wait --wait-timeout 300 && probe ;;
down) run "${compose[@]}" down ;;
logs) run "${compose[@]}" logs -f --tail 100 ;;
build) run "${compose[@]}" build ;;
rebuild) run "${compose[@]}" up -d --build --force-recreate --wait --wait-timeout 300 server gateway worker && probe ;;
probe) probe ;;
*) die 2 'usage: ops/docker.sh up|down|logs|build|rebuild|probe' ;;
esac
