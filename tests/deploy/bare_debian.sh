# SPDX-License-Identifier: MIT
# A bare Debian 12 in $keep/base, made once; read by dockerfile_steps.sh and single_server.sh.

bare_debian()
{
	local suite
	[ ! -e "$keep/base/etc/debian_version" ] || return 0
	rm -rf "$keep/base.new"
	debootstrap --variant=minbase bookworm "$keep/base.new" >"$keep/debootstrap.log" 2>&1 ||
		{ tail -n 5 "$keep/debootstrap.log"; echo "${0##*/}: no bare Debian"; exit 1; }
	# The package lists of the base image, which starts no daemons.
	for suite in bookworm bookworm-updates; do
		echo "deb http://deb.debian.org/debian $suite main"
	done >"$keep/base.new/etc/apt/sources.list"
	echo 'deb http://deb.debian.org/debian-security bookworm-security main' >>"$keep/base.new/etc/apt/sources.list"
	printf '#!/bin/sh\nexit 101\n' >"$keep/base.new/usr/sbin/policy-rc.d"
	chmod 755 "$keep/base.new/usr/sbin/policy-rc.d"
	mv "$keep/base.new" "$keep/base"
}

# What both need on the host.
need_tools()
{
	local tool
	[ "$(id -u)" = 0 ] || { echo "${0##*/}: chroot needs root" >&2; exit 1; }
	for tool in debootstrap chroot unshare python3 "$@"; do
		command -v "$tool" >/dev/null || { echo "${0##*/}: $tool is not installed" >&2; exit 1; }
	done
}
