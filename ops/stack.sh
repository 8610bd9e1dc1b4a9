#!/bin/bash
# SPDX-License-Identifier: MIT
# stack.sh: a real Kafka (KRaft), PostgreSQL and Redis of your own, in one folder, for development
# and tests.  Free ports of 127.0.0.1, no Docker, nothing outside the folder but the Kafka jars
# (shared, in the cache folder of the user).
set -u
umask 077

usage()
{
	cat <<-'EOF'
		usage: ops/stack.sh up|down|status|env [OPTIONS] [DIR]    (DIR: stack/ below the project)

		  up       start what does not run, wait until each answers, make the topics, write DIR/env
		  down     stop it; the data stay        --wipe: delete them too
		  status   a line a service; exit code 0: all answer, 1: one does not, 3: none runs
		  env      print DIR/env, KEY=value: set -a; . DIR/env; set +a

		  --only LIST          of pg,redis,kafka (default: all; down and status: those of the stack)
		  --tls                (up) TLS everywhere: verify-full, rediss, SASL_SSL; CA in DIR/tls/ca.pem
		  --no-redis-password  (up) Redis lets everybody in

		STACK_KAFKA_VERSION=3.7.2: another Kafka than that of ops/kafka/pom.xml.
		A stack keeps its ports and passwords.  KAFKA_TOPIC names the topic.  Exit codes: 0, 1 failed,
		2 usage, 69 something needed is not installed or cannot be fetched (one line for each).
		EOF
}

home=$(cd "$(dirname "$0")/.." && pwd)
all='postgres redis kafka'
names= action= dir= mode= password= wipe=no

service_of()
{
	case $1 in
	pg | postgres | postgresql) echo postgres ;;
	redis | kafka) echo "$1" ;;
	*) complain "no service '$1'; there are pg, redis, kafka"; return 1 ;;
	esac
}

only()
{
	local one
	for one in ${1//,/ }; do names+=" $(service_of "$one")" || exit 2; done
}

for part in common postgres redis kafka tls; do . "$home/ops/stack/$part.sh"; done

while [ $# -gt 0 ]; do
	case $1 in
	--only) [ $# -gt 1 ] || { usage >&2; exit 2; }; only "$2"; shift ;;
	--only=*) only "${1#*=}" ;;
	--tls) mode=tls ;;
	--no-redis-password) password=no ;;
	--wipe) wipe=yes ;;
	-h | --help) usage; exit 0 ;;
	-*) complain "no option '$1'"; usage >&2; exit 2 ;;
	*) if [ -z "$action" ]; then action=$1; elif [ -z "$dir" ]; then dir=$1; else usage >&2; exit 2; fi ;;
	esac
	shift
done
dir=$(realpath -m "${dir:-$home/stack}")
# The name goes into files of four syntaxes and a URL: quoting it in each is not worth it.
case $dir in *[!A-Za-z0-9._/+@-]* | /) die 2 "the folder's name may hold letters, digits and ._+@- only: $dir" ;; esac

# What an earlier `up` was told holds until one is told otherwise.
recall()
{
	[ -n "$mode" ] || mode=$(value_of "$dir/options" mode)
	[ -n "$password" ] || password=$(value_of "$dir/options" password)
	mode=${mode:-plain} password=${password:-yes}
	known=$(value_of "$dir/options" services)
	kafka_topic=${KAFKA_TOPIC:-$(value_of "$dir/options" topic)}
	kafka_topic=${kafka_topic:-construct-messages}
	kafka_via=${STACK_KAFKA_VIA:-$(value_of "$dir/options" kafka_via)}
}

lock()
{
	exec 9>"$dir/lock"
	flock -n 9 || { say 'another stack.sh works on it; waiting'; flock 9; }
}

# On a busy machine a broker is fenced for a moment, a server answers late: that is not yet dead.
answers_soon() { wait_for 8 "$1_answers"; }

# --- up --------------------------------------------------------------------------------------

# Start one service and wait until it answers.  A port that another program took meanwhile, and
# what a killed predecessor still holds, are tried again.
start_service()
{
	local name=$1 try log=$dir/log/$1.log from until pid code
	touch "$log"
	for try in 1 2 3 4 5; do
		"${name}_make" || return
		from=$(wc -c <"$log")
		"${name}_launch" || return 1
		read -r pid _ <"$dir/$name.pid"
		until=$((SECONDS + 180)) # a Kafka on a busy machine took 70
		until "${name}_answers"; do
			gone "$pid" && break
			[ $SECONDS -lt $until ] || { complain "$name does not answer after 180 s: $log"; return 1; }
			sleep 0.1
		done
		if ! gone "$pid"; then
			"${name}_after" >>"$log" 2>&1 || { complain "$name could not be set up: $log"; return 1; }
			return 0
		fi
		tail -c +$((from + 1)) "$log" | grep -qiE 'in use|already exists|pre-existing|lock' || break
		sleep 0.5
	done
	complain "$name ended at its start: $log"
	tail -c +$((from + 1)) "$log" | tail -n 5 >&2
	return 1
}

