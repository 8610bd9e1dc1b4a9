#!/bin/bash
# SPDX-License-Identifier: MIT
# install-deps.sh [run] [test] [bench] [stack]: install what is missing on Debian and Ubuntu (default:
# run); does nothing, quickly, when all is there; elsewhere prints the list.
#
#   run    to build and run   test   to run `make test`   bench   peers of the measurements
#   stack  what ops/stack.sh and `make stack-test` run
#
# An entry is a package, `a|b` where releases differ in the name (one is enough), or
# `command=package` where any provider of the command will do.
set -u

run_list='
	gcc make=make git=git pkgconf|pkg-config libc6-dev ca-certificates
	libwebsockets-dev libwebsockets-evlib-uv libuv1-dev libsqlite3-dev libssl-dev
	libsodium-dev libjansson-dev libck-dev libhiredis-dev libpq-dev libmsgpack-c-dev|libmsgpack-dev
	libcrypt-dev libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler librdkafka-dev'
test_list='
	g++ clang clang-format python3 python3-venv python3-yaml
	libclang-rt-14-dev|libclang-rt-15-dev|libclang-rt-18-dev|libclang-rt-19-dev
	libcriterion-dev node=nodejs npm=npm openssl=openssl curl=curl sqlite3=sqlite3
	procps util-linux mandoc bsdextrautils|bsdmainutils spin redis-server
	h2load=nghttp2-client postgresql-15|postgresql-16|postgresql-17
	systemd-analyze=systemd strace=strace'
bench_list='
	redis-server python3 python3-venv node=nodejs npm=npm sqlite3=sqlite3
	g++ libcaf-dev erlang-base|erlang-nox'
stack_list='
	postgresql-15|postgresql-16|postgresql-17 postgresql-client-15|postgresql-client-16|postgresql-client-17
	redis-server redis-cli=redis-tools java=openjdk-17-jre-headless mvn=maven python3=python3
	openssl=openssl librdkafka-dev libpq-dev kcat|kafkacat util-linux procps'

usage() { echo "usage: ${0##*/} [run] [test] [bench] [stack]" >&2; exit 2; }

wanted=
[ $# -gt 0 ] || set -- run
for group; do
	case $group in
	run | test | bench | stack) list=${group}_list wanted+=" ${!list}" ;;
	*) usage ;;
	esac
done
wanted=$(tr -s ' \t\n' '\n' <<<"$wanted" | sed '/^$/d' | awk '!seen[$0]++')

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	missing=
	for tool in gcc make pkg-config; do command -v $tool >/dev/null || missing+=" $tool"; done
	for pc in libwebsockets libuv sqlite3 openssl libsodium jansson ck hiredis libpq libnghttp2 \
		libprotobuf-c rdkafka; do
		pkg-config --exists $pc 2>/dev/null || missing+=" $pc"
	done
	[ -n "$missing" ] || exit 0
	echo "This is not Debian or Ubuntu, so nothing is installed.  Not found:$missing" >&2
	echo "Needed, by their Debian names (a|b: either; command=package: the command):" >&2
	sed 's/^/  /' <<<"$wanted" >&2
	exit 1
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
has_package() { grep -qxF -- "$1" <<<"$installed"; }

# An entry is satisfied by its command or by one of its packages.
satisfied()
{
	local package
	case $1 in *=*) command -v "${1%%=*}" >/dev/null; return ;; esac
	for package in ${1//|/ }; do has_package "$package" && return 0; done
	return 1
}

missing=()
for entry in $wanted; do satisfied "$entry" || missing+=("$entry"); done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing: ${missing[*]}"
root=()
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "These packages are missing and installing needs root, but there is no sudo here." >&2
		echo "As root: $(cd "$(dirname "$0")" && pwd)/${0##*/} $*" >&2
		exit 1
	fi
	root=(sudo)
fi
apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -qq)
"${apt[@]}" update || { echo "apt-get update failed" >&2; exit 1; }

# Of several names, the first that this release has.
names=()
for entry in "${missing[@]}"; do
	chosen=
	for package in $(tr '|' ' ' <<<"${entry#*=}"); do
		if [ -n "$(apt-cache policy "$package" 2>/dev/null | sed -n 's/^  Candidate: \([^(].*\)/\1/p')" ]; then
			chosen=$package
			break
		fi
	done
	[ -n "$chosen" ] || { echo "no package for '$entry' in this release" >&2; exit 1; }
	names+=("$chosen")
done
"${apt[@]}" install -y --no-install-recommends "${names[@]}" >/dev/null ||
	{ echo "apt-get install failed: ${names[*]}" >&2; exit 1; }
echo "installed: ${names[*]}"
