/* SPDX-License-Identifier: MIT */
/* The adapter's own services: health (Check, Watch) and server reflection (v1, v1alpha). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/grpc_server_internal.h"

static const char *const own_services[] = {
	"grpc.health.v1.Health",
	"grpc.reflection.v1.ServerReflection",
	"grpc.reflection.v1alpha.ServerReflection",
};

static const struct {
	const char *path;
	enum grpc_kind kind;
} own_methods[] = {
	{ "/grpc.health.v1.Health/Check", GRPC_KIND_HEALTH_CHECK },
	{ "/grpc.health.v1.Health/Watch", GRPC_KIND_HEALTH_WATCH },
	{ "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", GRPC_KIND_REFLECTION },
	{ "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
	  GRPC_KIND_REFLECTION },
};

static int service_find(const struct grpc_adapter *a, const char *name, size_t len)
{
	for (size_t i = 0; i < a->service_count; i++)
		if (strlen(a->services[i].name) == len &&
		    memcmp(a->services[i].name, name, len) == 0)
			return (int)i;
	return -1;
}

static void service_add(struct grpc_adapter *a, const char *name, size_t len)
{
	struct grpc_service *s;

	if (service_find(a, name, len) >= 0)
		return;
	cx_assert(a->service_count < GRPC_SERVICES_MAX && len < sizeof(s->name));
	s = &a->services[a->service_count];
	memcpy(s->name, name, len);
	s->name[len] = '\0';
	s->health = GRPC_HEALTH_SERVING;
	if (a->service_count > 0)
		a->service_names[a->service_count - 1] = s->name;
	a->service_count++;
}

void grpc_services_fill(struct grpc_adapter *a)
{
	service_add(a, "", 0);
	for (size_t i = 0; i < a->settings->method_count; i++) {
		const char *name = a->settings->methods[i].path + 1;
		const char *slash = strchr(name, '/');

		cx_assert(slash != NULL);
		service_add(a, name, (size_t)(slash - name));
	}
	for (size_t i = 0; i < CX_COUNTOF(own_services); i++)
		service_add(a, own_services[i], strlen(own_services[i]));
}

enum grpc_kind grpc_method_find(const struct grpc_adapter *a, struct wire_slice path,
                                uint32_t *method)
{
	for (size_t i = 0; i < a->settings->method_count; i++) {
		if (wire_slice_is(path, a->settings->methods[i].path)) {
			*method = a->settings->methods[i].id;
			return a->settings->methods[i].is_many ? GRPC_KIND_MANY
			                                       : GRPC_KIND_SERVICE;
		}
	}
	for (size_t i = 0; i < CX_COUNTOF(own_methods); i++)
		if (wire_slice_is(path, own_methods[i].path))
			return own_methods[i].kind;
	return GRPC_KIND_NONE;
}

static bool push_health(struct grpc_stream *s, enum grpc_health health)
{
	uint8_t bytes[GRPC_HEALTH_RESPONSE_BYTES];
	struct cx_buf *buf = cx_buf_copy(bytes, grpc_health_response(bytes, health));
	const bool is_taken = grpc_push(s, buf);

	cx_buf_unref(buf);
	return is_taken;
}

static void on_health(struct grpc_stream *s, const char *name)
{
	const struct grpc_adapter *a = s->conn->adapter;
	const int at = service_find(a, name, strlen(name));

	if (s->kind == GRPC_KIND_HEALTH_WATCH) {
		s->service = (int8_t)at;
		s->is_watching = true;
		push_health(s, at < 0 ? GRPC_HEALTH_SERVICE_UNKNOWN
		                      : (enum grpc_health)a->services[at].health);
		return;
	}
	if (at < 0) {
		grpc_end(s, GRPC_NOT_FOUND, "no such service");
		return;
	}
	push_health(s, (enum grpc_health)a->services[at].health);
	grpc_end(s, GRPC_OK, NULL);
}

static void on_reflection(struct grpc_stream *s, struct wire_slice request)
{
	const struct grpc_adapter *a = s->conn->adapter;
	const struct grpc_reflection r = {
		.set = { grpc_descriptor_set, grpc_descriptor_set_len },
		.services = a->service_names,
		.service_count = a->service_count - 1,
	};
	size_t len;
	uint8_t *bytes = grpc_reflection_answer(&r, request, &len);
	struct cx_buf *buf;

	if (bytes == NULL) {
		grpc_end(s, GRPC_INVALID_ARGUMENT, "not a reflection request");
		return;
	}
	buf = cx_buf_copy(bytes, len);
	free(bytes);
	if (!grpc_push(s, buf))
		grpc_end(s, GRPC_RESOURCE_EXHAUSTED, "answers are not read");
	cx_buf_unref(buf);
}

void grpc_builtin(struct grpc_stream *s)
{
	const struct wire_slice request = wire_slice(cx_buf_bytes(s->msg), cx_buf_len(s->msg));
	char name[GRPC_HEALTH_SERVICE_CHARS];

	if (s->kind == GRPC_KIND_REFLECTION)
		on_reflection(s, request);
	else if (grpc_health_request(request, name))
		on_health(s, name);
	else
		grpc_end(s, GRPC_INVALID_ARGUMENT, "not a health request");
}

static void tell_watchers(struct grpc_adapter *a, int service)
{
	for (struct grpc_conn *c = a->conns; c != NULL; c = c->next)
		for (struct grpc_stream *s = c->streams; s != NULL; s = s->next)
			if (s->is_watching && s->service == service &&
			    !push_health(s, (enum grpc_health)a->services[service].health))
				grpc_end(s, GRPC_RESOURCE_EXHAUSTED, "answers are not read");
}

void grpc_health_set(struct grpc_adapter *a, const char *name, enum grpc_health health)
{
	const int at = service_find(a, name, strlen(name));

	if (at < 0 || a->services[at].health == health || a->is_draining)
		return;
	a->services[at].health = (uint8_t)health;
	tell_watchers(a, at);
}

void grpc_health_drain(struct grpc_adapter *a)
{
	for (size_t i = 0; i < a->service_count; i++)
		grpc_health_set(a, a->services[i].name, GRPC_HEALTH_NOT_SERVING);
}
