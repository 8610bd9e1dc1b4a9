/* SPDX-License-Identifier: MIT */
#include "wire/grpc_health.h"

#include <health.pb-c.h>

_Static_assert((int)GRPC_HEALTH_SERVICE_UNKNOWN ==
                       GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN,
               "the numbers of the proto file");

bool grpc_health_request(struct wire_slice bytes, char service[GRPC_HEALTH_SERVICE_CHARS])
{
	Grpc__Health__V1__HealthCheckRequest *request;
	size_t len;
	bool fits;

	if (bytes.len > GRPC_HEALTH_REQUEST_MAX)
		return false;
	request = grpc__health__v1__health_check_request__unpack(NULL, bytes.len, bytes.at);
	if (request == NULL)
		return false;
	len = strlen(request->service);
	fits = len < GRPC_HEALTH_SERVICE_CHARS;
	if (fits)
		memcpy(service, request->service, len + 1);
	grpc__health__v1__health_check_request__free_unpacked(request, NULL);
	return fits;
}

size_t grpc_health_response(uint8_t out[GRPC_HEALTH_RESPONSE_BYTES], enum grpc_health health)
{
	Grpc__Health__V1__HealthCheckResponse response =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	response.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)health;
	return grpc__health__v1__health_check_response__pack(&response, out);
}
