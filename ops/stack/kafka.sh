# SPDX-License-Identifier: MIT
# Kafka of a stack: one node that is broker and controller (KRaft), from jars of Maven.

kafka_version=${STACK_KAFKA_VERSION:-$(sed -n 's/.*<kafka.version>\(.*\)<.*/\1/p' "$home/ops/kafka/pom.xml")}
kafka_sums=$home/ops/kafka/jars${STACK_KAFKA_VERSION:+-$STACK_KAFKA_VERSION}.sha256
kafka_jars=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/construct/kafka-$kafka_version-$(cat "$kafka_sums" 2>/dev/null | sha256sum | cut -c1-8)
kafka_partitions=6

kafka_need()
{
	local bad=0
	need java openjdk-17-jre-headless || bad=1
	need python3 python3 || bad=1
	[ -d "$kafka_jars" ] || need mvn maven || bad=1
	return $bad
}

kafka_check() { (cd "$1" && sha256sum --quiet --strict -c "$kafka_sums" && [ "$(ls | wc -l)" = "$(wc -l <"$kafka_sums")" ]); }

kafka_copy() # FOLDER: what pom.xml names, by the Maven client as it is set up here
{
	local pause
	for pause in 2 4 0; do # networks hiccup; what is there is not fetched again
		timeout -k 10 300 mvn -B -q -f "$home/ops/kafka/pom.xml" -Dkafka.version="$kafka_version" dependency:copy-dependencies \
			-DincludeScope=runtime -DoutputDirectory="$1" && return 0
		sleep $pause
	done
	return 1
}

# Shared between stacks; a folder with that name is complete, since it gets the name last.
kafka_fetch()
{
	local new
	[ ! -d "$kafka_jars" ] || return 0
	[ -f "$kafka_sums" ] || { complain "STACK_KAFKA_VERSION: no $kafka_sums: ops/stack.sh kafka-sums makes it"; return 69; }
	mkdir -p "$(dirname "$kafka_jars")" && [ -w "$(dirname "$kafka_jars")" ] ||
		{ complain "kafka: $(dirname "$kafka_jars") cannot be written: set XDG_CACHE_HOME to a folder that can"; return 69; }
	(
		flock 8
		[ ! -d "$kafka_jars" ] || exit 0
		say "kafka: fetching $kafka_version, once"
		new=$(mktemp -d "$kafka_jars.XXXXXX")
		trap 'rm -rf "$new"' EXIT
		kafka_copy "$new" >"$dir/log/kafka-fetch.log" 2>&1 ||
			{ complain "kafka: mvn could not fetch it in three tries: $dir/log/kafka-fetch.log"; exit 1; }
		kafka_check "$new" >>"$dir/log/kafka-fetch.log" 2>&1 ||
			{ complain "kafka: the files are not those of ops/kafka/jars.sha256: $dir/log/kafka-fetch.log"; exit 1; }
		mv "$new" "$kafka_jars"
	) 8>"$kafka_jars.lock" || return 69
}

# Listeners that are reached by a proxy: STACK_KAFKA_VIA="NAME=PORT ...".  NAME listens on the port in
# ports/kafka-via-NAME and tells its clients to come to PORT (tests/fault).
kafka_via_ports() { local one; for one in $kafka_via; do port "kafka-via-${one%%=*}"; done; }
kafka_via_listeners() { local one; for one in $kafka_via; do printf ',%s://127.0.0.1:%s' "${one%%=*}" "$(port_of "kafka-via-${one%%=*}")"; done; }
kafka_via_advertised() { local one; for one in $kafka_via; do printf ',%s://127.0.0.1:%s' "${one%%=*}" "${one#*=}"; done; }
kafka_via_map() { local one; for one in $kafka_via; do printf ',%s:PLAINTEXT' "${one%%=*}"; done; }

