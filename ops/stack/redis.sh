# SPDX-License-Identifier: MIT
# Redis of a stack, set up as the database that it is here: AOF, nothing evicted.

redis_need()
{
	local bad=0
	need redis-server redis-server || bad=1
	need redis-cli redis-tools || bad=1
	return $bad
}

redis_make()
{
	mkdir -p "$dir/redis/data"
	port redis
	{
		echo 'bind 127.0.0.1'
		if [ "$mode" = plain ]; then
			echo "port $(port_of redis)"
		else
			echo 'port 0'
			echo "tls-port $(port_of redis)"
			echo "tls-cert-file $dir/tls/server.pem"
			echo "tls-key-file $dir/tls/server.key"
			echo "tls-ca-cert-file $dir/tls/ca.pem"
			echo 'tls-auth-clients no'
		fi
		echo "dir $dir/redis/data"
		echo 'daemonize no'
		# The command line must go on naming the folder: that is how `down` knows its own.
		echo 'set-proc-title no'
		echo 'appendonly yes'
		echo 'appendfsync everysec'
		# A log of 64 MB is a few seconds of traffic: writing it anew each time costs more than it saves.
		echo 'auto-aof-rewrite-min-size 512mb'
		echo 'save ""'
		echo 'maxmemory-policy noeviction'
		[ "$password" = no ] || echo "requirepass $(secret REDIS_PASSWORD 16)"
	} >"$dir/redis/redis.conf"
}

redis_launch() { daemon redis redis-server "$dir/redis/redis.conf"; }

redis_ask()
{
	local tls=()
	[ "$mode" = plain ] || tls=(--tls --cacert "$dir/tls/ca.pem")
	REDISCLI_AUTH=$(sed -n 's/^requirepass //p' "$dir/redis/redis.conf") \
		timeout 5 redis-cli "${tls[@]}" -h 127.0.0.1 -p "$(port_of redis)" "$@"
}

# Only PONG will do: while it reads its AOF it answers with an error.
redis_answers() { [ "$(redis_ask ping 2>/dev/null)" = PONG ]; }
redis_after() { :; }
redis_stop_signal=TERM

redis_env()
{
	local scheme=redis login=
	[ "$mode" = plain ] || scheme=rediss
	[ "$password" = no ] || login=default:$(value_of "$dir/secrets" REDIS_PASSWORD)@
	echo "REDIS_URL=$scheme://${login}127.0.0.1:$(port_of redis)"
}
