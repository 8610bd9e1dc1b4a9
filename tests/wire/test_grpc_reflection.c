/* SPDX-License-Identifier: MIT */
/* Symbols of our own descriptors, and requests that cannot be read. */
#include "wire/grpc_reflection.h"

#include <stdlib.h>

#include <criterion/criterion.h>

#include "wire/grpc_health.h"

TestSuite(grpc_reflection, .timeout = 10);

static struct wire_slice ours(void)
{
	return wire_slice(grpc_descriptor_set, grpc_descriptor_set_len);
}

Test(grpc_reflection, finds_the_file_of_every_kind_of_symbol)
{
#define PACKAGE "construct.message_gateway.v1."
	static const char *const symbols[] = {
		PACKAGE "MessageGateway",
		PACKAGE "MessageGateway.SubmitMessage",
		PACKAGE "SubmissionStatus",
		PACKAGE "SubmitMessageRequest",
		"grpc.health.v1.HealthCheckResponse.ServingStatus",
	};
	static const char *const none[] = {
		"",
		"construct",
		"construct.message_gateway.v1",
		PACKAGE,
		PACKAGE "MessageGatewa",
		PACKAGE "MessageGateway.",
		PACKAGE "MessageGateway.None",
		PACKAGE "SubmissionStatus.x",
		".grpc.health.v1.Health",
		"grpc.health.v1.Health.Check.x",
	};

	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++)
		cr_assert_not_null(
			(void *)grpc_reflection_symbol(ours(), wire_text(symbols[i])).at, "%s",
			symbols[i]);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		cr_assert_null((void *)grpc_reflection_symbol(ours(), wire_text(none[i])).at,
		               "%s", none[i]);
}

Test(grpc_reflection, finds_files_by_name)
{
	cr_assert_not_null((void *)grpc_reflection_file(ours(), wire_text("health.proto")).at);
	cr_assert_null((void *)grpc_reflection_file(ours(), wire_text("health.prot")).at);
}

Test(grpc_reflection, what_cannot_be_read_or_is_too_big_has_no_answer)
{
	static uint8_t big[GRPC_REFLECTION_REQUEST_MAX + 1];
	const struct grpc_reflection r = { .set = ours() };
	char service[GRPC_HEALTH_SERVICE_CHARS];
	uint8_t *answer;
	size_t len;

	cr_assert_null(grpc_reflection_answer(&r, wire_slice("\xff", 1), &len));
	cr_assert_null(grpc_reflection_answer(&r, wire_slice(big, sizeof(big)), &len));
	answer = grpc_reflection_answer(&r, wire_slice("", 0),
	                                &len); /* asks nothing: an error */
	cr_assert_not_null(answer);
	free(answer);
	cr_assert_not(grpc_health_request(wire_slice("\xff", 1), service));
	cr_assert(grpc_health_request(wire_slice("\x0a\x01x", 3), service));
	cr_assert_str_eq(service, "x");
}
