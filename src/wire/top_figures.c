/* SPDX-License-Identifier: MIT */
#include "wire/top_figures.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* ---- to JSON ---- */

static void put(json_t *object, const char *key, uint64_t value)
{
	const json_int_t most = INT64_MAX;

	json_object_set_new(object, key,
	                    json_integer(value > INT64_MAX ? most : (json_int_t)value));
}

static json_t *kind_json(const struct top_kind *k, bool has_rates)
{
	json_t *object = json_object(), *times = json_array();

	json_object_set_new(object, "name", json_string(k->name));
#define X(field) put(object, #field, k->field);
	TOP_KIND_FIELDS(X)
#undef X
	for (size_t i = 0; i < k->time_count; i++) {
		json_array_append_new(times, json_integer((json_int_t)k->times[i].end_ns));
		json_array_append_new(times, json_integer((json_int_t)k->times[i].count));
	}
	json_object_set_new(object, "handler_times_ns", times);
	if (has_rates) {
		json_object_set_new(object, "messages_per_s", json_real(k->messages_per_s));
		put(object, "recent_p50_ns", k->recent_p50_ns);
		put(object, "recent_p99_ns", k->recent_p99_ns);
	}
	return object;
}

static json_t *worker_json(const struct top_worker *w, bool has_rates)
{
	json_t *object = json_object();

	json_object_set_new(object, "name", json_string(w->name));
#define X(field) put(object, #field, w->field);
	TOP_WORKER_FIELDS(X)
#undef X
	if (has_rates) {
		json_object_set_new(object, "busy_share", json_real(w->busy_share));
		json_object_set_new(object, "wakeups_per_s", json_real(w->wakeups_per_s));
		json_object_set_new(object, "steals_per_s", json_real(w->steals_per_s));
	}
	return object;
}

static json_t *slow_json(const struct top_slow *s)
{
	json_t *object = json_object();

	json_object_set_new(object, "kind", json_string(s->kind));
	json_object_set_new(object, "message", json_string(s->message));
#define X(field) put(object, #field, s->field);
	TOP_SLOW_FIELDS(X)
#undef X
	return object;
}

char *top_figures_encode(const struct top_figures *figures, size_t *len)
{
	json_t *root = json_object(), *kinds = json_array(), *workers = json_array(),
	       *slow = json_array();
	const bool has_rates = figures->interval_ms > 0;
	char *text, *line;

	json_object_set_new(root, "version", json_string(figures->version));
	put(root, "pid", figures->pid);
	put(root, "uptime_ms", figures->uptime_ms);
	put(root, "taken_ns", figures->taken_ns);
	put(root, "interval_ms", figures->interval_ms);
	for (size_t i = 0; i < figures->kind_count; i++)
		json_array_append_new(kinds, kind_json(&figures->kinds[i], has_rates));
	for (size_t i = 0; i < figures->worker_count; i++)
		json_array_append_new(workers, worker_json(&figures->workers[i], has_rates));
	for (size_t i = 0; i < figures->slow_count; i++)
		json_array_append_new(slow, slow_json(&figures->slow[i]));
	json_object_set_new(root, "kinds", kinds);
	json_object_set_new(root, "workers", workers);
	json_object_set_new(root, "slow_handlers", slow);
	text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(6));
	json_decref(root);
	if (text == NULL)
		return NULL;
	*len = strlen(text) + 1;
	line = realloc(text, *len + 1);
	if (line == NULL) {
		free(text);
		return NULL;
	}
	memcpy(line + *len - 1, "\n", 2);
	return line;
}

/* ---- from JSON ---- */

static bool get(const json_t *object, const char *key, uint64_t *out)
{
	const json_t *value = json_object_get(object, key);

	*out = 0;
	if (value == NULL)
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*out = (uint64_t)json_integer_value(value);
	return true;
}

