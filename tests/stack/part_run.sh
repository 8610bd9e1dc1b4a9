# SPDX-License-Identifier: MIT
# The three roles as the deployment guide starts them on one machine: one .env from what the stack
# gives and `make secrets-generate`, then make run-server, run-worker, run-gateway.

run_dir=$work/run
run_env=$run_dir/.env

free_port() { (. ops/stack/common.sh && free_port); }

# Three ports in a row: the gateway's, its health, the worker's health.
three_ports()
{
	local first
	while first=$(free_port); do
		(. ops/stack/common.sh && ! port_busy $((first + 1)) && ! port_busy $((first + 2))) && break
	done
	echo "$first"
}

# The operator's part of .env: the backends.  The secrets of the relay are left out.
write_env()
{
	mkdir -p "$run_dir" && (umask 077 && {
		grep -vE '^(JWT_SECRET|LOG_HASH_SALT|DELIVERY_SECRET_KEY|APNS_DEVICE_TOKEN_ENCRYPTION_KEY)=' "$D/env"
		printf '%s\n' 'JWT_SECRET=' "PORT=$(free_port)" "GATEWAY_PORT=$(three_ports)" LOG_FORMAT=text WORKER_THREADS=2
	} >"$run_env")
}
value() { sed -n "s/^$1=//p" "$run_env"; }

# No variable of ours but what .env says.
clean=(env -i PATH="$PATH" HOME="${HOME:-$work}" ENV_FILE="$run_env" BUILD="$build")
mk() { timeout "${RUN_TIMEOUT:-120}" "${clean[@]}" make --no-print-directory "$@"; }

complete() { not mk check-config ROLE=server && mk secrets-generate && for r in server gateway worker; do mk check-config ROLE=$r || return; done; }

run_role()
{
	local role=$1
	setsid "${clean[@]}" make --no-print-directory "run-$role" >"$run_dir/$role.log" 2>&1 </dev/null &
	running[$role]=$!
}

is_ready() # ROLE PORT
{
	local until=$((SECONDS + 120)) answer=
	until grep -q '"ready"' <<<"$answer"; do
		[ $SECONDS -lt $until ] && kill -0 "${running[$1]}" || { echo "$answer"; tail -n 5 "$run_dir/$1.log"; return 1; }
		answer=$({ exec 3<>"/dev/tcp/127.0.0.1/$2" && printf 'GET /health/ready HTTP/1.0\r\n\r\n' >&3 && cat <&3; } 2>/dev/null)
		sleep 0.2
	done
}

only_here() # PORT: on the loopback and nowhere else; both tables, since the second is not there without IPv6
{
	local hex found
	hex=$(printf '%04X' "$1")
	found=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
		awk -v p=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == p { print $2 }' | sort -u)
	[ "$found" = "0100007F:$hex" ] || { echo "listens on: $found"; return 1; }
}

all_share()
{
	local role pid found
	for role in "${!running[@]}"; do
		found=
		for pid in $(pgrep -s "${running[$role]}"); do
			[[ $(readlink "/proc/$pid/exe") == */construct ]] || continue
			found=$(ps -L -o cls= -p "$pid" | sort -u | tr -d ' ')
		done
		[ "$found" = B ] || { echo "$role: classes of scheduling: $found"; return 1; }
	done
}

# To the whole group, as a service manager does it: the role gets it, and once more from make, which
# hands it on and goes.  The role drains all the same.
stops()
{
	local until=$((SECONDS + 120))
	kill -TERM -- "-${running[$1]}" || return
	unset "running[$1]"
	until grep -q 'relay.stopped' "$run_dir/$1.log"; do
		[ $SECONDS -lt $until ] && ! grep -q 'relay.killed' "$run_dir/$1.log" || { tail -n 5 "$run_dir/$1.log"; return 1; }
		sleep 0.2
	done
}

check 'the stack of the roles is up' stack up "$D"
check 'one .env for all roles' write_env
check 'secrets-generate completes it, the program says so' complete
check 'make db-migrate' says 'up to date' mk db-migrate
for role in gateway worker server; do run_role $role; done
check 'make run-gateway: ready' is_ready gateway $(($(value GATEWAY_PORT) + 1))
check 'make run-worker: ready' is_ready worker $(($(value GATEWAY_PORT) + 2))
check 'make run-server: ready' is_ready server "$(value PORT)"
check 'the gateway listens on this machine only' only_here "$(value GATEWAY_PORT)"
check 'no thread of a role interrupts others when it wakes' all_share
check 'a probe crosses all three' timeout 90 "$build/construct" probe "ws://127.0.0.1:$(value PORT)"
for role in server worker gateway; do check "run-$role ends by SIGTERM" stops $role; done
