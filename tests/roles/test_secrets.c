/* SPDX-License-Identifier: MIT */
#include "roles/secrets.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GOOD_SECRET "q8Zr2Lw0XvT5nKc7Jf4Yb1HdPs9MgEuA"
#define GOOD_HEX "9f2c47d0a1b86e53c4f7092d8ba65e1370cd94fb2e81a63f5d07c9e4b1286fa5"

static char *text;
static size_t text_len;
static char folder[64];

/* Criterion runs each test in a process of its own: the environment is the test's. */
static void clean_environment(void)
{
	clearenv();
}

static void in_a_folder(void)
{
	clean_environment();
	snprintf(folder, sizeof(folder), "/tmp/construct-secrets-XXXXXX");
	cr_assert(mkdtemp(folder) != NULL);
	cr_assert(chdir(folder) == 0);
}

static void remove_folder(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "exec /bin/rm -rf %s", folder);
	cr_assert(chdir("/") == 0);
	cr_assert(system(cmd) == 0);
}

static unsigned load(struct config *c)
{
	FILE *err;
	unsigned errors;

	free(text);
	err = open_memstream(&text, &text_len);
	errors = config_load(c, err);
	fclose(err);
	return errors;
}

static unsigned load_secrets(struct config *c)
{
	FILE *err;
	unsigned errors;

	free(text);
	err = open_memstream(&text, &text_len);
	errors = secrets_load(c, err);
	fclose(err);
	return errors;
}

static bool says(const char *what)
{
	return strstr(text, what) != NULL;
}

static void write_file(const char *name, const char *content, mode_t mode)
{
	const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);

	cr_assert(fd >= 0);
	cr_assert(write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	cr_assert(fchmod(fd, mode) == 0);
	close(fd);
}

TestSuite(secrets, .init = in_a_folder, .fini = remove_folder, .timeout = 20);

Test(secrets, are_read_from_the_file_that_is_named)
{
	struct config c;

	write_file("jwt", "  " GOOD_SECRET "\n\n", 0600);
	setenv("JWT_SECRET_FILE", "jwt", 1);
	cr_assert(load(&c) == 0, "%s", text);
	cr_assert_str_eq(c.jwt_secret, GOOD_SECRET);
	config_free(&c);

	setenv("JWT_SECRET", GOOD_SECRET, 1);
	cr_assert_eq(load(&c), 1);
	cr_assert(says("JWT_SECRET: both"));
	config_free(&c);
	unsetenv("JWT_SECRET");

	setenv("JWT_SECRET_FILE", "missing", 1);
	cr_assert_eq(load(&c), 1);
	cr_assert(says("JWT_SECRET_FILE: missing"));
	config_free(&c);

	write_file("empty", "\n", 0600);
	setenv("JWT_SECRET_FILE", "empty", 1);
	cr_assert_eq(load(&c), 1);
	config_free(&c);
}

Test(secrets, are_made_once_with_mode_0600_and_found_again)
{
	static const char *const files[] = { "data/jwt_secret", "data/log_hash_salt",
		                             "data/delivery_secret_key" };
	struct config first, second;
	struct stat st;

	cr_assert(load(&first) == 0);
	cr_assert(load_secrets(&first) == 0, "%s", text);
	cr_assert_eq(strlen(first.jwt_secret), 64);
	cr_assert_eq(strlen(first.delivery_secret_key), 64);
	for (const char *at = first.delivery_secret_key; *at; at++)
		cr_assert(isxdigit((unsigned char)*at));
	cr_assert_str_neq(first.jwt_secret, first.log_hash_salt);
	cr_assert(stat("data", &st) == 0 && (st.st_mode & 0777) == 0700);
	for (size_t i = 0; i < 3; i++)
		cr_assert(stat(files[i], &st) == 0 && (st.st_mode & 0777) == 0600);

	cr_assert(load(&second) == 0);
	cr_assert(load_secrets(&second) == 0, "%s", text);
	cr_assert_str_eq(first.jwt_secret, second.jwt_secret);
	cr_assert_str_eq(first.log_hash_salt, second.log_hash_salt);
	cr_assert_str_eq(first.delivery_secret_key, second.delivery_secret_key);
	config_free(&first);
	config_free(&second);
}

Test(secrets, that_are_given_are_not_kept)
{
	struct config c;

	setenv("JWT_SECRET", GOOD_SECRET, 1);
	cr_assert(load(&c) == 0);
	cr_assert(load_secrets(&c) == 0);
	cr_assert_str_eq(c.jwt_secret, GOOD_SECRET);
	cr_assert(access("data/jwt_secret", F_OK) != 0);
	cr_assert(access("data/log_hash_salt", F_OK) == 0);
	config_free(&c);
}

Test(secrets, folder_is_made_with_its_parents)
{
	struct config c;

	setenv("DATABASE_URL", "sqlite:a/b/c/construct.db", 1);
	cr_assert(load(&c) == 0);
	cr_assert(load_secrets(&c) == 0, "%s", text);
	cr_assert(access("a/b/c/jwt_secret", F_OK) == 0);
	config_free(&c);
}

Test(secrets, file_that_others_can_read_or_that_is_damaged_is_refused)
{
	struct config c;

	cr_assert(mkdir("data", 0700) == 0);
	write_file("data/jwt_secret", GOOD_SECRET "\n", 0640);
	write_file("data/log_hash_salt", "tooshort\n", 0600);
	cr_assert(symlink("/etc/hostname", "data/delivery_secret_key") == 0);
	cr_assert(load(&c) == 0);
	cr_assert_eq(load_secrets(&c), 3);
	cr_assert(says("JWT_SECRET: data/jwt_secret is open to others"));
	cr_assert(says("LOG_HASH_SALT:") && says("data/log_hash_salt"));
	cr_assert(says("DELIVERY_SECRET_KEY:"));
	config_free(&c);
}

Test(secrets, unfinished_file_of_a_killed_process_is_not_used)
{
	struct config c;
	char tmp[64];

	cr_assert(mkdir("data", 0700) == 0);
	snprintf(tmp, sizeof(tmp), "data/.jwt_secret.%ld", (long)getpid());
	write_file(tmp, "abc", 0600);
	cr_assert(load(&c) == 0);
	cr_assert(load_secrets(&c) == 0, "%s", text);
	cr_assert_eq(strlen(c.jwt_secret), 64);
	cr_assert(access(tmp, F_OK) != 0);
	config_free(&c);
}

Test(secrets, folder_that_cannot_be_made_is_an_error_that_names_the_variable)
{
	struct config c;

	write_file("data", "", 0600); /* a file in its place */
	cr_assert(load(&c) == 0);
	cr_assert_eq(load_secrets(&c), 1);
	cr_assert(says("DATABASE_URL:"));
	config_free(&c);
}

/* Print the secret that this process ends up with into the pipe. */
static void child_start(int out)
{
	struct config c;

	if (load(&c) != 0 || load_secrets(&c) != 0)
		_exit(1);
	if (write(out, c.jwt_secret, 64) != 64)
		_exit(1);
	_exit(0);
}

Test(secrets, processes_that_start_at_once_end_with_the_same)
{
	enum { CHILDREN = 8 };
	char got[CHILDREN][64];
	int fds[2], status;

	cr_assert(pipe(fds) == 0);
	for (int i = 0; i < CHILDREN; i++) {
		if (fork() == 0)
			child_start(fds[1]);
	}
	for (int i = 0; i < CHILDREN; i++) {
		cr_assert(wait(&status) > 0);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		cr_assert(read(fds[0], got[i], 64) == 64);
		cr_assert(memcmp(got[0], got[i], 64) == 0);
	}
}