write_env()
{
	local name
	{
		echo "# Written by ops/stack.sh up; secrets: keep it to yourself."
		for name in $known; do "${name}_env"; done
		case $known in *kafka*) ;; *) echo KAFKA_ENABLED=false ;; esac
		echo "JWT_SECRET=$(secret JWT_SECRET 32)"
		echo "LOG_HASH_SALT=$(secret LOG_HASH_SALT 16)"
		echo "DELIVERY_SECRET_KEY=$(secret DELIVERY_SECRET_KEY 32)"
		echo "APNS_DEVICE_TOKEN_ENCRYPTION_KEY=$(secret APNS_DEVICE_TOKEN_ENCRYPTION_KEY 32)"
		tls_env
	} >"$dir/env.new" && mv "$dir/env.new" "$dir/env"
}

check_needs()
{
	local bad=0 name
	for name in $names; do "${name}_need" || bad=1; done
	[ $bad = 0 ] || exit 69
}

# A stack does not change its nature under the feet of those who use it.
check_options()
{
	local was name
	was=$(value_of "$dir/options" mode)
	[ -n "$was" ] && [ "$was" != "$mode" ] || return 0
	for name in $known; do
		! pid_of "$name" >/dev/null || die 1 "it runs without --tls: ops/stack.sh down first"
	done
}

up()
{
	local name pids=() code=0 one started=
	names=${names:-$all}
	check_needs
	mkdir -p "$dir/log" "$dir/ports" || exit 1
	lock
	recall
	check_options
	known=$(printf '%s\n' $known $names | awk '!seen[$0]++' | paste -sd ' ')
	printf '%s\n' "services=$known" "mode=$mode" "password=$password" "topic=$kafka_topic" \
		"kafka_via=$kafka_via" >"$dir/options"
	[ "$mode" = plain ] || tls_make || exit 1
	secret POSTGRES_PASSWORD 16 >/dev/null # here, since the starts below run side by side
	secret REDIS_PASSWORD 16 >/dev/null
	secret KAFKA_PASSWORD 16 >/dev/null
	for name in $names; do
		if pid_of "$name" >/dev/null && answers_soon "$name"; then continue; fi
		stop_service "$name" # one that runs and does not answer
		start_service "$name" &
		pids+=($!)
		started+=" $name"
	done
	for one in "${pids[@]}"; do
		wait "$one" || { [ $? = 69 ] && code=69 || code=${code/#0/1}; }
	done
	write_env
	[ $code = 0 ] || exit $code
	[ -n "$started" ] && say "started:$started" || say 'runs already'
	status
	say "environment: set -a; . $dir/env; set +a"
}

# --- down ------------------------------------------------------------------------------------

stop_service()
{
	local name=$1 pid signal=${1}_stop_signal one
	if pid=$(pid_of "$name"); then
		kill -CONT "$pid" 2>/dev/null # a stopped one hears nothing else
		kill -"${!signal}" "$pid" 2>/dev/null
		wait_for 20 gone "$pid" || { complain "$name does not stop: killed"; kill -KILL "$pid" 2>/dev/null; }
		wait_for 5 gone "$pid"
	fi
	# Children that a killed parent left.
	wait_for 5 none_left "$name" || for one in $(left_over "$name"); do kill -KILL "$one" 2>/dev/null; done
	rm -f "$dir/$name.pid"
}

down()
{
	local name pids=() stopped=
	[ -f "$dir/options" ] || { say "no stack in $dir"; return 0; }
	lock
	recall
	for name in ${names:-$known}; do
		! pid_of "$name" >/dev/null || stopped+=" $name"
		stop_service "$name" &
		pids+=($!)
	done
	wait "${pids[@]}"
	[ -n "$stopped" ] && say "stopped:$stopped" || say 'nothing ran'
	[ $wipe = yes ] || return 0
	[ -z "$names" ] || die 2 '--wipe takes no --only'
	# Only what is ours, in case the folder was somebody's.
	(cd "$dir" && rm -rf postgres redis kafka tls log ports secrets options env env.new lock)
	rmdir "$dir" 2>/dev/null && say "deleted: $dir"
	return 0
}

# --- status ----------------------------------------------------------------------------------

status()
{
	local name pid running=0 bad=0
	[ -f "$dir/options" ] || { say "no stack in $dir"; return 3; }
	[ -n "${known:-}" ] || recall
	for name in ${names:-$known}; do
		if ! pid=$(pid_of "$name"); then
			printf '%-9s port %-5s  not running\n' "$name" "$(port_of "$name")"
			bad=1
			continue
		fi
		running=1
		if answers_soon "$name"; then
			printf '%-9s port %-5s  pid %-7s  up %s  answers\n' "$name" "$(port_of "$name")" "$pid" "$(uptime_of "$pid")"
		else
			printf '%-9s port %-5s  pid %-7s  up %s  DOES NOT ANSWER\n' "$name" "$(port_of "$name")" "$pid" "$(uptime_of "$pid")"
			bad=1
		fi
	done
	[ $running = 1 ] || return 3
	return $bad
}

case $action in
up | down | status) $action ;;
env) cat "$dir/env" 2>/dev/null || die 1 "no stack in $dir: ops/stack.sh up" ;;
kafka-sums) # for whoever changes the version in ops/kafka/pom.xml
	new=$(mktemp -d)
	kafka_copy "$new" && (cd "$new" && LC_ALL=C sha256sum -- *.jar) >"$kafka_sums"
	code=$?
	rm -rf "$new"
	exit $code
	;;
*) usage >&2; exit 2 ;;
esac
