# SPDX-License-Identifier: MIT
# PostgreSQL of a stack.  It refuses to run as root, so root lends it the user of the package.

postgres_user() { id -u postgres >/dev/null 2>&1 && echo postgres || echo nobody; }

# Programs of the newest version from 15 on; Debian keeps them out of PATH.
postgres_bin()
{
	local found
	found=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
	[ -x "$found" ] || found=$(command -v initdb)
	[ -n "$found" ] && dirname "$(readlink -f "$found")"
}

postgres_need()
{
	local bad=0
	[ -n "$(postgres_bin)" ] || { need initdb postgresql-15 || bad=1; }
	need psql postgresql-client-15 || bad=1
	return $bad
}

as_postgres=()
[ "$(id -u)" != 0 ] ||
	as_postgres=(setpriv --reuid="$(postgres_user)" --regid="$(id -g "$(postgres_user)")" --clear-groups --)

postgres_init()
{
	local base=$dir/postgres code
	rm -rf "$base/data" # of a try that was cut short
	value_of "$dir/secrets" POSTGRES_PASSWORD >"$base/password"
	[ "$(id -u)" != 0 ] || chown "$(postgres_user):" "$base/password"
	(cd "$base" && "${as_postgres[@]}" "$(postgres_bin)/initdb" -D "$base/data" -U construct -E UTF8 \
		--locale=C.UTF-8 --auth=scram-sha-256 --pwfile="$base/password") >>"$dir/log/postgres.log" 2>&1
	code=$?
	rm -f "$base/password"
	[ $code = 0 ] || { complain "initdb failed: $dir/log/postgres.log"; return 1; }
	touch "$base/made"
}

postgres_make()
{
	local base=$dir/postgres
	mkdir -p "$base"
	if [ "$(id -u)" = 0 ]; then
		chmod 711 "$dir"
		chown "$(postgres_user):" "$base"
	fi
	"${as_postgres[@]}" test -w "$base" || {
		complain "the user $(postgres_user) cannot enter $base: PostgreSQL does not run as root, so every folder above needs the mode o+x"
		return 1
	}
	[ -f "$base/made" ] || postgres_init || return 1
	port postgres
	postgres_access
}

# With TLS nothing else is let in.
postgres_access()
{
	local base=$dir/postgres kind=host
	[ "$mode" = plain ] || kind=hostssl
	echo "$kind all all 127.0.0.1/32 scram-sha-256" >"$base/data/pg_hba.conf"
	[ "$mode" = plain ] && return
	install -m 600 "$dir/tls/server.key" "$dir/tls/server.pem" "$base/"
	[ "$(id -u)" != 0 ] || chown "$(postgres_user):" "$base/server.key" "$base/server.pem"
}

postgres_launch()
{
	local base=$dir/postgres tls=()
	[ "$mode" = plain ] ||
		tls=(-c ssl=on -c "ssl_cert_file=$base/server.pem" -c "ssl_key_file=$base/server.key")
	daemon postgres "${as_postgres[@]}" "$(postgres_bin)/postgres" -D "$base/data" -p "$(port_of postgres)" \
		-c listen_addresses=127.0.0.1 -c unix_socket_directories= "${tls[@]}"
}

# psql as the stack's own user; the password goes by the environment, not the command line.
postgres_sql() # DATABASE SQL
{
	PGPASSWORD=$(value_of "$dir/secrets" POSTGRES_PASSWORD) PGCONNECT_TIMEOUT=3 \
		PGSSLMODE=$([ "$mode" = plain ] && echo disable || echo verify-full) PGSSLROOTCERT=$dir/tls/ca.pem \
		psql -XAtq -h 127.0.0.1 -p "$(port_of postgres)" -U construct -d "$1" -c "$2"
}

postgres_answers() { [ "$(postgres_sql postgres 'select 1' 2>/dev/null)" = 1 ]; }

postgres_after()
{
	[ "$(postgres_sql postgres "select 1 from pg_database where datname = 'construct'")" = 1 ] ||
		postgres_sql postgres 'create database construct'
}

# SIGINT is its fast shutdown: sessions are ended, what was committed is on disk.
postgres_stop_signal=INT

postgres_env()
{
	local tls=
	[ "$mode" = plain ] || tls='?sslmode=verify-full'
	echo "DATABASE_URL=postgresql://construct:$(value_of "$dir/secrets" POSTGRES_PASSWORD)@127.0.0.1:$(port_of postgres)/construct$tls"
}
