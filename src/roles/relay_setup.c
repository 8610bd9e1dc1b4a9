/* SPDX-License-Identifier: MIT */
#include "roles/relay_setup.h"

#include <string.h>

#include <cx/log.h>

#include "actors/connection.h"

#define WINDOW_BYTES 262144
#define HANDSHAKE_SECS 10
#define FRAME_BYTES_MAX 100000
#define DAY_MS INT64_C(86400000)

void relay_setup_fill(const struct config *c, struct cx_runtime *rt, struct relay *relay)
{
	*relay = (struct relay){
		.max_messages_per_hour = c->max_messages_per_hour,
		.max_messages_per_minute = c->max_messages_per_minute,
		.block_seconds = c->rate_limit_block_seconds,
		.max_connections_per_user = c->max_connections_per_user,
		.max_key_rotations_per_day = c->max_key_rotations_per_day,
		.max_password_changes_per_day = c->max_password_changes_per_day,
		.max_failed_logins = c->max_failed_login_attempts,
		.session_ttl_ms = c->session_ttl_days * DAY_MS,
		.verify_bundles = c->key_bundle_verify == CONFIG_VERIFY_STRICT,
		.receipts = c->delivery_ack_mode != CONFIG_ACK_OFF,
		.jwt_secret = c->jwt_secret,
		.jwt_secret_len = c->jwt_secret != NULL ? strlen(c->jwt_secret) : 0,
		.jwt_issuer = c->jwt_issuer,
		.domain = c->instance_domain,
		.workers = c->worker_threads,
		.runtime = rt,
	};
}

void relay_setup_device_key(const struct config *c, uint8_t key[HASH_KEY_LEN],
                            struct relay *relay)
{
	if (c->apns_device_token_encryption_key == NULL) {
		cx_log(CX_WARN, "relay.no_device_tokens",
		       "needs=APNS_DEVICE_TOKEN_ENCRYPTION_KEY");
		return;
	}
	/* 64 hex digits: config.c made sure */
	cx_assert(hash_key_parse(wire_text(c->apns_device_token_encryption_key), key));
	relay->device_key = key;
}

void relay_setup_websocket(const struct config *c, const struct relay *relay,
                           struct websocket_settings *out)
{
	*out = (struct websocket_settings){
		.bind = c->bind,
		.port = (uint16_t)c->port,
		.tls_cert_file = c->tls_cert_file,
		.tls_key_file = c->tls_key_file,
		.max_connections = c->max_connections,
		.max_handshakes = c->max_handshakes,
		.handshake_secs = HANDSHAKE_SECS,
		.max_frame_bytes = FRAME_BYTES_MAX,
		.window_bytes = WINDOW_BYTES,
		.workers = (uint16_t)c->worker_threads,
		.connection_type = &connection_type,
		.connection_context = relay,
		.http = relay->fronts,
	};
}
