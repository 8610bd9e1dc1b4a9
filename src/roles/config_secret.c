/* SPDX-License-Identifier: MIT */
/* Strength of secrets.  No message shows a value. */
#include <stdlib.h>
#include <string.h>

#include "roles/config_table.h"

/* What .env.example has where somebody must put a value: refused wherever it is left. */
#define PLACEHOLDER "change_me"

#define DIFFERENT_MIN 6 /* characters of a secret */

/* abcabcabc, 0000000: a text that repeats a short beginning all along. */
static bool repeats(const char *text, size_t len)
{
	for (size_t period = 1; period <= 16 && period * 2 <= len; period++) {
		if (memcmp(text, text + period, len - period) == 0)
			return true;
	}
	return false;
}

/* aaaaaaaaaaaaaab: 16 random hexadecimal digits have so few different ones once in 28,000 times. */
static bool has_few_characters(const char *text)
{
	bool seen[256] = { false };
	unsigned count = 0;

	for (; *text; text++) {
		count += !seen[(unsigned char)*text];
		seen[(unsigned char)*text] = true;
	}
	return count < DIFFERENT_MIN;
}

static bool is_example(const char *text)
{
	static const char *const examples[] = {
		PLACEHOLDER,  "change-me",  "changeme",    "change_this", "change-this",
		"changethis", "your_",      "your-",       "example",     "placeholder",
		"replace_me", "replace-me", "replaceme",   "replace_th",  "replace-th",
		"insert_",    "insert-",    "secret_here", "secret-here", "<",
	};

	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		if (strcasestr(text, examples[i]))
			return true;
	}
	return false;
}

bool config_secret_is_weak(const char *text)
{
	return is_example(text) || has_few_characters(text) || repeats(text, strlen(text));
}

/* Of scheme://user:password@host/...: the host may well be example.org's, the password not. */
static bool url_has_example(const char *url)
{
	const char *at = strstr(url, "://"), *end, *colon;
	char *password;
	bool found;

	if (!at)
		return false;
	at += strlen("://");
	end = at + strcspn(at, "/?#");
	while (end > at && *end != '@')
		end--;
	colon = memchr(at, ':', (size_t)(end - at));
	if (!colon)
		return false;
	password = config_copy(colon + 1, (size_t)(end - colon - 1));
	found = is_example(password);
	explicit_bzero(password, strlen(password));
	free(password);
	return found;
}

static bool secret_is_sound(const struct config_param *p, const char *text, FILE *err)
{
	if ((p->flags & P_HEX) && text[strspn(text, "0123456789abcdefABCDEF")] != '\0') {
		fprintf(err, "%s: must be %llu hexadecimal digits (openssl rand -hex %llu)\n",
		        p->name, (unsigned long long)p->max, (unsigned long long)p->max / 2);
		return false;
	}
	if ((p->flags & P_URL) && url_has_example(text)) {
		fprintf(err, "%s: holds the password of an example\n", p->name);
		return false;
	}
	if (!(p->flags & P_URL) && config_secret_is_weak(text)) {
		fprintf(err,
		        "%s: is an example's text or a pattern; make one: openssl rand -hex "
		        "32\n",
		        p->name);
		return false;
	}
	return true;
}

bool config_text_is_sound(const struct config_param *p, const char *text, FILE *err)
{
	if ((p->flags & P_SECRET) && !secret_is_sound(p, text, err))
		return false;
	if (!strcasestr(text, PLACEHOLDER))
		return true;
	fprintf(err, "%s: is still the text of .env.example\n", p->name);
	return false;
}
