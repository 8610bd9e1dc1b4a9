/* SPDX-License-Identifier: MIT */
/* Round trips: what our encoders write, the decoder reads. */
#include "wire/client_frame.h"

#include <stdlib.h>

#include <criterion/criterion.h>

TestSuite(client_frame_encode, .timeout = 20);

#define ID "E621E1F8-C36C-495A-93FC-0C247A3E6E5F"
#define ALICE "7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11"

static const struct key_bundle_texts bundle = {
	.master_identity_key = { (const uint8_t *)"bWFz", 4 },
	.bundle_data = { (const uint8_t *)"ZGF0YQ==", 8 },
	.signature = { (const uint8_t *)"c2ln", 4 },
};

static void check_bundle(const struct key_bundle_texts *b)
{
	cr_assert(wire_slice_equal(b->master_identity_key, bundle.master_identity_key));
	cr_assert(wire_slice_equal(b->bundle_data, bundle.bundle_data));
	cr_assert(wire_slice_equal(b->signature, bundle.signature));
}

Test(client_frame_encode, account_frames_come_back_as_they_were_written)
{
	const struct client_register reg = { wire_text("alice"), wire_text("pw"), bundle };
	const struct client_change_password change = { wire_text("t"), wire_text("old"),
		                                       wire_text("new"), wire_text("again") };
	const struct client_delete_account gone = { wire_text("t"), wire_text("pw") };
	uint8_t room[1024];
	struct client_frame f;

	cr_assert(client_frame_decode(room, client_frame_register(room, sizeof(room), &reg),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_REGISTER && wire_slice_is(f.reg.password, "pw"));
	check_bundle(&f.reg.bundle);
	cr_assert(client_frame_decode(room,
	                              client_frame_change_password(room, sizeof(room), &change),
	                              &f) == ERROR_NONE);
	cr_assert(wire_slice_is(f.change_password.session_token, "t"));
	cr_assert(wire_slice_is(f.change_password.old_password, "old"));
	cr_assert(wire_slice_is(f.change_password.new_password, "new"));
	cr_assert(wire_slice_is(f.change_password.new_password_confirm, "again"));
	cr_assert(client_frame_decode(room,
	                              client_frame_delete_account(room, sizeof(room), &gone),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_DELETE_ACCOUNT &&
	          wire_slice_is(f.delete_account.password, "pw"));
	cr_assert(client_frame_decode(room,
	                              client_frame_logout(room, sizeof(room), wire_text("t")),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_LOGOUT && wire_slice_is(f.session.session_token, "t"));
}

Test(client_frame_encode, key_frames_come_back_as_they_were_written)
{
	struct client_rotate_prekey rotate = { .bundle = bundle };
	uint8_t room[1024];
	struct client_frame f;

	cr_assert(user_address_parse(wire_text(ALICE "@a.b"), &rotate.user));
	cr_assert(client_frame_decode(room,
	                              client_frame_rotate_prekey(room, sizeof(room), &rotate),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_ROTATE_PREKEY);
	cr_assert(uuid_equal(&f.rotate_prekey.user.user, &rotate.user.user));
	cr_assert(wire_slice_is(f.rotate_prekey.user.domain, "a.b"));
	check_bundle(&f.rotate_prekey.bundle);
	cr_assert(client_frame_decode(
			  room, client_frame_get_public_key(room, sizeof(room), &rotate.user),
			  &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_GET_PUBLIC_KEY &&
	          uuid_equal(&f.get_public_key.user.user, &rotate.user.user));
}

Test(client_frame_encode, an_acknowledgement_may_name_the_sender)
{
	struct client_acknowledge a = { .id_case = 0,
		                        .has_from = true,
		                        .status = wire_text("read") };
	uint8_t room[512];
	struct client_frame f;

	cr_assert(uuid_parse(wire_text(ID), &a.id, &a.id_case));
	cr_assert(user_address_parse(wire_text(ALICE), &a.from));
	cr_assert(client_frame_decode(room, client_frame_acknowledge(room, sizeof(room), &a),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_ACKNOWLEDGE_MESSAGE && !f.acknowledge.is_delivered);
	cr_assert(wire_slice_is(f.acknowledge.status, "read") && f.acknowledge.has_from);
	cr_assert(uuid_equal(&f.acknowledge.from.user, &a.from.user));
	cr_assert(wire_slice_is(f.message_id, ID) && uuid_equal(&f.acknowledge.id, &a.id));
}

Test(client_frame_encode, an_encoder_tells_the_length_it_needs_and_stays_in_its_room)
{
	struct chat_message m = { .message_number = 300, .content = wire_text("QUJD") };
	const size_t len = client_frame_send_message(NULL, 0, &m);
	uint8_t *room = malloc(len);

	for (size_t n = 0; n <= len; n++) {
		uint8_t *small = malloc(n > 0 ? n : 1); /* the sanitizer watches its end */

		cr_assert(client_frame_send_message(small, n, &m) == len);
		free(small);
	}
	cr_assert(client_frame_send_message(room, len, &m) == len);
	free(room);
}
Test(client_frame_encode, device_token_frames_come_back_as_they_were_written)
{
	struct client_device_token token = { wire_text("abc"), wire_text("phone"),
		                             FILTER_VISIBLE_DM, false };
	char long_token[129];
	uint8_t room[512];
	struct client_frame f;

	cr_assert(client_frame_decode(room,
	                              client_frame_device_token(room, sizeof(room),
	                                                        CLIENT_REGISTER_DEVICE_TOKEN,
	                                                        &token),
	                              &f) == ERROR_NONE);
	cr_assert(wire_slice_is(f.device_token.name, "phone") &&
	          f.device_token.filter == FILTER_VISIBLE_DM && f.device_token.enabled);
	cr_assert(client_frame_decode(room,
	                              client_frame_device_token(room, sizeof(room),
	                                                        CLIENT_UPDATE_DEVICE_TOKEN,
	                                                        &token),
	                              &f) == ERROR_NONE);
	cr_assert(!f.device_token.enabled && f.device_token.filter == FILTER_VISIBLE_DM);
	memset(long_token, 'x', sizeof(long_token));
	token.token = wire_slice(long_token, 129);
	cr_assert(client_frame_decode(room,
	                              client_frame_device_token(room, sizeof(room),
	                                                        CLIENT_UNREGISTER_DEVICE_TOKEN,
	                                                        &token),
	                              &f) == ERROR_INVALID_DEVICE_TOKEN);
}
