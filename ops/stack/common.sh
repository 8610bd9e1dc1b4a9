# SPDX-License-Identifier: MIT
# Processes, ports and secrets of a stack; read by ops/stack.sh, which sets `dir`.

say() { printf 'stack: %s\n' "$*"; }
complain() { printf 'stack: %s\n' "$*" >&2; }
die() { complain "$2"; exit "$1"; }

# need COMMAND PACKAGE: one line for what is missing, and the package that brings it.
need()
{
	command -v "$1" >/dev/null && return 0
	complain "${3:-$1} is missing: install the package $2 (ops/install-deps.sh stack)"
	return 1
}

random_hex() { od -An -v -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# The value of KEY in a file of KEY=value lines, or nothing.
value_of() { sed -n "s/^$2=//p" "$1" 2>/dev/null | tail -n 1; }

# Made once, then kept: a stack that comes back has the same passwords.
secret()
{
	local value
	value=$(value_of "$dir/secrets" "$1")
	if [ -z "$value" ]; then
		value=$(random_hex "$2")
		echo "$1=$value" >>"$dir/secrets"
	fi
	echo "$value"
}

# --- ports -----------------------------------------------------------------------------------

# Something listens on the port, on whatever address (state 0A).
port_busy()
{
	local hex
	hex=$(printf ':%04X' "$1")
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
		awk -v p="$hex" '$4 == "0A" && substr($2, length($2) - 4) == p { found = 1 } END { exit !found }'
}

# Below the range that the system gives to outgoing connections, so that none of those takes it
# between this look and the bind; who is beaten to it by another server tries again.
free_port()
{
	local low high port
	read -r high _ </proc/sys/net/ipv4/ip_local_port_range
	low=10240
	[ "$high" -gt 14000 ] || { low=20000; high=60000; }
	while :; do
		port=$((low + (RANDOM * 32768 + RANDOM) % (high - low)))
		port_busy $port || { echo $port; return; }
	done
}

# The port NAME, the same as before unless somebody else has it now.
port()
{
	local file=$dir/ports/$1 kept
	kept=$(cat "$file" 2>/dev/null)
	if [ -z "$kept" ] || port_busy "$kept"; then
		kept=$(free_port)
		echo "$kept" >"$file"
	fi
}
port_of() { cat "$dir/ports/$1" 2>/dev/null; }

# --- processes -------------------------------------------------------------------------------

# Ticks since boot at which a process started; nothing for one that is dead or a zombie.
started_at() { sed -n 's/.*) //p' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" && $1 != "X" { print $20 }'; }

# The pid of a service, if that process is still the one that was started here: a pid is reused,
# so its start time and command line must be right as well.
pid_of()
{
	local pid ticks
	read -r pid ticks 2>/dev/null <"$dir/$1.pid" || return 1
	[ "$(started_at "$pid")" = "$ticks" ] || return 1
	tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$dir/$1/" || return 1
	echo "$pid"
}

uptime_of()
{
	local ticks now
	ticks=$(started_at "$1")
	read -r now _ </proc/uptime
	awk -v t="${ticks:-0}" -v hz="$(getconf CLK_TCK)" -v now="$now" 'BEGIN {
		s = int(now - t / hz); printf "%d:%02d:%02d\n", s / 3600, s / 60 % 60, s % 60 }'
}

# daemon NAME COMMAND...: in the service's folder, in a session of its own, without our locks.
daemon()
{
	local name=$1 pid
	shift
	(cd "$dir/$name" && exec setsid "$@") </dev/null >>"$dir/log/$name.log" 2>&1 8>&- 9>&- &
	pid=$!
	echo "$pid $(started_at $pid)" >"$dir/$name.pid"
	disown $pid
}

# wait_for SECONDS COMMAND...
wait_for()
{
	local until=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || return 1
		sleep 0.1
	done
}

gone() { [ -z "$(started_at "$1")" ]; }

# Whatever runs with its working folder or a file of its command line in the service's folder:
# what a killed parent left behind (PostgreSQL's backends) must end before a new one may start.
left_over()
{
	local proc
	for proc in /proc/[0-9]*; do
		case $(readlink "$proc/cwd" 2>/dev/null)/ in
		"$dir/$1/"*) echo "${proc#/proc/}" ;;
		esac
	done
}
none_left() { [ -z "$(left_over "$1")" ]; }
