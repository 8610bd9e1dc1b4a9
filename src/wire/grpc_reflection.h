/* SPDX-License-Identifier: MIT */
/* Server reflection: questions of stock tools about services and types, answered from a
 * FileDescriptorSet.  v1 and v1alpha are the same on the wire (proto/reflection.proto).  Pure. */
#ifndef WIRE_GRPC_REFLECTION_H
#define WIRE_GRPC_REFLECTION_H

#include "wire/slice.h"

#define GRPC_REFLECTION_REQUEST_MAX \
	4096 /* bytes; the codec takes memory for each unknown field */

/* Of all files in proto/; made by the build. */
extern const uint8_t grpc_descriptor_set[];
extern const size_t grpc_descriptor_set_len;

struct grpc_reflection {
	struct wire_slice set;       /* a serialized FileDescriptorSet */
	const char *const *services; /* full names, for list_services */
	size_t service_count;
};

/* The file that has this name, or that defines this symbol (package.Service, package.Service.Method,
 * package.Message, package.Enum, package.Message.Nested): a serialized FileDescriptorProto inside set.
 * at NULL: there is none. */
struct wire_slice grpc_reflection_file(struct wire_slice set, struct wire_slice name);
struct wire_slice grpc_reflection_symbol(struct wire_slice set, struct wire_slice symbol);

/* The answer to one ServerReflectionRequest, in memory that the caller frees (free); NULL: the request
 * cannot be read or is over the limit.  What is not found is an answer too. */
uint8_t *grpc_reflection_answer(const struct grpc_reflection *r, struct wire_slice request,
                                size_t *len);

#endif
