# SPDX-License-Identifier: MIT
# `construct migrate` as an operator meets it; what the module does for any list of migrations is
# in migrate_cases.c.

cases()
{
	local out
	out=$(timeout 300 "$build/tests/stack/migrate_cases" "$DATABASE_URL")
	local code=$?
	grep -v '^migrate:' <<<"$out"
	passed=$((passed + $(grep -c '^  ok ' <<<"$out")))
	failed=$((failed + $(grep -c '^  FAIL' <<<"$out")))
	# A crash has no line of its own.
	[ $code = 0 ] || grep -q '^  FAIL' <<<"$out" || { failed=$((failed + 1)); echo "  FAIL migrate_cases: exit code $code"; }
}

# in_database NAME COMMAND...: a new one, where DATABASE_URL leads.
in_database()
{
	local name=$1
	shift
	sql "create database $name" || return 1
	local DATABASE_URL=${DATABASE_URL%/*}/$name
	"$@"
}

migrate() { timeout 120 "$build/construct" migrate "$@"; }
base=$(cd migrations && ls | head -n 1)

fresh()
{
	says "applied: $base" migrate && says 'up to date' exits 0 migrate &&
		query "select count(*) from construct_migrations" "$(ls migrations/*.sql | wc -l)" &&
		query "select sha256 from construct_migrations where name = '$base'" "$(sha256sum <"migrations/$base" | cut -d' ' -f1)"
}

# The old system's tables, made by hand as storage.md describes them.
old_system()
{
	sql "create table _sqlx_migrations(version bigint primary key, description text not null,
			installed_on timestamptz not null default now(), success boolean not null, checksum bytea not null, execution_time bigint not null);
		insert into _sqlx_migrations select v, 'm', now(), true, '\\x00', 1 from generate_series(1, 7) v;
		create table users(id uuid primary key default gen_random_uuid(), username varchar(255) unique not null, password_hash text not null);
		create table key_bundles(user_id uuid primary key references users(id) on delete cascade, master_identity_key bytea not null,
			bundle_data bytea not null, signature bytea not null, registered_at timestamptz not null, updated_at timestamptz not null);
		create table device_tokens(id uuid primary key default gen_random_uuid(), user_id uuid not null references users(id) on delete cascade,
			device_token_hash bytea not null, device_token_encrypted bytea not null, device_name_encrypted bytea,
			notification_filter text not null default 'silent', enabled boolean not null default true, created_date date not null,
			unique(user_id, device_token_hash));
		create table delivery_pending(message_hash varchar(64) primary key, sender_id varchar(36) not null,
			expires_at timestamptz not null, created_at timestamptz not null default now());
		insert into users(username, password_hash) values ('old', 'hash')"
}

adopted()
{
	old_system && says 'adopted' migrate && says 'up to date' exits 0 migrate &&
		query "select username from users" old && query "select count(*) from construct_migrations where name = '$base'" 1
}

# An old system that is not as it should be: said, and nothing is changed.
not_adopted() # SQL TEXT
{
	old_system && sql "$1" && says "$2" migrate && exits 1 migrate 2>/dev/null &&
		query "select to_regclass('construct_migrations') is null" t
}

at_once()
{
	local i pids=() code=0
	for i in 1 2 3 4 5 6 7 8; do
		migrate >"$work/migrate.$i" 2>&1 &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i" || code=1; done
	[ $code = 0 ] && [ "$(cat "$work"/migrate.? | grep -c "applied: $base")" = 1 ] || { cat "$work"/migrate.?; return 1; }
}

direct_is_preferred()
{
	DATABASE_DIRECT_URL=$DATABASE_URL DATABASE_URL=postgresql://127.0.0.1:1/none migrate
}

from_file()
{
	echo "$DATABASE_URL" >"$work/url"
	DATABASE_URL='' DATABASE_URL_FILE=$work/url migrate
}

# With wrong credentials, a dead server, a malformed URL: the password is nowhere.
tells_no_password()
{
	local out one
	for one in "${DATABASE_URL/:\/\/construct:*@/://construct:pass-word-9@}" postgresql://u:pass-word-9@127.0.0.1:1/x \
		postgresql://u:pass-word-9@127.0.0.1:pass-word-9/x; do
		out=$(DATABASE_URL=$one migrate 2>&1) && { echo 'it succeeded'; return 1; }
		[ -n "$out" ] && ! grep -qF pass-word-9 <<<"$out" || { echo "$out"; return 1; }
	done
}

a_bad_set() # the builder of the embedded files
{
	mkdir -p "$work/sql"
	echo 'select 1' | tee "$work/sql/001_a.sql" >"$work/sql/$1"
	not ops/embed-migrations.sh "$work"/sql/*.sql >/dev/null
	local code=$?
	rm -rf "$work/sql"
	return $code
}

check 'migrate: PostgreSQL is up' stack up --only pg "$D"
load_env
cases
check 'migrate: an empty database gets the schema' in_database m_fresh fresh
check 'migrate: eight at once apply it once' in_database m_once at_once
check 'migrate: a database of the old system is adopted' in_database m_old adopted
check 'migrate: an old system behind version 7 is refused' in_database m_behind not_adopted \
	'delete from _sqlx_migrations where version = 7' 'version 7 of the old'
check 'migrate: an old system with a failed version is refused' in_database m_half not_adopted \
	'update _sqlx_migrations set success = false where version = 3' 'version 3 of the old'
check 'migrate: an old system ahead of us is refused' in_database m_ahead not_adopted \
	"insert into _sqlx_migrations values (8, 'm', now(), true, '', 1)" 'version 8 of the old'
check 'migrate: an old system without a column is refused' in_database m_column not_adopted \
	'alter table device_tokens drop column enabled' 'device_tokens.enabled: boolean is expected, it is missing'
check 'migrate: an old system with another type is refused' in_database m_type not_adopted \
	'alter table users alter password_hash drop not null, alter password_hash type bytea using null' 'users.password_hash: text is expected, it is bytea'
check 'migrate: an old system with a column that we cannot fill is refused' in_database m_extra not_adopted \
	'alter table users add tenant int not null default 1; alter table users alter tenant drop default' 'users.tenant: is not known'
check 'migrate: an old system without a unique name is refused' in_database m_unique not_adopted \
	'alter table users drop constraint users_username_key' 'users: no unique index on (username)'
check 'migrate: DATABASE_DIRECT_URL is preferred' in_database m_direct direct_is_preferred
check 'migrate: the URL may come from a file' in_database m_file from_file
check 'migrate: no password is printed' tells_no_password
check 'migrate: the embedded store is no database to migrate' exits 78 env DATABASE_URL=sqlite:x.db "$build/construct" migrate
check 'migrate: a bad setting exits with 78' exits 78 env PORT=none "$build/construct" migrate
check 'migrate: a dead server exits with 1' exits 1 env DATABASE_URL=postgresql://127.0.0.1:1/x "$build/construct" migrate
check 'migrate: an argument exits with 2' exits 2 migrate now
check 'migrate: --help' says DATABASE_DIRECT_URL exits 0 migrate --help
check 'migrate: two files with one number do not build' a_bad_set 001_b.sql
check 'migrate: a file without a number does not build' a_bad_set b.sql
check 'migrate: down' stack down --wipe "$D"
