# SPDX-License-Identifier: MIT
# --tls: each service is reached by who knows its CA, and refused by who knows another.

tls_sql() { PGSSLROOTCERT=$D/tls/$1.pem query 'select ssl from pg_stat_ssl where pid = pg_backend_pid()' t; }
tls_redis() { redis_gives PONG --cacert "$D/tls/$1.pem" ping; }
tls_kafka() # CA MECHANISM PASSWORD
{
	timeout 20 kcat -b "$KAFKA_BROKERS" -X security.protocol=sasl_ssl -X sasl.mechanism="$2" -L -m 4 \
		-X sasl.username="$KAFKA_SASL_USERNAME" -X sasl.password="$3" -X ssl.ca.location="$D/tls/$1.pem"
}
plain_kafka() { timeout 20 kcat -b "$KAFKA_BROKERS" -L -m 4; }

check '--tls: up' stack up --tls "$D"
load_env
check '--tls: PostgreSQL with its CA' tls_sql ca
check '--tls: PostgreSQL refused with another CA' not tls_sql other-ca
check '--tls: PostgreSQL refuses plain text' says 'no pg_hba.conf entry' timeout 20 psql -X "${DATABASE_URL/verify-full/disable}" -c 'select 1'
check '--tls: migrate with its CA' "$build/construct" migrate
check '--tls: migrate refused with another CA' says 'certificate verify failed' \
	exits 1 env PGSSLROOTCERT="$D/tls/other-ca.pem" "$build/construct" migrate
check '--tls: Redis with its CA' tls_redis ca
check '--tls: Redis refused with another CA' not tls_redis other-ca
check '--tls: Kafka with its CA' tls_kafka ca PLAIN "$KAFKA_SASL_PASSWORD"
check '--tls: Kafka refused with another CA' says 'handshake failed' tls_kafka other-ca PLAIN "$KAFKA_SASL_PASSWORD"
check '--tls: Kafka refuses a wrong password' says 'Authentication failed' tls_kafka ca PLAIN wrong
check '--tls: Kafka refuses plain text' not plain_kafka
check '--tls: down --wipe' stack down --wipe "$D"
unset SSL_CERT_FILE PGSSLROOTCERT KAFKA_SSL_ENABLED KAFKA_SASL_MECHANISM KAFKA_SASL_USERNAME KAFKA_SASL_PASSWORD
