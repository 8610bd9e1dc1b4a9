/* SPDX-License-Identifier: MIT */
/* What each role needs, and what cannot work in it. */
#include <string.h>

#include "roles/config_table.h"

struct fault {
	bool is_there;
	const char *text;
};

static unsigned report(const struct fault *faults, size_t count, const char *prefix, FILE *err)
{
	unsigned n = 0;

	for (size_t i = 0; i < count; i++) {
		if (!faults[i].is_there)
			continue;
		fprintf(err, "%s%s\n", prefix, faults[i].text);
		n++;
	}
	return n;
}

unsigned config_role_flag(const char *role)
{
	static const struct {
		const char *name;
		unsigned flag;
	} roles[] = {
		{ "all", P_RELAY },
		{ "server", P_SERVER },
		{ "gateway", P_GATEWAY },
		{ "worker", P_WORKER },
	};

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (strcmp(roles[i].name, role) == 0)
			return roles[i].flag;
	}
	return 0;
}

/* A deployment has several processes: what one of them made up, the others could not know. */
static unsigned check_needs(unsigned role, FILE *err)
{
	unsigned n = 0;

	for (size_t i = 0; i < config_param_count; i++) {
		const struct config_param *p = &config_params[i];

		if (!(p->flags & P_NEED) || !(p->flags & role) || config_is_given(p->name))
			continue;
		fprintf(err, "%s: must be set for this role\n", p->name);
		n++;
	}
	return n;
}

/* Roles apart from each other share what no file on one machine can hold. */
static unsigned check_stack_role(const struct config *c, unsigned role, FILE *err)
{
	const bool is_gateway = role == P_GATEWAY;
	const struct fault faults[] = {
		{ role != P_WORKER && c->db_path,
		  "DATABASE_URL: this role needs postgresql://..." },
		{ strcmp(c->redis_url, "embedded:") == 0,
		  "REDIS_URL: this role needs redis://... or rediss://..." },
		{ !c->kafka_enabled, "KAFKA_ENABLED: this role needs true, and KAFKA_BROKERS" },
		{ c->delivery_ack_mode == CONFIG_ACK_EMBEDDED,
		  "DELIVERY_ACK_MODE: this role needs kafka or off" },
		{ !c->has_sasl && (c->kafka_sasl_username || c->kafka_sasl_password),
		  "KAFKA_SASL_MECHANISM: KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD need it" },
		{ is_gateway && c->port == c->health_port && c->port != 0,
		  "HEALTH_PORT: is the same as PORT" },
	};

	return report(faults, sizeof(faults) / sizeof(faults[0]), "", err) +
	       check_needs(role, err);
}

unsigned config_check_role(const struct config *c, const char *role, FILE *err)
{
	const struct fault later[] = {
		{ c->federation_enabled, "FEDERATION_ENABLED=true" },
		{ c->apns_enabled, "APNS_ENABLED=true" },
	};
	const struct fault for_all[] = {
		{ !c->db_path,
		  "DATABASE_URL: `construct all` needs sqlite:PATH; for PostgreSQL run "
		  "server, gateway and worker" },
		{ strcmp(c->redis_url, "embedded:") != 0,
		  "REDIS_URL: `construct all` needs embedded: (leave it "
		  "unset); for Redis run server, gateway and worker" },
		{ c->kafka_enabled,
		  "KAFKA_ENABLED: `construct all` has its own log; for Kafka run "
		  "server, gateway and worker" },
		{ c->message_gateway_url != NULL, "MESSAGE_GATEWAY_URL: `construct all` is its "
		                                  "own gateway (GRPC_PORT serves it)" },
	};
	const unsigned flag = config_role_flag(role);
	unsigned n;

	if (flag == 0) /* echo: stores nothing, so needs no backend */
		return 0;
	n = report(later, sizeof(later) / sizeof(later[0]), "not in this build yet: ", err);
	if (flag == P_RELAY)
		return n + report(for_all, sizeof(for_all) / sizeof(for_all[0]), "", err);
	return n + check_stack_role(c, flag, err);
}
