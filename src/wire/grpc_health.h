/* SPDX-License-Identifier: MIT */
/* The messages of grpc.health.v1 (proto/health.proto) as bytes.  Pure. */
#ifndef WIRE_GRPC_HEALTH_H
#define WIRE_GRPC_HEALTH_H

#include "wire/slice.h"

#define GRPC_HEALTH_REQUEST_MAX 4096 /* bytes; the codec takes memory for each unknown field */
#define GRPC_HEALTH_SERVICE_CHARS 256
#define GRPC_HEALTH_RESPONSE_BYTES 16

enum grpc_health {
	GRPC_HEALTH_UNKNOWN,
	GRPC_HEALTH_SERVING,
	GRPC_HEALTH_NOT_SERVING,
	GRPC_HEALTH_SERVICE_UNKNOWN, /* answers of Watch only */
};

/* HealthCheckRequest: the name of the service, "" for the server as a whole.
 * False: not that message, or over a limit above. */
WIRE_NODISCARD bool grpc_health_request(struct wire_slice bytes,
                                        char service[GRPC_HEALTH_SERVICE_CHARS]);

/* HealthCheckResponse; returns its length (0 is a length: UNKNOWN is the empty message). */
size_t grpc_health_response(uint8_t out[GRPC_HEALTH_RESPONSE_BYTES], enum grpc_health health);

#endif
