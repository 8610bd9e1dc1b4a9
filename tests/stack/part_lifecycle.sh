# SPDX-License-Identifier: MIT
# Up, down, status; crashes of each service; what others may do to ports and pid files.

produce() { timeout 60 kcat -b "$KAFKA_BROKERS" -t "$KAFKA_TOPIC" -P -X acks=all <<<"$1"; }
# All records from the start, since this is about what the broker kept.
consumed() { timeout 60 kcat -b "$KAFKA_BROKERS" -t "$KAFKA_TOPIC" -C -o beginning -e -q | grep -qx "$1"; }
group_consumed()
{
	timeout 90 kcat -b "$KAFKA_BROKERS" -G "$KAFKA_CONSUMER_GROUP" -X auto.offset.reset=earliest -c 1 -q "$KAFKA_TOPIC" |
		grep -qx "$1"
}
topics()
{
	local list topic
	list=$(timeout 60 kcat -b "$KAFKA_BROKERS" -L)
	for topic in "$KAFKA_TOPIC" "$KAFKA_TOPIC-delivery-ack" "$KAFKA_TOPIC-dead-letter"; do
		grep -qF "topic \"$topic\" with 6 partitions" <<<"$list" || { echo "$list"; return 1; }
	done
}

env_is_complete()
{
	local name
	[ "$(stat -c %a "$D/env")" = 600 ] || return 1
	for name in DATABASE_URL REDIS_URL KAFKA_ENABLED KAFKA_BROKERS KAFKA_TOPIC KAFKA_CONSUMER_GROUP \
		JWT_SECRET LOG_HASH_SALT DELIVERY_SECRET_KEY; do
		grep -q "^$name=." "$D/env" || { echo "no $name"; return 1; }
	done
}

