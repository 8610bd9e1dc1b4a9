-- SPDX-License-Identifier: MIT
-- What the system before this one had at its last version.  A database of that system is adopted:
-- its tables are checked against these (src/io/postgres_adopt.c) and this file counts as applied.
-- Never change a file that was released: its SHA-256 is in every database.

CREATE TABLE users (
	id            uuid PRIMARY KEY,
	username      text NOT NULL UNIQUE,
	password_hash text NOT NULL
);

CREATE TABLE key_bundles (
	user_id             uuid PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
	master_identity_key bytea NOT NULL,
	bundle_data         bytea NOT NULL,
	signature           bytea NOT NULL,
	registered_at       timestamptz NOT NULL DEFAULT now(),
	updated_at          timestamptz NOT NULL DEFAULT now()
);

-- Dates only: a time of day would tell when somebody was awake.
CREATE TABLE device_tokens (
	id                     uuid PRIMARY KEY,
	user_id                uuid NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	device_token_hash      bytea NOT NULL,
	device_token_encrypted bytea NOT NULL,
	device_name_encrypted  bytea,
	notification_filter    text NOT NULL DEFAULT 'silent',
	enabled                boolean NOT NULL DEFAULT true,
	created_date           date NOT NULL DEFAULT current_date,
	UNIQUE (user_id, device_token_hash)
);

-- Read for what older servers left in it, never written by this one.
CREATE TABLE delivery_pending (
	message_hash varchar(64) PRIMARY KEY,
	sender_id    varchar(36) NOT NULL,
	expires_at   timestamptz NOT NULL,
	created_at   timestamptz NOT NULL DEFAULT now()
);
