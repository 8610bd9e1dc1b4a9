#!/bin/bash
# SPDX-License-Identifier: MIT
# install.sh BUILD: install into an empty folder.  The program and its links run from there; the
# examples, a C++ program and the one in cx(7) build and run against the installed library, shared
# and static, gcc and clang, with nothing else of ours; symbols and man pages are what the headers say.
set -u
cd "$(dirname "$0")/.." || exit 1
tree=$PWD build=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0
make=${MAKE:-make}
unset MAKEFLAGS MFLAGS MAKELEVEL LD_LIBRARY_PATH

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

mk() { timeout 600 "$make" --no-print-directory "$@"; }

# All files of ours under a folder, without the folder's name.
files() { (cd "$1" && find . ! -type d | sort); }

usr=$dir/usr
check install mk install PREFIX="$usr"
for name in construct construct-server message-gateway delivery-worker; do
	check "$name --version" "$usr/bin/$name" --version
done

# DESTDIR goes before every path and into no file; uninstall leaves nothing.
mkdir -p "$dir/stage/opt/cx/lib" && : >"$dir/stage/opt/cx/lib/not-ours"
check 'install with DESTDIR, a relative one' \
	mk install PREFIX=/opt/cx DESTDIR="$(realpath --relative-to=. "$dir/stage")"
check 'DESTDIR is not in cx.pc' grep -qx 'prefix=/opt/cx' "$dir/stage/opt/cx/lib/pkgconfig/cx.pc"
rm "$dir/stage/opt/cx/lib/not-ours"
check 'both hold the same files' diff <(files "$usr") <(files "$dir/stage/opt/cx")
: >"$dir/stage/opt/cx/lib/not-ours"
check uninstall mk uninstall PREFIX=/opt/cx DESTDIR="$dir/stage"
check 'uninstall takes ours and nothing else' \
	diff <(echo ./opt/cx/lib/not-ours) <(files "$dir/stage")

check 'install-library' mk install-library PREFIX="$dir/alone"
check 'install-library: the same without the program' \
	diff <(files "$usr" | grep -v -e '^./bin/' -e '^./lib/systemd/') <(files "$dir/alone")
units_start() # the program that was installed, wherever that is
{
	local u
	for u in construct.service construct@.service; do
		[ "$(grep -c "^ExecStart=$1/bin/construct " "$2/lib/systemd/system/$u")" = 1 ] && ! grep -q '@PREFIX@' "$2/lib/systemd/system/$u" || return
	done
}
check 'units start the installed program' units_start "$usr" "$usr"

# The library's files.
version=$(cat VERSION)
soname=libcx.so.${version%%.*}
is_link() { [ "$(readlink "$usr/lib/$1")" = "$2" ] || { ls -l "$usr/lib"; return 1; }; }
check 'libcx.so leads to the soname' is_link libcx.so "$soname"
check 'the soname leads to the library' is_link "$soname" "libcx.so.$version"
suite() # NAME COMMAND...: a test that counts its own checks
{
	local name=$1 out p f
	shift
	out=$("$@" 2>&1)
	read -r p f < <(sed -n "s/^$name: \([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed\$/\1 \2/p" <<<"$out")
	[ -n "$f" ] || { p=0 f=1 out+=$'\n'"$name did not end"; }
	passed=$((passed + p)) failed=$((failed + f))
	[ "$f" = 0 ] || printf 'FAIL %s\n%s\n' "$name" "$out"
}
suite symbols timeout 60 tests/library/symbols.py "$usr/lib/libcx.so" "$usr/lib/libcx.a"
# What is for -flto alone is in an archive of its own: another gcc would take it for its own, and stop.
no_lto() { ! objdump -h "$usr/lib/libcx.a" | grep -m 1 'gnu\.lto'; }
check 'libcx.a: machine code alone' no_lto
suite man timeout 120 tests/library/man.py "$usr/share/man"

export PKG_CONFIG_PATH=$usr/lib/pkgconfig
pc() { [ "$(pkg-config "${@:2}" cx | xargs)" = "$1" ] || { pkg-config "${@:2}" cx; return 1; }; }
check 'cx.pc: version' pc "$version" --modversion
check 'cx.pc: flags' pc "-I$usr/include" --cflags
check 'cx.pc: shared' pc "-L$usr/lib -lcx" --libs
check 'cx.pc: static' pc "-L$usr/lib -lcx -pthread" --static --libs

