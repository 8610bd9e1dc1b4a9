/* SPDX-License-Identifier: MIT */
#include "io/sqlite.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/sqlite_db.h"
#include "io/sqlite_shared.h"
#include "io/sqlite_stats.h"

struct sqlite_shared sqlite_shared;

static const char *const reader_texts[SQLITE_READER_SQL_COUNT] = {
#define X(name, text) text,
	SQLITE_READER_SQL(X)
#undef X
};

static int64_t wall_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum cx_err open_all(struct sqlite_shared *s, const struct sqlite_settings *settings)
{
	enum cx_err err = sqlite_file_lock(settings->path, &s->lock_fd);

	if (err == CX_OK)
		err = sqlite_engine_open(&s->engine, settings,
		                         sqlite_clock_ns() / UINT64_C(1000000), wall_now_ms());
	if (err == CX_OK)
		err = sqlite_db_open(settings->path, SQLITE_DB_READER, &s->reader);
	if (err == CX_OK)
		err = sqlite_db_prepare(s->reader, reader_texts, SQLITE_READER_SQL_COUNT,
		                        s->reader_sql);
	if (err == CX_OK)
		err = sqlite_checkpoint_start(&s->checkpoint, settings->path);
	return err;
}

enum cx_err sqlite_setup(const struct sqlite_settings *settings, const char **error_text)
{
	struct sqlite_shared *const s = &sqlite_shared;
	enum cx_err err;

	sqlite_teardown();
	memset(s, 0, sizeof(*s));
	s->lock_fd = -1;
	s->is_open = true;
	sqlite_stats_reset();
	err = open_all(s, settings);
	if (err != CX_OK) {
		*error_text = sqlite_db_error();
		sqlite_teardown();
	}
	return err;
}

void sqlite_teardown(void)
{
	struct sqlite_shared *const s = &sqlite_shared;

	if (!s->is_open)
		return;
	sqlite_checkpoint_stop(&s->checkpoint, s->engine.db);
	if (s->reader != NULL)
		sqlite_db_close(&s->reader, s->reader_sql, SQLITE_READER_SQL_COUNT);
	/* the last connection copies the whole log and removes it */
	if (s->engine.db != NULL)
		sqlite_engine_close(&s->engine);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->is_open = false;
}
