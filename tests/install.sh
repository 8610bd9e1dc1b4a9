#!/bin/bash
# SPDX-License-Identifier: MIT
# install.sh BUILD: install into an empty folder; the program and its links run from there, and
# each docs/examples/*.c builds and runs against the installed library, with nothing else of ours.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0

check() # NAME COMMAND...
{
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		printf 'FAIL %s\n%s\n' "$name" "$out"
	fi
}

check install "${MAKE:-make}" --no-print-directory install PREFIX="$dir/usr"
for name in construct construct-server message-gateway delivery-worker; do
	check "$name --version" "$dir/usr/bin/$name" --version
done
check 'DESTDIR' "${MAKE:-make}" --no-print-directory install PREFIX=/opt/cx DESTDIR="$dir/stage"
check 'DESTDIR is not in cx.pc' grep -qx 'prefix=/opt/cx' "$dir/stage/opt/cx/lib/pkgconfig/cx.pc"

export PKG_CONFIG_PATH=$dir/usr/lib/pkgconfig
for source in docs/examples/*.c; do
	name=$(basename "$source" .c)
	cp "$source" "$dir/"
	check "build $name" bash -c "cd '$dir' && gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror \
		$name.c \$(pkg-config --cflags --libs cx) -o $name"
	check "run $name" timeout 60 "$dir/$name"
done
echo "install: $passed passed, $failed failed"
[ $failed = 0 ]
