/* SPDX-License-Identifier: MIT */
/* Rules between variables, and values worked out from others or from the machine. */
#include <arpa/inet.h>
#include <ctype.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/grpc_client.h"
#include "io/websocket.h"
#include "roles/config_table.h"

/* Tables of the event loop and of libwebsockets grow with the limit of descriptors, used or
 * not, and containers often set it to a billion: more than this only when asked for. */
#define CONNECTIONS_UNASKED 200000

#define TOP_SOCKET_PATH_MAX 107 /* of sockaddr_un */

/* Of PARAM order in KAFKA_PRODUCER_ACKS. */
enum { KAFKA_ACKS_ALL, KAFKA_ACKS_MINUS_ONE };

static bool starts(const char *text, const char *prefix)
{
	return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_postgres(const char *url)
{
	return starts(url, "postgresql://") || starts(url, "postgres://");
}

static bool is_redis(const char *url)
{
	return starts(url, "redis://") || starts(url, "rediss://");
}

static void set_text(const char **field, const char *text, size_t len)
{
	char *copy = config_copy(text, len);

	free((char *)*field);
	*field = copy;
}

/* sqlite:PATH, and sqlite://PATH as other programs write it. */
static unsigned derive_database(struct config *c, FILE *err)
{
	const char *path = c->database_url, *slash;
	size_t len;

	if (is_postgres(path))
		return 0;
	if (!starts(path, "sqlite:")) {
		fputs("DATABASE_URL: is neither sqlite:PATH nor postgresql://...\n", err);
		return 1;
	}
	path += strlen("sqlite:");
	if (starts(path, "//"))
		path += 2;
	len = strlen(path);
	if (len == 0 || path[len - 1] == '/' || strchr(path, '?') || starts(path, ":memory:")) {
		fputs("DATABASE_URL: sqlite: needs the path of a file, without options\n", err);
		return 1;
	}
	c->db_path = config_copy(path, len);
	slash = strrchr(path, '/');
	if (!slash)
		c->data_dir = config_copy(".", 1);
	else
		c->data_dir = config_copy(path, slash == path ? 1 : (size_t)(slash - path));
	return 0;
}

static unsigned derive_backends(struct config *c, FILE *err)
{
	unsigned errors = derive_database(c, err);
	const bool redis = is_redis(c->redis_url);

	if (!redis && strcmp(c->redis_url, "embedded:") != 0) {
		fputs("REDIS_URL: is neither embedded: nor redis://... nor rediss://...\n",
		      err);
		errors++;
	}
	if (c->kafka_enabled && !c->kafka_brokers) {
		fputs("KAFKA_BROKERS: KAFKA_ENABLED=true needs it\n", err);
		errors++;
	}
	if (c->kafka_enabled && config_is_given("KAFKA_SASL_MECHANISM") &&
	    (!c->kafka_sasl_username || !c->kafka_sasl_password)) {
		fputs("KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD: KAFKA_SASL_MECHANISM needs "
		      "both\n",
		      err);
		errors++;
	}
	if (c->kafka_producer_enable_idempotence &&
	    c->kafka_producer_acks > KAFKA_ACKS_MINUS_ONE) {
		fputs("KAFKA_PRODUCER_ACKS: only all goes with "
		      "KAFKA_PRODUCER_ENABLE_IDEMPOTENCE\n",
		      err);
		errors++;
	}
	if (c->message_gateway_url && !grpc_client_targets_are_valid(c->message_gateway_url)) {
		fputs("MESSAGE_GATEWAY_URL: is no list of http://host:port or https://host\n",
		      err);
		errors++;
	}
	c->has_sasl = config_is_given("KAFKA_SASL_MECHANISM");
	c->embedded = c->db_path && !redis && !c->kafka_enabled;
	return errors;
}

static unsigned check_readable(const char *name, const char *path, FILE *err)
{
	if (!path || access(path, R_OK) == 0)
		return 0;
	fprintf(err, "%s: cannot read %s\n", name, path);
	return 1;
}

static unsigned derive_network(struct config *c, FILE *err)
{
	unsigned char addr[sizeof(struct in6_addr)];
	size_t len = strlen(c->bind);
	const char *why = "TLS: out of memory";
	unsigned errors = 0;

	if (c->bind[0] == '[' && c->bind[len - 1] == ']')
		set_text(&c->bind, c->bind + 1, len - 2);
	if (inet_pton(AF_INET, c->bind, addr) != 1 && inet_pton(AF_INET6, c->bind, addr) != 1) {
		fprintf(err, "BIND: '%s' is not an IPv4 or IPv6 address\n", c->bind);
		errors++;
	}
	if (!c->tls_cert_file != !c->tls_key_file) {
		fprintf(err,
		        "%s: TLS needs TLS_CERT_FILE and TLS_KEY_FILE, this one is not set\n",
		        c->tls_cert_file ? "TLS_KEY_FILE" : "TLS_CERT_FILE");
		errors++;
	}
	errors += check_readable("TLS_CERT_FILE", c->tls_cert_file, err);
	errors += check_readable("TLS_KEY_FILE", c->tls_key_file, err);
	errors += check_readable("REDIS_CA_FILE", c->redis_ca_file, err);
	errors += check_readable("KAFKA_SSL_CA_FILE", c->kafka_ca_file, err);
	if (errors == 0 &&
	    websocket_check_tls(c->tls_cert_file, c->tls_key_file, &why) != CX_OK) {
		fprintf(err, "%s\n", why);
		errors++;
	}
	return errors;
}

/* In lower case from here on: names of domains are compared without case. */
static unsigned derive_domain(struct config *c, FILE *err)
{
	char *domain;
	bool ok;

	if (!c->instance_domain)
		return 0;
	domain = config_copy(c->instance_domain, strlen(c->instance_domain));
	for (char *at = domain; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	set_text(&c->instance_domain, domain, strlen(domain));
	ok = domain[strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-")] == '\0' &&
	     strchr(domain, '.') && *domain != '.' && !strstr(domain, "..") &&
	     domain[strlen(domain) - 1] != '.';
	free(domain);
	if (ok)
		return 0;
	fprintf(err, "INSTANCE_DOMAIN: '%s' is not the name of a domain\n", c->instance_domain);
	return 1;
}

/* One descriptor a client; what is left is ours.  main sets the soft limit to what this finds. */
static unsigned derive_connections(struct config *c, FILE *err)
{
	struct rlimit lim;
	uint64_t most;

	if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
		lim.rlim_max = 1024;
	most = lim.rlim_max > 2 * CONFIG_FD_RESERVE ? lim.rlim_max - CONFIG_FD_RESERVE
	                                            : lim.rlim_max / 2;
	if (!config_is_given("MAX_CONNECTIONS")) {
		c->max_connections =
			most < CONNECTIONS_UNASKED ? (uint32_t)most : CONNECTIONS_UNASKED;
		return 0;
	}
	if (c->max_connections <= most)
		return 0;
	fprintf(err, "MAX_CONNECTIONS: %u is more than ulimit -n (%llu) allows: at most %llu\n",
	        c->max_connections, (unsigned long long)lim.rlim_max, (unsigned long long)most);
	return 1;
}

/* data/construct.db -> data/construct.sock: who has the database has the socket, so two relays in one
 * folder do not meet there. */
static void derive_top(struct config *c)
{
	char path[TOP_SOCKET_PATH_MAX + 1];
	size_t stem;
	int len;

	c->top_socket_given = c->top_socket != NULL;
	if (c->top_socket && strcasecmp(c->top_socket, "off") == 0) {
		free((char *)c->top_socket);
		c->top_socket = NULL;
		return;
	}
	if (c->top_socket || !c->db_path)
		return;
	stem = strlen(c->db_path);
	if (stem > 3 && strcmp(c->db_path + stem - 3, ".db") == 0)
		stem -= 3;
	len = snprintf(path, sizeof(path), "%.*s.sock", (int)stem, c->db_path);
	if (len > 0 && (size_t)len < sizeof(path))
		set_text(&c->top_socket, path, (size_t)len);
	else /* what a socket's path may be is short; a deep data folder must not stop a relay */
		config_add_note(c, "config.top_socket_path_too_long", "TOP_SOCKET");
}

static void derive_threads(struct config *c)
{
	cpu_set_t cpus;
	int n = 0;

	if (config_is_given("WORKER_THREADS"))
		return;
	/* The CPUs this process may use, not those of the machine. */
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		n = CPU_COUNT(&cpus);
	c->worker_threads = n < 1 ? 1 : n > 64 ? 64 : (uint32_t)n;
}

static unsigned derive_windows(struct config *c, FILE *err)
{
	const uint32_t least = c->message_ttl_days * 24 + 24;
	unsigned errors = 0;

	if (c->deduplication_window_hours < least) {
		if (config_is_given("DEDUPLICATION_WINDOW_HOURS")) {
			fprintf(err,
			        "DEDUPLICATION_WINDOW_HOURS: %u is less than MESSAGE_TTL_DAYS "
			        "+ 1 day "
			        "(%u)\n",
			        c->deduplication_window_hours, least);
			errors++;
		}
		c->deduplication_window_hours = least;
	}
	if (c->server_registry_ttl_secs <= c->heartbeat_interval_secs) {
		fprintf(err,
		        "SERVER_REGISTRY_TTL_SECS: %u is not more than "
		        "HEARTBEAT_INTERVAL_SECS (%u)\n",
		        c->server_registry_ttl_secs, c->heartbeat_interval_secs);
		errors++;
	}
	return errors;
}

static unsigned derive_ack_mode(struct config *c, FILE *err)
{
	if (!config_is_given("DELIVERY_ACK_MODE"))
		c->delivery_ack_mode =
			c->kafka_enabled ? CONFIG_ACK_KAFKA : CONFIG_ACK_EMBEDDED;
	if (c->delivery_ack_mode != CONFIG_ACK_KAFKA || c->kafka_enabled)
		return 0;
	fputs("DELIVERY_ACK_MODE: kafka needs KAFKA_ENABLED=true\n", err);
	return 1;
}

unsigned config_derive(struct config *c, FILE *err)
{
	unsigned errors = derive_backends(c, err);

	errors += derive_network(c, err);
	errors += derive_domain(c, err);
	errors += derive_connections(c, err);
	errors += derive_windows(c, err);
	errors += derive_ack_mode(c, err);
	derive_threads(c);
	derive_top(c);
	if (!config_is_given("LOG_FORMAT"))
		c->log_format = isatty(STDERR_FILENO) ? CONFIG_LOG_TEXT : CONFIG_LOG_JSON;
	if (!config_is_given("DEMO"))
		c->demo = c->embedded;
	return errors;
}
