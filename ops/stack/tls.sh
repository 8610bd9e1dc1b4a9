# SPDX-License-Identifier: MIT
# Certificates of a stack with --tls: a CA of its own, a certificate of the servers, and a second
# CA that signed nothing of this, for tests that must be refused.

tls_make()
{
	local base=$dir/tls ca
	[ ! -f "$base/server-both.pem" ] || return 0
	need openssl openssl || return 1
	rm -rf "$base"
	mkdir -p "$base"
	(
		cd "$base" || exit 1
		set -e
		for ca in ca other-ca; do
			openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
				-subj "/CN=construct stack $ca" -keyout $ca.key -out $ca.pem
		done
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
			-keyout server.key -out server.csr
		printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n' >server.ext
		openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
			-extfile server.ext -out server.pem
		cat server.key server.pem ca.pem >server-both.pem
	) >"$dir/log/tls.log" 2>&1 || { complain "openssl failed: $dir/log/tls.log"; return 1; }
}

# Programs that verify with the system's authorities are led to the stack's own.  libpq has a
# variable of its own; in the URL it would need an &, which a shell that reads the file minds.
tls_env()
{
	[ "$mode" = plain ] || printf '%s\n' "REDIS_CA_FILE=$dir/tls/ca.pem" "KAFKA_SSL_CA_FILE=$dir/tls/ca.pem" \
		"PGSSLROOTCERT=$dir/tls/ca.pem"
}
