/* SPDX-License-Identifier: MIT */
#include "wire/grpc_reflection.h"

#include <stdlib.h>

#include <reflection.pb-c.h>

#include "wire/grpc_frame.h"
#include "wire/protobuf.h"

#define REQUEST Grpc__Reflection__V1__ServerReflectionRequest
#define RESPONSE Grpc__Reflection__V1__ServerReflectionResponse
#define SERVICES_MAX 16

/* Numbers of descriptor.proto. */
enum { SET_FILE = 1 };
enum { FILE_NAME = 1, FILE_PACKAGE = 2, FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6 };
enum { TYPE_NAME = 1, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4, SERVICE_METHOD = 2 };

static void advance(struct wire_slice *rest, size_t n)
{
	rest->at += n;
	rest->len -= n;
}

/* The first field of this number, or absent. */
static struct wire_slice find(struct wire_slice message, uint32_t number)
{
	struct protobuf_field f;

	while (protobuf_next(&message, &f))
		if (f.number == number && f.bytes.at != NULL)
			return f.bytes;
	return wire_slice(NULL, 0);
}

/* Cuts "name" or "name." off the front of path; true: it stood there, *path is what is behind. */
static bool cut(struct wire_slice *path, struct wire_slice name)
{
	if (name.len > path->len || (name.len > 0 && memcmp(path->at, name.at, name.len) != 0))
		return false;
	if (name.len < path->len && (path->len == name.len + 1 || path->at[name.len] != '.'))
		return false;
	advance(path, name.len < path->len ? name.len + 1 : name.len);
	return true;
}

/* Which fields of a thing hold named things, and what those are. */
enum kind { KIND_FILE, KIND_MESSAGE, KIND_ENUM, KIND_SERVICE, KIND_METHOD };

static bool child_kind(enum kind parent, uint32_t number, enum kind *kind)
{
	static const struct {
		uint8_t parent, number, kind;
	} table[] = {
		{ KIND_FILE, FILE_MESSAGE, KIND_MESSAGE },
		{ KIND_FILE, FILE_ENUM, KIND_ENUM },
		{ KIND_FILE, FILE_SERVICE, KIND_SERVICE },
		{ KIND_MESSAGE, MESSAGE_NESTED, KIND_MESSAGE },
		{ KIND_MESSAGE, MESSAGE_ENUM, KIND_ENUM },
		{ KIND_SERVICE, SERVICE_METHOD, KIND_METHOD },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].parent == parent && table[i].number == number) {
			*kind = (enum kind)table[i].kind;
			return true;
		}
	}
	return false;
}

/* One step down: the child that *path begins with. */
static bool descend(struct wire_slice *thing, enum kind *kind, struct wire_slice *path)
{
	struct wire_slice rest = *thing;
	struct protobuf_field f;
	enum kind k;

	while (protobuf_next(&rest, &f)) {
		if (f.bytes.at == NULL || !child_kind(*kind, f.number, &k) ||
		    !cut(path, find(f.bytes, TYPE_NAME)))
			continue;
		*thing = f.bytes;
		*kind = k;
		return true;
	}
	return false;
}

static bool defines(struct wire_slice file, struct wire_slice symbol)
{
	enum kind kind = KIND_FILE;

	if (!cut(&symbol, find(file, FILE_PACKAGE)))
		return false;
	while (symbol.len > 0)
		if (!descend(&file, &kind, &symbol))
			return false;
	return kind != KIND_FILE;
}

struct wire_slice grpc_reflection_file(struct wire_slice set, struct wire_slice name)
{
	struct protobuf_field f;

	while (protobuf_next(&set, &f))
		if (f.number == SET_FILE && f.bytes.at != NULL &&
		    wire_slice_equal(find(f.bytes, FILE_NAME), name))
			return f.bytes;
	return wire_slice(NULL, 0);
}

struct wire_slice grpc_reflection_symbol(struct wire_slice set, struct wire_slice symbol)
{
	struct protobuf_field f;