# The program of cx(7), as mandoc shows it to a reader.
page_program()
{
	mandoc -T ascii -O width=200 "$usr/share/man/man7/cx.7" | col -bx |
		awk '/#include <semaphore.h>/ { on = 1 } /int main/ { last = 1 }
			on { print } last && /^     }$/ { exit }' >"$dir/page.c"
	grep -q 'int main' "$dir/page.c"
}
check 'cx(7) has a program' page_program

# What is built from here on sees the installed files only.
strict='-Wall -Wextra -Wpedantic -Werror'
uses_so() { ldd "$1" | grep -q "libcx.so.*$usr/lib"; }
is_static() { ! ldd "$1" >/dev/null 2>&1; }
for cc in gcc clang; do
	for how in shared static; do
		at=$dir/$cc-$how
		cp -r docs/examples "$at"
		cp "$dir/page.c" "$at/"
		[ $how = static ] && lib_path= || lib_path=$usr/lib
		check "examples, $cc, $how: build" mk -C "$at" CC=$cc LINK=$how CFLAGS="-O1 $strict"
		for program in ping_pong worker_pool timer_cache; do
			check "$program, $cc, $how" env LD_LIBRARY_PATH="$lib_path" timeout 60 "$at/$program"
			if [ $how = static ]; then
				check "$program, $cc, is static" is_static "$at/$program"
			else
				LD_LIBRARY_PATH=$lib_path check "$program, $cc, uses libcx.so" uses_so "$at/$program"
			fi
		done
		check "cx(7), $cc, $how: build" mk -C "$at" page CC=$cc LINK=$how CFLAGS="$strict"
		check "cx(7), $cc, $how" env LD_LIBRARY_PATH="$lib_path" timeout 60 "$at/page"
	done
done

# As packagers and those who look for errors use it.
at=$dir/as-used
cp -r docs/examples "$at"
cp tests/library/exit_while_running.c "$at/"
built() { bash -c "$1 -std=c11 -D_GNU_SOURCE -O1 -g $2 -I'$usr/include' '$at/$3.c' -o '$at/$3' ${4:-$usr/lib/libcx.a} -pthread"; }
strip -g -o "$at/stripped.a" "$usr/lib/libcx.a"
check 'stripped: build' built gcc '' ping_pong "$at/stripped.a"
check 'stripped' timeout 60 "$at/ping_pong"
check 'libcx_lto.a: build' built gcc '-O2 -flto' ping_pong "$usr/lib/libcx_lto.a"
check 'libcx_lto.a' timeout 60 "$at/ping_pong"
for cc in gcc clang; do
	check "a program under ASan that ends while actors run, $cc: build" built $cc -fsanitize=address exit_while_running
	check "a program under ASan that ends while actors run, $cc" timeout 60 "$at/exit_while_running"
done

# Takes the address of every function, so that one without C linkage does not link.
every_function()
{
	local name
	for name in $headers; do echo "#include <$name>"; done
	echo 'int main() { const void *all[] = {'
	nm -D --defined-only "$usr/lib/libcx.so" | sed -n 's/.* T \(cx_[a-z_]*\).*/(const void *)\1,/p'
	echo '}; return all[0] == nullptr; }'
}
headers=$(cd "$usr/include" && echo cx/*.h)
syntax() { "${@:2}" -I"$usr/include" $strict -fsyntax-only - <<<"$1"; }
for cxx in g++ clang++; do
	all=
	for header in $headers; do
		all+="#include <$header>"$'\n'
		check "$header alone, $cxx" syntax "#include <$header>" $cxx -std=c++17 -x c++
	done
	check "all headers, $cxx" syntax "$all" $cxx -std=c++17 -x c++
	check "every function, $cxx" bash -c "$cxx -std=c++17 $strict -x c++ - \
		\$(pkg-config --cflags --libs cx) -o '$dir/every-$cxx'" < <(every_function)
	check "hello.cpp, $cxx: build" bash -c "$cxx -std=c++17 $strict '$tree/tests/library/hello.cpp' \
		\$(pkg-config --cflags --libs cx) -pthread -o '$dir/hello-$cxx'"
	check "hello.cpp, $cxx" env LD_LIBRARY_PATH="$usr/lib" timeout 60 "$dir/hello-$cxx"
done
# Without the feature macros that our own build sets.
for header in $headers; do
	check "$header alone, C11" syntax "#include <$header>" gcc -std=c11 -x c
done

echo "install: $passed passed, $failed failed"
[ $failed = 0 ]
