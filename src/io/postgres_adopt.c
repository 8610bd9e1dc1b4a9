/* SPDX-License-Identifier: MIT */
#include "io/postgres_adopt.h"

/* Each query gives a line for each thing that is wrong, so that all are told at once. */
static const char *const checks[] = {
	/* Its migrations 1 to 7, and none that this program knows nothing of. */
	"SELECT 'version ' || v || ' of the old system''s migrations is not applied'"
	" FROM generate_series(1, 7) AS v WHERE NOT EXISTS"
	" (SELECT FROM _sqlx_migrations AS m WHERE m.version = v AND m.success)"
	" UNION ALL SELECT 'version ' || version || ' of the old system''s migrations is not "
	"known'"
	" FROM _sqlx_migrations WHERE version NOT BETWEEN 1 AND 7",

	/* The columns that are read and written; text and varchar are one to us. */
	"SELECT w.tab || '.' || w.col || ': ' || w.type || ' is expected, it is ' ||"
	" coalesce(replace(format_type(a.atttypid, NULL), 'character varying', 'text'), "
	"'missing')"
	" FROM (VALUES ('users', 'id', 'uuid'), ('users', 'username', 'text'),"
	" ('users', 'password_hash', 'text'), ('key_bundles', 'user_id', 'uuid'),"
	" ('key_bundles', 'master_identity_key', 'bytea'), ('key_bundles', 'bundle_data', "
	"'bytea'),"
	" ('key_bundles', 'signature', 'bytea'),"
	" ('key_bundles', 'registered_at', 'timestamp with time zone'),"
	" ('key_bundles', 'updated_at', 'timestamp with time zone'),"
	" ('device_tokens', 'id', 'uuid'), ('device_tokens', 'user_id', 'uuid'),"
	" ('device_tokens', 'device_token_hash', 'bytea'),"
	" ('device_tokens', 'device_token_encrypted', 'bytea'),"
	" ('device_tokens', 'device_name_encrypted', 'bytea'),"
	" ('device_tokens', 'notification_filter', 'text'), ('device_tokens', 'enabled', "
	"'boolean'),"
	" ('device_tokens', 'created_date', 'date'), ('delivery_pending', 'message_hash', "
	"'text'),"
	" ('delivery_pending', 'sender_id', 'text'),"
	" ('delivery_pending', 'expires_at', 'timestamp with time zone'))"
	" AS w(tab, col, type) LEFT JOIN pg_attribute AS a ON a.attrelid = to_regclass(w.tab)"
	" AND a.attname = w.col AND a.attnum > 0 AND NOT a.attisdropped"
	" WHERE a.attname IS NULL OR"
	" replace(format_type(a.atttypid, NULL), 'character varying', 'text') <> w.type",

	/* A column of somebody else's that our INSERT would have to fill. */
	"SELECT c.relname || '.' || a.attname || ': is not known, NOT NULL and without a "
	"default'"
	" FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
	" WHERE a.attrelid IN (to_regclass('users'), to_regclass('key_bundles'),"
	" to_regclass('device_tokens')) AND a.attnum > 0 AND NOT a.attisdropped"
	" AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''"
	" AND a.attname NOT IN ('id', 'username', 'password_hash', 'user_id',"
	" 'master_identity_key', 'bundle_data', 'signature', 'registered_at', 'updated_at',"
	" 'device_token_hash', 'device_token_encrypted', 'device_name_encrypted',"
	" 'notification_filter', 'enabled', 'created_date')",

	/* What ON CONFLICT and the look-ups rely on. */
	"SELECT w.tab || ': no unique index on (' || w.cols || ')'"
	" FROM (VALUES ('users', 'id'), ('users', 'username'), ('key_bundles', 'user_id'),"
	" ('device_tokens', 'id'), ('device_tokens', 'device_token_hash,user_id'),"
	" ('delivery_pending', 'message_hash')) AS w(tab, cols)"
	" WHERE to_regclass(w.tab) IS NOT NULL AND NOT EXISTS"
	" (SELECT FROM pg_index AS i WHERE i.indrelid = to_regclass(w.tab) AND i.indisunique"
	" AND i.indpred IS NULL AND i.indexprs IS NULL AND"
	" (SELECT string_agg(a.attname::text, ',' ORDER BY a.attname::text COLLATE \"C\")"
	" FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey))"
	" = w.cols)",
};

enum cx_err postgres_adopt_check(PGconn *conn, FILE *err)
{
	enum cx_err result = CX_OK;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		PGresult *res = PQexec(conn, checks[i]);

		if (PQresultStatus(res) != PGRES_TUPLES_OK) {
			PQclear(res);
			return CX_EIO;
		}
		for (int row = 0; row < PQntuples(res); row++) {
			fprintf(err, "construct: adoption: %s\n", PQgetvalue(res, row, 0));
			result = CX_EPROTO;
		}
		PQclear(res);
	}
	return result;
}