	while (protobuf_next(&set, &f))
		if (f.number == SET_FILE && f.bytes.at != NULL && defines(f.bytes, symbol))
			return f.bytes;
	return wire_slice(NULL, 0);
}

static uint8_t *pack(RESPONSE *response, size_t *len)
{
	uint8_t *out;

	*len = grpc__reflection__v1__server_reflection_response__get_packed_size(response);
	out = malloc(*len > 0 ? *len : 1);
	if (out != NULL)
		grpc__reflection__v1__server_reflection_response__pack(response, out);
	return out;
}

static uint8_t *answer_error(RESPONSE *response, enum grpc_status status, const char *text,
                             size_t *len)
{
	Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;

	error.error_code = (int32_t)status;
	error.error_message = (char *)text;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
	response->error_response = &error;
	return pack(response, len);
}

static uint8_t *answer_file(RESPONSE *response, struct wire_slice file, size_t *len)
{
	Grpc__Reflection__V1__FileDescriptorResponse files =
		GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
	ProtobufCBinaryData one = { .data = (uint8_t *)(uintptr_t)file.at, .len = file.len };

	if (file.at == NULL)
		return answer_error(response, GRPC_NOT_FOUND, "not defined here", len);
	files.n_file_descriptor_proto = 1;
	files.file_descriptor_proto = &one;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
	response->file_descriptor_response = &files;
	return pack(response, len);
}

static uint8_t *answer_services(const struct grpc_reflection *r, RESPONSE *response,
                                size_t *len)
{
	Grpc__Reflection__V1__ServiceResponse services[SERVICES_MAX];
	Grpc__Reflection__V1__ServiceResponse *list[SERVICES_MAX];
	Grpc__Reflection__V1__ListServiceResponse all =
		GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;

	for (; all.n_service < r->service_count && all.n_service < SERVICES_MAX;
	     all.n_service++) {
		grpc__reflection__v1__service_response__init(&services[all.n_service]);
		services[all.n_service].name = (char *)(uintptr_t)r->services[all.n_service];
		list[all.n_service] = &services[all.n_service];
	}
	all.service = list;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
	response->list_services_response = &all;
	return pack(response, len);
}

/* None of our types has extensions; of a type that exists that is the answer. */
static uint8_t *answer_extensions(const struct grpc_reflection *r, RESPONSE *response,
                                  const char *type, size_t *len)
{
	Grpc__Reflection__V1__ExtensionNumberResponse none =
		GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;

	if (grpc_reflection_symbol(r->set, wire_text(type)).at == NULL)
		return answer_error(response, GRPC_NOT_FOUND, "not defined here", len);
	none.base_type_name = (char *)(uintptr_t)type;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
	response->all_extension_numbers_response = &none;
	return pack(response, len);
}

static uint8_t *answer(const struct grpc_reflection *r, REQUEST *request, size_t *len)
{
	RESPONSE response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;

	response.valid_host = request->host;
	response.original_request = request;
	switch (request->message_request_case) {
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
		return answer_file(
			&response,
			grpc_reflection_file(r->set, wire_text(request->file_by_filename)),
			len);
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
		return answer_file(&response,
		                   grpc_reflection_symbol(
					   r->set, wire_text(request->file_containing_symbol)),
		                   len);
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
		return answer_error(&response, GRPC_NOT_FOUND, "no extensions here", len);
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
		return answer_extensions(r, &response, request->all_extension_numbers_of_type,
		                         len);
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
		return answer_services(r, &response, len);
	default:
		return answer_error(&response, GRPC_INVALID_ARGUMENT, "nothing was asked", len);
	}
}

uint8_t *grpc_reflection_answer(const struct grpc_reflection *r, struct wire_slice request,
                                size_t *len)
{
	REQUEST *q;
	uint8_t *out;

	if (request.len > GRPC_REFLECTION_REQUEST_MAX)
		return NULL;
	q = grpc__reflection__v1__server_reflection_request__unpack(NULL, request.len,
	                                                            request.at);
	if (q == NULL)
		return NULL;
	out = answer(r, q, len);
	grpc__reflection__v1__server_reflection_request__free_unpacked(q, NULL);
	return out;
}