pids_stay()
{
	local before
	before=$(cat "$D"/*.pid)
	says 'runs already' stack up "$D" && [ "$before" = "$(cat "$D"/*.pid)" ]
}

status_names() # SERVICE: that one does not run, the others answer
{
	local out
	out=$(stack status "$D")
	[ $? = 1 ] && grep -q "^$1 .*not running" <<<"$out" && [ "$(grep -c ' answers$' <<<"$out")" = 2 ] ||
		{ echo "$out"; return 1; }
}

comes_back() # SERVICE: on its port, so that clients find it again
{
	local before
	before=$(port "$1")
	stack up "$D" && [ "$before" = "$(port "$1")" ]
}

frozen_is_told()
{
	kill -STOP "$(pid redis)"
	says 'DOES NOT ANSWER' stack status --only redis "$D" && stack up "$D" && redis_gives PONG ping
}

nothing_left()
{
	local proc name p
	for proc in /proc/[0-9]*; do
		[ "$(readlink "$proc/exe" 2>/dev/null)" != "$(readlink -f "$BASH")" ] || continue
		if tr '\0' ' ' <"$proc/cmdline" 2>/dev/null | grep -qF "$D/" || [[ $(readlink "$proc/cwd" 2>/dev/null)/ = $D/* ]]; then
			echo "left: ${proc#/proc/}: $(tr '\0' ' ' <"$proc/cmdline")"
			return 1
		fi
	done
	for name in "$D"/ports/*; do
		p=$(cat "$name")
		! (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo "$name: $p is open"; return 1; }
	done
}

# Another program has the port now, and another process has the pid.
survives_strangers()
{
	local stranger taken code
	taken=$(port redis)
	redis-server --port "$taken" --bind 127.0.0.1 --save '' --dir "$work" >/dev/null &
	stranger=$!
	until (exec 3<>"/dev/tcp/127.0.0.1/$taken") 2>/dev/null; do sleep 0.1; done
	echo "$stranger 1" >"$D/redis.pid"
	stack up "$D" && [ "$(port redis)" != "$taken" ] && grep -q "REDIS_URL=.*:$(port redis)$" "$D/env" &&
		kill -0 "$stranger"
	code=$?
	kill "$stranger"
	wait "$stranger" 2>/dev/null
	return $code
}

without() # COMMAND: stack.sh in a world that lacks it
{
	mkdir -p "$work/bin"
	ln -sf /usr/bin/* "$work/bin/"
	rm -f "$work/bin/$1"
	PATH=$work/bin exits 69 stack up "$work/other"
}

# A Maven client that runs this line; $to is the folder that it shall fill.
with_mvn() # LINE
{
	local code
	mkdir -p "$work/stub"
	printf '#!/bin/bash\nfor a; do case $a in -DoutputDirectory=*) to=${a#*=} ;; esac; done\n%s\n' "$1" >"$work/stub/mvn"
	chmod +x "$work/stub/mvn"
	PATH=$work/stub:$PATH XDG_CACHE_HOME=$work/cache exits 69 stack up --only redis,kafka "$work/other"
	code=$?
	stack status --only redis "$work/other" || code=1
	stack down --wipe "$work/other"
	[ -z "$(find "$work/cache" -name '*.jar')" ] || code=1
	return $code
}

together() # two at once: one stack
{
	local a b
	stack up "$D" & a=$!
	stack up "$D" & b=$!
	wait $a && wait $b && stack status "$D" && [ "$(pgrep -fc "kafka.Kafka $D/")" = 1 ]
}

check 'status of nothing exits with 3' exits 3 stack status "$D"
check 'down of nothing is no error' stack down "$D"
check 'an unknown service is refused' exits 2 stack up --only mysql "$D"
check 'a missing program is named with its package' says 'install the package redis-server' without redis-server
check 'a missing java exits with 69' without java
check 'Kafka that cannot be fetched exits with 69, the others run' says 'mvn could not fetch it in three tries' with_mvn 'echo >>"$0.tries"; exit 1'
check 'it was tried three times' test "$(wc -l <"$work/stub/mvn.tries")" = 3
check 'Kafka jars that are not the pinned ones are refused' says 'not those of ops/kafka/jars.sha256' with_mvn 'echo x >"$to/x.jar"'
check 'both leave nothing behind' with_mvn 'exit 1'
check 'two ups at once make one stack' together
load_env
check 'the env file is complete and private' env_is_complete
check 'status: three that answer' exits 0 stack status "$D"
check 'a second up changes nothing' pids_stay
check 'PostgreSQL answers a query' query 'select 1' 1
check 'Redis answers PING' redis_gives PONG ping
check 'Redis keeps a log and evicts nothing' redis_gives $'appendonly\nyes' config get appendonly
check 'Redis refuses whoever has no password' says NOAUTH redis-cli -p "$(port redis)" ping
check 'the topics are there' topics
check 'a record is produced' produce one
check 'a consumer group gets it' group_consumed one
check 'a row is written' sql 'create table kept(n int); insert into kept values (7)'
check 'a key is written' redis_gives OK set kept 7

kill -9 "$(pid postgres)"
check 'PostgreSQL killed: status says so' status_names postgres
check 'PostgreSQL killed: up brings it back' comes_back postgres
check 'PostgreSQL killed: its rows are there' query 'select n from kept' 7
kill -9 "$(pid redis)"
check 'Redis killed: status says so' status_names redis
check 'Redis killed: up brings it back' comes_back redis
check 'Redis killed: its keys are there' redis_gives 7 get kept
kill -9 "$(pid kafka)"
check 'Kafka killed: status says so' status_names kafka
check 'Kafka killed: up brings it back' comes_back kafka
check 'Kafka killed: its records are there' consumed one
check 'a frozen service is told and replaced' frozen_is_told

check 'one service alone is stopped' says 'stopped: postgres' stack down --only pg "$D"
check 'the other two go on' status_names postgres
check 'down stops the rest' says 'stopped: redis kafka' stack down "$D"
check 'down leaves no process and no port' nothing_left
check 'status of a stopped stack exits with 3' exits 3 stack status "$D"
check 'a taken port and a reused pid belong to strangers' survives_strangers
load_env
check 'a stop keeps the rows' query 'select n from kept' 7
check 'a stop keeps the keys' redis_gives 7 get kept
check 'a stop keeps the records' consumed one
check 'down --wipe' stack down --wipe "$D"
check 'down --wipe leaves no folder' not test -e "$D"
