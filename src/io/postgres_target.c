/* SPDX-License-Identifier: MIT */
#include "io/postgres_target.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include <libpq-fe.h>

#include <construct/messages.h>

#define ADDRESSES_MAX 6 /* so many of the longest names have room in the message */
#define DEF_PORT "5432"

/* What the URL does not say.  Without keepalives a connection whose peer vanished would be believed
 * in for hours; the search for Kerberos tickets reads files and asks servers. */
static const char *default_of(const char *name, const char *application_name)
{
	static const char *const defaults[][2] = {
		{ "keepalives_idle", "30" },   { "keepalives_interval", "10" },
		{ "keepalives_count", "3" },   { "gssencmode", "disable" },
		{ "client_encoding", "UTF8" },
	};

	for (size_t i = 0; i < CX_COUNTOF(defaults); i++)
		if (strcmp(name, defaults[i][0]) == 0)
			return defaults[i][1];
	return strcmp(name, "application_name") == 0 ? application_name : NULL;
}

static void add(struct postgres_target *t, const char *name, const char *value)
{
	cx_assert(t->count < POSTGRES_TARGET_OPTIONS_MAX);
	t->names[t->count] = name;
	t->values[t->count++] = value;
}

bool postgres_target_parse(struct postgres_target *t, const char *url,
                           const char *application_name)
{
	const char *host = NULL;
	bool has_address = false;
	PQconninfoOption *list;

	*t = (struct postgres_target){ 0 };
	/* its error text is not asked for: it quotes the URL */
	list = PQconninfoParse(url, NULL);
	if (list == NULL)
		return false;
	t->options = list;
	for (const PQconninfoOption *o = list; o->keyword != NULL; o++) {
		const char *const value =
			o->val != NULL ? o->val : default_of(o->keyword, application_name);

		if (value == NULL || value[0] == '\0')
			continue;
		if (strcmp(o->keyword, "hostaddr") == 0)
			has_address = true;
		if (strcmp(o->keyword, "host") == 0)
			host = value;
		if (strcmp(o->keyword, "port") == 0)
			t->ports = value;
		add(t, o->keyword, value);
	}
	/* A folder of sockets, or an address beside the name: nothing to look up. */
	if (host != NULL && host[0] != '/' && host[0] != '@' && !has_address)
		t->hosts = host;
	return true;
}

void postgres_target_free(struct postgres_target *t)
{
	PQconninfoFree(t->options);
	*t = (struct postgres_target){ 0 };
}

/* The i-th of a list separated by commas; false: it has no more. */
static bool nth(const char *list, unsigned i, char *out, size_t size)
{
	const char *end;

	while (i > 0 && (list = strchr(list, ',')) != NULL) {
		list++;
		i--;
	}
	if (list == NULL)
		return false;
	end = strchrnul(list, ',');
	snprintf(out, size, "%.*s", (int)(end - list), list);
	return true;
}

static void append(char *list, size_t size, const char *text)
{
	const size_t len = strlen(list);

	snprintf(list + len, size - len, "%s%s", len > 0 ? "," : "", text);
}

struct place {
	char host[256], address[64], port[8];
};

static unsigned look_up_one(const char *host, const char *port, struct place *out,
                            unsigned room)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	unsigned n = 0;

	if (getaddrinfo(host, port, &hints, &found) != 0)
		return 0;
	for (const struct addrinfo *a = found; a != NULL && n < room; a = a->ai_next) {
		struct place *const p = &out[n];

		if (getnameinfo(a->ai_addr, a->ai_addrlen, p->address, sizeof(p->address), NULL,
		                0, NI_NUMERICHOST) != 0)
			continue;
		snprintf(p->host, sizeof(p->host), "%s", host);
		snprintf(p->port, sizeof(p->port), "%s", port);
		n++;
	}
	freeaddrinfo(found);
	return n;
}

/* On the offload pool: this may block for as long as the resolver likes. */
static void look_up(struct cx_msg *job)
{
	struct postgres_resolved_msg *m = (struct postgres_resolved_msg *)(void *)job;
	struct place places[ADDRESSES_MAX];
	char host[256], port[8];
	unsigned n = 0;

	for (unsigned i = 0; n < ADDRESSES_MAX && nth(m->asked_hosts, i, host, sizeof(host));
	     i++) {
		/* one port counts for all hosts */
		if (!nth(m->asked_ports, i, port, sizeof(port)) &&
		    !nth(m->asked_ports, 0, port, sizeof(port)))
			port[0] = '\0';
		n += look_up_one(host, port[0] != '\0' ? port : DEF_PORT, places + n,
		                 ADDRESSES_MAX - n);
	}
	/* Each try begins elsewhere: an address that never answers eats a try, not all of them. */
	for (unsigned i = 0; i < n; i++) {
		const struct place *const p = &places[(i + m->turn) % n];

		append(m->hosts, sizeof(m->hosts), p->host);
		append(m->addresses, sizeof(m->addresses), p->address);
		append(m->ports, sizeof(m->ports), p->port);
	}
}

enum cx_err postgres_resolve(struct cx_ctx *ctx, const struct postgres_target *t,
                             uint32_t connection, uint32_t turn)
{
	struct postgres_resolved_msg *const m =
		CX_MSG_NEW(ctx, POSTGRES_RESOLVED, struct postgres_resolved_msg);

	m->connection = connection;
	m->turn = turn;
	snprintf(m->asked_hosts, sizeof(m->asked_hosts), "%s", t->hosts);
	snprintf(m->asked_ports, sizeof(m->asked_ports), "%s",
	         t->ports != NULL ? t->ports : "");
	return cx_offload(ctx, &m->hdr, look_up);
}