kafka_properties()
{
	local base=$dir/kafka client map
	client=127.0.0.1:$(port_of kafka)
	map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,ADMIN:PLAINTEXT
	[ "$mode" = plain ] || map=CLIENT:SASL_SSL,CONTROLLER:PLAINTEXT,ADMIN:PLAINTEXT
	# A static quorum: its address may change with the port, which a dynamic one's may not.
	cat <<-EOF
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$(port_of kafka-controller)
		listeners=CLIENT://$client,ADMIN://127.0.0.1:$(port_of kafka-admin),CONTROLLER://127.0.0.1:$(port_of kafka-controller)$(kafka_via_listeners)
		advertised.listeners=CLIENT://$client,ADMIN://127.0.0.1:$(port_of kafka-admin)$(kafka_via_advertised)
		listener.security.protocol.map=$map$(kafka_via_map)
		inter.broker.listener.name=ADMIN
		controller.listener.names=CONTROLLER
		log.dirs=$base/data
		num.partitions=$kafka_partitions
		auto.create.topics.enable=false
		default.replication.factor=1
		min.insync.replicas=1
		offsets.topic.num.partitions=6
		offsets.topic.replication.factor=1
		transaction.state.log.num.partitions=3
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1
		group.initial.rebalance.delay.ms=0
		broker.session.timeout.ms=3000
		broker.heartbeat.interval.ms=1000
		EOF
	[ "$mode" = plain ] || kafka_tls_properties
}

kafka_tls_properties()
{
	local login='org.apache.kafka.common.security' pass
	pass=$(value_of "$dir/secrets" KAFKA_PASSWORD)
	cat <<-EOF
		ssl.keystore.type=PEM
		ssl.keystore.location=$dir/tls/server-both.pem
		ssl.client.auth=none
		sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
		listener.name.client.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_construct="$pass";
		listener.name.client.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;
		listener.name.client.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
		EOF
}

# The id must not begin with a dash, which is one of its 64 digits.
kafka_format()
{
	local base=$dir/kafka pass
	pass=$(secret KAFKA_PASSWORD 16)
	java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$kafka_jars/*" kafka.tools.StorageTool format \
		-t "$(head -c 16 /dev/urandom | base64 | tr '+/' 'A_' | tr -d =)" -c "$base/server.properties" --ignore-formatted \
		--add-scram "SCRAM-SHA-256=[name=construct,password=$pass]" \
		--add-scram "SCRAM-SHA-512=[name=construct,password=$pass]" >>"$dir/log/kafka.log" 2>&1 ||
		{ complain "kafka: formatting failed: $dir/log/kafka.log"; return 1; }
}

kafka_make()
{
	kafka_fetch || return
	mkdir -p "$dir/kafka"
	port kafka
	port kafka-controller
	port kafka-admin
	kafka_via_ports
	secret KAFKA_PASSWORD 16 >/dev/null
	kafka_properties >"$dir/kafka/server.properties"
	[ -f "$dir/kafka/data/meta.properties" ] || kafka_format
}

kafka_launch()
{
	daemon kafka java -Xms256m -Xmx512m -XX:+UseSerialGC \
		-Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
		-cp "$kafka_jars/*" kafka.Kafka "$dir/kafka/server.properties"
}

# The look at the port first: a Python each 0.1 s would slow down the start that it waits for.
kafka_answers() { port_busy "$(port_of kafka-admin)" && python3 -B "$home/ops/kafka/admin.py" ping "127.0.0.1:$(port_of kafka-admin)" 2>/dev/null; }

kafka_after()
{
	python3 -B "$home/ops/kafka/admin.py" create "127.0.0.1:$(port_of kafka-admin)" $kafka_partitions \
		"$kafka_topic" "$kafka_topic-delivery-ack" "$kafka_topic-dead-letter"
}
kafka_stop_signal=TERM

# PLAIN, though the broker takes SCRAM too: librdkafka before 2.6.1 (Debian 12 has 2.0.2) sends a
# wrong nonce in SCRAM's last message, which brokers since 3.8.1 refuse as a wrong password.
kafka_env()
{
	cat <<-EOF
		KAFKA_ENABLED=true
		KAFKA_BROKERS=127.0.0.1:$(port_of kafka)
		KAFKA_TOPIC=$kafka_topic
		KAFKA_CONSUMER_GROUP=construct-delivery-workers
		EOF
	[ "$mode" = plain ] || cat <<-EOF
		KAFKA_SSL_ENABLED=true
		KAFKA_SASL_MECHANISM=PLAIN
		KAFKA_SASL_USERNAME=construct
		KAFKA_SASL_PASSWORD=$(value_of "$dir/secrets" KAFKA_PASSWORD)
		EOF
}
