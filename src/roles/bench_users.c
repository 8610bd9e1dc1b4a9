/* SPDX-License-Identifier: MIT */
#include "roles/bench_users.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "roles/bench_memory.h"

#define LINE_BYTES_MAX 4096
#define CLOSE_NORMAL 1000
#define DELETE_TIMEOUT_NS (10 * BENCH_NS_A_SECOND)
#define LOOK_EVERY_NS (BENCH_NS_A_SECOND / 20)

/* Works through all users with a few connections at once. */
struct crew {
	struct bench_thread *thread;
	struct worker *workers;
	uint32_t next; /* user */
	uint32_t done;
	uint32_t failed;
	bool is_deleting;
};

struct worker {
	struct bench_session session; /* first */
	struct crew *crew;
};

/* ---- names and the file ---- */

static void invent(struct bench_user *user)
{
	uint64_t random[3];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		bench_must(NULL);
	snprintf(user->name, sizeof(user->name), "bench_%016" PRIx64, random[0]);
	snprintf(user->password, sizeof(user->password), "Bench-%08x-%016" PRIx64,
	         (uint32_t)random[1], random[2]);
}

static bool copy_field(char *to, size_t size, const char *from)
{
	return from && *from && (size_t)snprintf(to, size, "%s", from) < size;
}

static bool parse_line(struct bench_user *user, char *line)
{
	char *rest = line;
	const char *name;
	const char *token;

	line[strcspn(line, "\r\n")] = '\0';
	name = strsep(&rest, "\t");
	if (line[0] == '#' || !copy_field(user->name, sizeof(user->name), name) ||
	    !copy_field(user->password, sizeof(user->password), strsep(&rest, "\t")) ||
	    !copy_field(user->id, sizeof(user->id), strsep(&rest, "\t")))
		return false;
	token = strsep(&rest, "\t");
	user->token = token && *token ? bench_must(strdup(token)) : NULL;
	return true;
}

static uint32_t load(struct bench_run *run)
{
	char line[LINE_BYTES_MAX];
	uint32_t n = 0;
	FILE *file = fopen(run->conf->tokens_file, "re");

	if (!file) {
		if (errno != ENOENT)
			bench_run_fail(run, "cannot read %s: %s", run->conf->tokens_file,
			               strerror(errno));
		return 0;
	}
	while (n < run->user_count && fgets(line, sizeof(line), file))
		if (parse_line(&run->users[n], line))
			n++;
	fclose(file);
	return n;
}

/* Users of the file beyond those this run needs stay in it. */
static void copy_rest(FILE *to, const char *path, uint32_t used)
{
	char line[LINE_BYTES_MAX];
	uint32_t n = 0;
	FILE *from = fopen(path, "re");

	if (!from)
		return;
	while (fgets(line, sizeof(line), from))
		if (line[0] != '#' && n++ >= used)
			fputs(line, to);
	fclose(from);
}

static void save(struct bench_run *run, uint32_t loaded)
{
	const char *path = run->conf->tokens_file;
	char temporary[4096];
	FILE *file;
	int fd;

	snprintf(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid());
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file) {
		bench_run_fail(run, "cannot write %s: %s", temporary, strerror(errno));
		return;
	}
	fputs("# users of construct bench: name, password, id, session token\n", file);
	for (uint32_t i = 0; i < run->user_count; i++) {
		const struct bench_user *u = &run->users[i];

		if (u->token)
			fprintf(file, "%s\t%s\t%s\t%s\n", u->name, u->password, u->id,
			        u->token);
	}
	copy_rest(file, path, loaded);
	if (fclose(file) != 0 || rename(temporary, path) != 0)
		bench_run_fail(run, "cannot write %s: %s", path, strerror(errno));
}

/* ---- the crew ---- */

static bool wants_work(const struct crew *crew, const struct bench_user *user)
{
	return !crew->is_deleting || user->token;
}

static void take_next(struct worker *w)
{
	struct crew *crew = w->crew;
	struct bench_run *run = crew->thread->run;

	while (crew->next < run->user_count && !wants_work(crew, &run->users[crew->next])) {
		crew->next++;
		crew->done++;
	}
	if (crew->next == run->user_count || crew->failed)
		return;
	w->session.user = &run->users[crew->next++];
	bench_dial(&crew->thread->dialer, &w->session);
}

static void on_ready(struct bench_session *s)
{
	struct worker *w = (struct worker *)s;
	uint8_t frame[LINE_BYTES_MAX];
	size_t len;

	if (!w->crew->is_deleting) {
		w->crew->done++;
		ws_client_close(s->conn, CLOSE_NORMAL);
		return;
	}
	len = bench_frame_texts(frame, "deleteAccount", "sessionToken", s->user->token,
	                        "password", s->user->password, NULL);
	ws_client_send(s->conn, WS_CLIENT_BINARY, frame, len);
}

static void forget(struct bench_user *user)
{
	free(user->token);
	user->token = NULL;
}

static void on_frame(struct bench_session *s, const uint8_t *data, size_t len)
{
	struct worker *w = (struct worker *)s;
	struct bench_frame f;

	if (!w->crew->is_deleting || !bench_frame_read(data, len, &f))
		return;
	if (f.type == BENCH_FRAME_DELETE_ACCOUNT_SUCCESS) {
		w->crew->done++;
		forget(s->user);
		ws_client_close(s->conn, CLOSE_NORMAL);
	} else if (f.type == BENCH_FRAME_ERROR) {
		w->crew->failed++;
	}
}

