/* SPDX-License-Identifier: MIT */
#include "roles/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "roles/config_table.h"

#define SECRET_BYTES 32
#define SECRET_TEXT (2 * SECRET_BYTES) /* hex digits */

/* Longer than any secret that config_set takes. */
#define STORED_MAX 4097

static const struct {
	const char *variable;
	const char *file;
} kept[] = {
	{ "JWT_SECRET", "jwt_secret" },
	{ "LOG_HASH_SALT", "log_hash_salt" },
	{ "DELIVERY_SECRET_KEY", "delivery_secret_key" },
	{ "APNS_DEVICE_TOKEN_ENCRYPTION_KEY", "device_token_key" },
};

/* mkdir -p; parents that exist stay as they are. */
static int make_folder(const char *path)
{
	char *copy = config_copy(path, strlen(path));
	int rc = 0;

	for (char *at = copy + 1; rc == 0 && *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(copy, 0700) != 0 && errno != EEXIST)
			rc = -1;
		*at = '/';
	}
	if (rc == 0 && mkdir(copy, 0700) != 0 && errno != EEXIST)
		rc = -1;
	free(copy);
	return rc;
}

static int make_text(char text[static SECRET_TEXT + 2])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char raw[SECRET_BYTES];

	/* Up to 256 bytes come whole or not at all. */
	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -1;
	for (size_t i = 0; i < SECRET_BYTES; i++) {
		text[2 * i] = digits[raw[i] >> 4];
		text[2 * i + 1] = digits[raw[i] & 15];
	}
	text[SECRET_TEXT] = '\n';
	text[SECRET_TEXT + 1] = '\0';
	explicit_bzero(raw, sizeof(raw));
	return 0;
}

static int write_synced(int fd, const char *text, size_t len)
{
	while (len > 0) {
		const ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd);
}

/* Give the finished file its name, unless another process was first: its secret counts. */
static int publish(int dir, const char *tmp, const char *file)
{
	if (linkat(dir, tmp, dir, file, 0) == 0 || errno == EEXIST) {
		unlinkat(dir, tmp, 0);
	} else if (renameat(dir, tmp, dir, file) != 0) { /* no hard links there */
		return -1;
	}
	return fsync(dir);
}

/* Make `file` in `dir`, whole and on disk or not at all. */
static int create(int dir, const char *file)
{
	char text[SECRET_TEXT + 2], tmp[64];
	int fd, rc = -1;

	snprintf(tmp, sizeof(tmp), ".%s.%ld", file, (long)getpid());
	unlinkat(dir, tmp, 0); /* of a process with our id that was killed here */
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (make_text(text) == 0 && write_synced(fd, text, SECRET_TEXT + 1) == 0)
		rc = publish(dir, tmp, file);
	if (rc != 0) {
		const int saved = errno;

		unlinkat(dir, tmp, 0);
		errno = saved;
	}
	explicit_bzero(text, sizeof(text));
	close(fd);
	return rc;
}

/* The file's text without its newline in `out`; -1 with errno. */
static int read_text(int fd, char out[static STORED_MAX + 1])
{
	ssize_t len = read(fd, out, STORED_MAX);

	if (len < 0)
		return -1;
	while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == '\r'))
		len--;
	out[len] = '\0';
	return 0;
}

/* A secret that others can read is one no more. */
static bool is_private(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) == 0;
}

static unsigned load_one(struct config *c, int dir, const char *variable, const char *file,
                         FILE *err)
{
	char text[STORED_MAX + 1];
	unsigned errors = 1;
	int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT && create(dir, file) == 0)
		fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		fprintf(err, "%s: %s/%s: %s\n", variable, c->data_dir, file, strerror(errno));
		return 1;
	}
	if (!is_private(fd))
		fprintf(err, "%s: %s/%s is open to others: chmod 600 it, or set the variable\n",
		        variable, c->data_dir, file);
	else if (read_text(fd, text) != 0)
		fprintf(err, "%s: %s/%s: %s\n", variable, c->data_dir, file, strerror(errno));
	else if (!config_set(c, config_param_find(variable), text, err))
		fprintf(err, "%s: that was read from %s/%s\n", variable, c->data_dir, file);
	else
		errors = 0;
	explicit_bzero(text, sizeof(text));
	close(fd);
	return errors;
}

unsigned secrets_load(struct config *c, FILE *err)
{
	unsigned errors = 0;
	int dir;

	if (!c->embedded)
		return 0;
	if (make_folder(c->data_dir) != 0) {
		fprintf(err, "DATABASE_URL: cannot make the folder %s: %s\n", c->data_dir,
		        strerror(errno));
		return 1;
	}
	dir = open(c->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		fprintf(err, "DATABASE_URL: %s: %s\n", c->data_dir, strerror(errno));
		return 1;
	}
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (!config_is_given(kept[i].variable))
			errors += load_one(c, dir, kept[i].variable, kept[i].file, err);
	}
	close(dir);
	return errors;
}