/* Names are shown on a terminal: printable ASCII only, or they could drive it. */
static bool get_name(const json_t *object, const char *key, char out[static TOP_NAME_MAX])
{
	const json_t *value = json_object_get(object, key);
	const size_t len = json_string_length(value);

	if (!json_is_string(value) || len >= TOP_NAME_MAX)
		return false;
	memcpy(out, json_string_value(value), len);
	out[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (out[i] < ' ' || out[i] > '~')
			return false;
	return true;
}

static bool get_times(const json_t *object, struct top_kind *k)
{
	const json_t *times = json_object_get(object, "handler_times_ns");
	const size_t len = json_array_size(times);

	k->time_count = len / 2;
	if (len % 2 != 0 || k->time_count > TOP_BUCKETS_MAX)
		return false;
	for (size_t i = 0; i < k->time_count; i++) {
		const json_t *end = json_array_get(times, 2 * i),
			     *count = json_array_get(times, 2 * i + 1);

		if (!json_is_integer(end) || !json_is_integer(count) ||
		    json_integer_value(end) < 0 || json_integer_value(count) < 0)
			return false;
		k->times[i].end_ns = (uint64_t)json_integer_value(end);
		k->times[i].count = (uint64_t)json_integer_value(count);
		if (i > 0 && k->times[i].end_ns <= k->times[i - 1].end_ns)
			return false;
	}
	return true;
}

static bool get_kind(const json_t *object, struct top_kind *k)
{
	memset(k, 0, sizeof(*k));
#define X(field) &&get(object, #field, &k->field)
	return get_name(object, "name", k->name) TOP_KIND_FIELDS(X) && get_times(object, k);
#undef X
}

static bool get_worker(const json_t *object, struct top_worker *w)
{
	memset(w, 0, sizeof(*w));
#define X(field) &&get(object, #field, &w->field)
	return get_name(object, "name", w->name) TOP_WORKER_FIELDS(X);
#undef X
}

static bool get_slow(const json_t *object, struct top_slow *s)
{
#define X(field) &&get(object, #field, &s->field)
	return get_name(object, "kind", s->kind) && get_name(object, "message", s->message)
	                                                    TOP_SLOW_FIELDS(X);
#undef X
}

static bool get_all(const json_t *root, struct top_figures *out)
{
	const json_t *kinds = json_object_get(root, "kinds"),
		     *workers = json_object_get(root, "workers"),
		     *slow = json_object_get(root, "slow_handlers");

	out->kind_count = json_array_size(kinds);
	out->worker_count = json_array_size(workers);
	out->slow_count = json_array_size(slow);
	out->interval_ms = 0; /* rates are not read */
	if (!json_is_array(kinds) || !json_is_array(workers) || !json_is_array(slow) ||
	    out->kind_count > TOP_KINDS_MAX || out->worker_count > TOP_WORKERS_MAX ||
	    out->slow_count > TOP_SLOW_MAX || !get_name(root, "version", out->version) ||
	    !get(root, "pid", &out->pid) || !get(root, "uptime_ms", &out->uptime_ms) ||
	    !get(root, "taken_ns", &out->taken_ns))
		return false;
	for (size_t i = 0; i < out->kind_count; i++)
		if (!get_kind(json_array_get(kinds, i), &out->kinds[i]))
			return false;
	for (size_t i = 0; i < out->worker_count; i++)
		if (!get_worker(json_array_get(workers, i), &out->workers[i]))
			return false;
	for (size_t i = 0; i < out->slow_count; i++)
		if (!get_slow(json_array_get(slow, i), &out->slow[i]))
			return false;
	return true;
}

bool top_figures_decode(const char *text, size_t len, struct top_figures *out)
{
	json_t *root;
	bool is_ok;

	if (len > TOP_TEXT_MAX)
		return false;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (root == NULL)
		return false;
	is_ok = json_is_object(root) && get_all(root, out);
	json_decref(root);
	return is_ok;
}

/* ---- rates ---- */

static uint64_t grown(uint64_t before, uint64_t now)
{
	return now >= before ? now - before : now;
}

static uint64_t count_at(const struct top_kind *k, uint64_t end_ns)
{
	for (size_t i = 0; k != NULL && i < k->time_count && k->times[i].end_ns <= end_ns; i++)
		if (k->times[i].end_ns == end_ns)
			return k->times[i].count;
	return 0;
}

/* Of what was counted between the two samples. */
static uint64_t quantile_ns(const struct top_kind *before, const struct top_kind *now, double q)
{
	uint64_t total = 0, seen = 0;

	for (size_t i = 0; i < now->time_count; i++)
		total += grown(count_at(before, now->times[i].end_ns), now->times[i].count);
	for (size_t i = 0; i < now->time_count; i++) {
		seen += grown(count_at(before, now->times[i].end_ns), now->times[i].count);
		if (seen > 0 && (double)seen >= q * (double)total)
			return now->times[i].end_ns;
	}
	return 0;
}

static const struct top_kind *kind_of(const struct top_figures *f, const char *name)
{
	for (size_t i = 0; i < f->kind_count; i++)
		if (strcmp(f->kinds[i].name, name) == 0)
			return &f->kinds[i];
	return NULL;
}

static void worker_rates(const struct top_worker *before, struct top_worker *now,
                         double seconds)
{
	const double busy = (double)grown(before->busy_ns, now->busy_ns) / (seconds * 1e9);

	now->busy_share = busy > 1 ? 1 : busy; /* a turn that began before the interval */
	now->wakeups_per_s = (double)grown(before->wakeups, now->wakeups) / seconds;
	now->steals_per_s = (double)grown(before->steals, now->steals) / seconds;
}

void top_figures_rates(const struct top_figures *before, struct top_figures *now)
{
	static const struct top_worker none; /* zeroes */
	const uint64_t interval_ns = grown(before->taken_ns, now->taken_ns);
	const double seconds = interval_ns > 0 ? (double)interval_ns / 1e9 : 1;

	now->interval_ms = interval_ns < 1000000 ? 1 : interval_ns / 1000000;
	for (size_t i = 0; i < now->kind_count; i++) {
		struct top_kind *k = &now->kinds[i];
		const struct top_kind *old = kind_of(before, k->name);

		k->messages_per_s =
			(double)grown(old != NULL ? old->messages : 0, k->messages) / seconds;
		k->recent_p50_ns = quantile_ns(old, k, 0.5);
		k->recent_p99_ns = quantile_ns(old, k, 0.99);
	}
	for (size_t i = 0; i < now->worker_count; i++)
		worker_rates(i < before->worker_count ? &before->workers[i] : &none,
		             &now->workers[i], seconds);
}
