/* SPDX-License-Identifier: MIT */
/* construct --env-file, by a table of odd values and against ops/deploy/envfile.sh. */
#include "roles/env_file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET "q8Zr2Lw0XvT5nKc7"
#define OUT_MAX 1024
#define FILES 250
#define PIECES_MAX 8

static char folder[] = "/tmp/test-env-file-XXXXXX";
static char *said;
static size_t said_len;

static void begin(void)
{
	clearenv();
	setenv("PATH", "/usr/bin:/bin", 1);
	cr_assert_not_null(mkdtemp(folder));
}

static void end(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_expect_eq(system(command), 0);
	free(said);
}

static const char *write_file(const char *name, const char *text, size_t len)
{
	static char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	cr_assert_not_null(f);
	cr_assert_eq(fwrite(text, 1, len, f), len);
	cr_assert_eq(fclose(f), 0);
	return path;
}

static unsigned load(const char *text)
{
	const char *path = write_file("env", text, strlen(text));
	unsigned errors;
	FILE *err;

	free(said);
	err = open_memstream(&said, &said_len);
	errors = env_file_load(path, err);
	fclose(err);
	return errors;
}

TestSuite(env_file, .init = begin, .fini = end, .timeout = 120);

Test(env_file, values_arrive_byte_for_byte)
{
	static const char *const cases[][2] = {
		{ "A=plain", "plain" },
		{ "A= two words \n", "two words" },
		{ "A=a#b # c", "a#b" },
		{ "A=# at start", "# at start" },
		{ "A=w\r\n", "w" },
		{ "A=$HOME ${X} `id` $(id)", "$HOME ${X} `id` $(id)" },
		{ "A=a=b=c", "a=b=c" },
		{ "A='it is  ' # c", "it is  " },
		{ "A='$x \\n \"y\" #z'", "$x \\n \"y\" #z" },
		{ "A=\"say \\\"hi\\\" \\\\ \\n\\t\\r \\$ \\` \\x '\"",
		  "say \"hi\" \\ \n\t\r $ ` \\x '" },
		{ "A=\"one\ntwo\"\nB=1", "one\ntwo" },
		{ "  export A = 'x'", "x" },
		{ "# A=no\n\n \t\nA=yes", "yes" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsetenv("A");
		cr_expect_eq(load(cases[i][0]), 0, "%s: %s", cases[i][0], said);
		cr_assert_not_null(getenv("A"), "%s", cases[i][0]);
		cr_expect_str_eq(getenv("A"), cases[i][1], "%s", cases[i][0]);
	}
	cr_expect_eq(load("A=\nB=''"), 0);
	cr_expect_eq(load("export=word"), 0);
	cr_expect_str_eq(getenv("export"), "word");
}

Test(env_file, the_environment_goes_over_the_file_unless_it_is_empty)
{
	setenv("A", "mine", 1);
	setenv("B", "", 1);
	cr_expect_eq(load("A=file\nB=file\nC="), 0);
	cr_expect_str_eq(getenv("A"), "mine");
	cr_expect_str_eq(getenv("B"), "file");
	cr_expect_null(getenv("C"));
}

Test(env_file, what_is_wrong_is_named_by_its_line_and_no_value_is_shown)
{
	static const struct {
		const char *text, *what;
	} cases[] = {
		{ "A=1\n" SECRET "\n", "env:2: is not NAME=value" },
		{ "A='one\ntwo'\nB=2\nA=" SECRET, "env:4: A: comes twice" },
		{ "\nA='" SECRET "\n", "env:2: A: no closing quote" },
		{ "A=\"" SECRET "\" y\n", "env:1: A: text after the closing quote" },
		{ "1A=" SECRET, "env:1: is not NAME=value" },
		{ "A B=" SECRET, "env:1: is not NAME=value" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_expect_eq(load(cases[i].text), 1, "%s: %s", cases[i].text, said);
		cr_expect_not_null(strstr(said, cases[i].what), "%s", said);
		cr_expect_null(strstr(said, SECRET), "%s", said);
		unsetenv("A");
	}
	cr_expect_eq(env_file_load(folder, stderr), 1, "a folder");
	cr_expect_eq(env_file_load(write_file("nul", "A=x\0y", 5), stderr), 1, "a NUL byte");
	cr_expect_eq(env_file_load("/nowhere/.env", stderr), 1);
}

/* --- against the scripts' reader ----------------------------------------------------------- */

static size_t random_text(char *out, unsigned *seed)
{
	static const char *const pieces[] = { "A=",   "B=",        "C =", "A='", "B=\"", "'",
		                              "\"",   "\\n",       "\\",  "$",   "#",    " #",
		                              " ",    "\t",        "\r",  "\n",  "\n",   "x",
		                              "y z",  "=",         "`",   "\\$", "é",    "'\n",
		                              "\"\n", "export A=", "\v",  "1=" };
	static const char *const frames[][2] = {
		{ "A=", "" },          { "A='", "'" },
		{ "A=\"", "\"" },      { "A='", "'\nB=2 # c\n" },
		{ "A=1\nC = ", "\n" }, { "", "" }
	};
	const char *const *frame =
		frames[(unsigned)rand_r(seed) % (sizeof(frames) / sizeof(frames[0]))];
	const unsigned count = (unsigned)rand_r(seed) % PIECES_MAX;
	size_t len = strlen(frame[0]);

	memcpy(out, frame[0], len);
	for (unsigned i = 0; i < count; i++) {
		const char *piece =
			pieces[(unsigned)rand_r(seed) % (sizeof(pieces) / sizeof(pieces[0]))];

		memcpy(out + len, piece, strlen(piece));
		len += strlen(piece);
	}
	memcpy(out + len, frame[1], strlen(frame[1]));
	return len + strlen(frame[1]);
}

/* "A<value>" and the like, each ended by a zero; or one "!" for a file with errors. */
static size_t ours(const char *path, char *out)
{
	static const char *const names[] = { "A", "B", "C", "export" };
	FILE *err = fopen("/dev/null", "we");
	size_t len = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	if (env_file_load(path, err) > 0)
		len = 2 * (memcpy(out, "!", 2) != NULL);
	for (size_t i = 0; len != 2 && i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value)
			len += (size_t)snprintf(out + len, OUT_MAX - len, "%s%s", names[i],
			                        value) +
			       1;
	}
	fclose(err);
	out[len++] = '\0';
	return len;
}

Test(env_file, the_scripts_read_every_file_in_the_same_way)
{
	static const char script[] =
		"bash -c '. ops/deploy/envfile.sh; LC_ALL=C; cd \"$1\" && for ((i = 0; i < "
		"250; i++)); do "
		"if env_read $i 2>/dev/null; then for n in A B C export; do "
		"[ -z \"${env_value[$n]:-}\" ] || printf \"%s%s\\0\" $n \"${env_value[$n]}\"; "
		"done; "
		"else printf \"!\\0\"; fi; printf \"\\0\"; done' sh ";
	char command[sizeof(script) + sizeof(folder)], name[16], text[512], mine[OUT_MAX],
		theirs[OUT_MAX];
	unsigned seed = 7, good = 0;
	FILE *bash;

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%u", i);
		write_file(name, text, random_text(text, &seed));
	}
	snprintf(command, sizeof(command), "%s%s", script, folder);
	bash = popen(command, "re");
	cr_assert_not_null(bash);
	for (unsigned i = 0; i < FILES; i++) {
		size_t len;

		snprintf(text, sizeof(text), "%s/%u", folder, i);
		len = ours(text, mine);
		cr_assert_eq(fread(theirs, 1, len, bash), len, "file %u: the script ended", i);
		cr_assert_arr_eq(mine, theirs, len, "file %u: ours %s, theirs %s", i, mine,
		                 theirs);
		good += mine[0] != '!' && len > 1;
	}
	cr_expect_eq(fgetc(bash), EOF);
	cr_expect_eq(pclose(bash), 0);
	cr_expect_gt(good, FILES / 4, "only %u files hold anything", good);
}