static void on_end(struct bench_session *s, const struct ws_client_end *end)
{
	struct worker *w = (struct worker *)s;

	(void)end;
	/* The server may end a deleted user's connection before it answers. */
	if (w->crew->is_deleting && s->user->token) {
		w->crew->done++;
		forget(s->user);
	}
	take_next(w);
}

static const char *hint_for(const char *code)
{
	if (strcmp(code, "RATE_LIMIT_EXCEEDED") == 0)
		return " (the server limits registrations or logins)";
	if (strcmp(code, "REGISTRATION_FAILED") == 0)
		return " (the server refused a made-up name and key bundle)";
	return "";
}

static void on_failed(struct bench_session *s, const char *code, const char *text)
{
	struct worker *w = (struct worker *)s;

	w->crew->failed++;
	if (!w->crew->is_deleting)
		bench_run_fail(w->crew->thread->run, "a user could not be registered: %s %s%s",
		               code, text, hint_for(code));
}

static const struct bench_session_ops session_ops = {
	.on_ready = on_ready,
	.on_frame = on_frame,
	.on_end = on_end,
	.on_failed = on_failed,
};

static void show(const struct crew *crew, const char *what, uint64_t *next_ns)
{
	const uint64_t now_ns = ws_client_now_ns();
	const bool is_terminal = isatty(STDERR_FILENO) == 1;

	if (!crew->thread->conf->progress || now_ns < *next_ns)
		return;
	if (*next_ns)
		fprintf(stderr, "%s%s %u of %u users%s", is_terminal ? "\r" : "", what,
		        crew->done, crew->thread->run->user_count, is_terminal ? "  " : "\n");
	*next_ns = now_ns + BENCH_NS_A_SECOND;
}

static bool is_quiet(const struct crew *crew)
{
	const struct bench_dialer *d = &crew->thread->dialer;
	const uint32_t workers = crew->thread->conf->register_at_once;

	if (d->waiting.len || d->under_way.len)
		return false;
	for (uint32_t i = 0; i < workers && !crew->failed; i++)
		if (crew->workers[i].session.conn)
			return false;
	return true;
}

static void work(struct crew *crew, const char *what)
{
	struct bench_thread *t = crew->thread;
	uint64_t next_line_ns = 0;
	uint64_t deadline_ns = UINT64_MAX;

	for (uint32_t i = 0; i < t->conf->register_at_once; i++) {
		crew->workers[i].crew = crew;
		crew->workers[i].session.ops = &session_ops;
		crew->workers[i].session.auth =
			crew->is_deleting ? BENCH_AUTH_TOKEN : BENCH_AUTH_ANY;
		take_next(&crew->workers[i]);
	}
	while (!is_quiet(crew) && !crew->failed && !bench_run_interrupted() &&
	       ws_client_now_ns() < deadline_ns) {
		const uint64_t now_ns = ws_client_now_ns();
		const uint64_t wake_ns = bench_dialer_tick(&t->dialer, now_ns);
		const uint64_t latest_ns = now_ns + LOOK_EVERY_NS;

		show(crew, what, &next_line_ns);
		ws_client_loop_turn(t->loop, wake_ns < latest_ns ? wake_ns : latest_ns);
		if (crew->done == t->run->user_count && deadline_ns == UINT64_MAX)
			deadline_ns = now_ns + BENCH_NS_A_SECOND; /* for the close frames */
	}
	if (next_line_ns && t->conf->progress && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static struct crew *make_crew(struct bench_run *run)
{
	struct crew *crew = bench_alloc(1, sizeof(*crew));

	crew->thread = bench_alloc(1, sizeof(*crew->thread));
	if (!bench_thread_init(crew->thread, run, 0, 1))
		bench_must(NULL);
	crew->workers = bench_alloc(run->conf->register_at_once, sizeof(*crew->workers));
	return crew;
}

static void free_crew(struct crew *crew)
{
	bench_thread_free(crew->thread);
	free(crew->thread);
	free(crew->workers);
	free(crew);
}

bool bench_users_prepare(struct bench_run *run)
{
	struct crew *crew;
	uint32_t loaded = 0;
	bool is_complete;

	run->users = bench_alloc(run->user_count, sizeof(*run->users));
	if (run->conf->tokens_file)
		loaded = load(run);
	for (uint32_t i = loaded; i < run->user_count; i++)
		invent(&run->users[i]);
	if (run->user_count == 0 || run->failure[0])
		return !run->failure[0];
	crew = make_crew(run);
	work(crew, "registering");
	is_complete = crew->done == run->user_count;
	free_crew(crew);
	if (run->conf->tokens_file)
		save(run, loaded);
	if (!is_complete)
		bench_run_fail(run, "interrupted while users were being registered");
	return !run->failure[0];
}

uint32_t bench_users_delete(struct bench_run *run)
{
	struct crew *crew = make_crew(run);
	uint32_t left = 0;

	crew->is_deleting = true;
	crew->thread->dialer.timeout_ns = DELETE_TIMEOUT_NS;
	work(crew, "deleting");
	free_crew(crew);
	for (uint32_t i = 0; i < run->user_count; i++)
		left += run->users[i].token != NULL;
	return left;
}

void bench_users_free(struct bench_run *run)
{
	for (uint32_t i = 0; i < run->user_count && run->users; i++)
		free(run->users[i].token);
	free(run->users);
}
