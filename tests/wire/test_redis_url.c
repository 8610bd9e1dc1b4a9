/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "wire/redis_url.h"

static struct redis_url url;
static char why[200];

static bool parse(const char *text)
{
	why[0] = '\0';
	return redis_url_parse(wire_text(text), "REDIS_URL", &url, why, sizeof(why));
}

TestSuite(redis_url, .timeout = 5);

Test(redis_url, a_host_alone_gets_the_usual_port_and_database)
{
	cr_assert(parse("redis://cache.internal"), "%s", why);
	cr_assert_str_eq(url.host, "cache.internal");
	cr_assert_eq(url.port, 6379);
	cr_assert_eq(url.db, 0);
	cr_assert_not(url.is_tls || url.has_user || url.has_password);
}

Test(redis_url, every_part_is_taken)
{
	cr_assert(parse("rediss://relay:p%40ss%3a%2F@h-1.example:6380/15"), "%s", why);
	cr_assert_str_eq(url.host, "h-1.example");
	cr_assert_str_eq(url.user, "relay");
	cr_assert_str_eq(url.password, "p@ss:/");
	cr_assert_eq(url.port, 6380);
	cr_assert_eq(url.db, 15);
	cr_assert(url.is_tls && url.has_user && url.has_password);
}

Test(redis_url, a_password_needs_no_user_and_may_hold_what_the_url_is_made_of)
{
	cr_assert(parse("redis://:a@b:c/d@[::1]:7000/"), "%s", why);
	cr_assert_str_eq(url.password, "a@b:c/d");
	cr_assert_str_eq(url.host, "::1");
	cr_assert_eq(url.port, 7000);
	cr_assert_not(url.has_user);
	cr_assert(parse("redis://[fe80::1%eth0]"), "%s", why);
	cr_assert_str_eq(url.host, "fe80::1%eth0");
}

Test(redis_url, errors_name_the_variable_and_what_is_wrong)
{
	static const char *const wrong[][2] = {
		{ "", "redis://" },
		{ "http://h", "redis://" },
		{ "redis:/h", "redis://" },
		{ "REDIS://h", "redis://" },
		{ "redis://", "no host" },
		{ "redis://:80", "no host" },
		{ "redis://h:0", "port" },
		{ "redis://h:", "port" },
		{ "redis://h:65536", "port" },
		{ "redis://h:6379x", "port" },
		{ "redis://h/x", "database" },
		{ "redis://h/70000", "database" },
		{ "redis://h/1/2", "database" },
		{ "redis://h?db=1", "character" },
		{ "redis://h/1?x=1", "database" },
		{ "redis://a b", "character" },
		{ "redis://::1", "character" },
		{ "redis://[::1", "bracket" },
		{ "redis://[::1]x", "behind" },
		{ "redis://user@h", "':password@'" },
		{ "redis://user:@h", "empty password" },
		{ "redis://:%4@h", "percent-encoded" },
		{ "redis://:%zz@h", "percent-encoded" },
		{ "redis://:a%00b@h", "percent-encoded" },
		{ "redis://%:secret@h", "user" },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cr_assert_not(parse(wrong[i][0]), "%s", wrong[i][0]);
		cr_assert_eq(strncmp(why, "REDIS_URL ", 10), 0, "%s", why);
		cr_assert_not_null(strstr(why, wrong[i][1]), "%s: %s", wrong[i][0], why);
	}
}

Test(redis_url, an_error_shows_no_password_and_leaves_none)
{
	cr_assert_not(parse("redis://relay:s3cret@h:port"));
	cr_assert_null(strstr(why, "s3cret"), "%s", why);
	cr_assert_null(memmem(&url, sizeof(url), "s3cret", 6));
	cr_assert_not(parse("redis://relay:s3cret@"));
	cr_assert_null(strstr(why, "s3cret"), "%s", why);
}

Test(redis_url, parts_that_are_too_long_are_refused)
{
	char text[900];

	for (int len = 250; len < 260; len++) {
		snprintf(text, sizeof(text), "redis://%0*d", len, 1);
		cr_assert_eq(parse(text), len < 256, "%d", len);
	}
	for (int len = 505; len < 520; len++) {
		snprintf(text, sizeof(text), "redis://:%0*d@h", len, 1);
		cr_assert_eq(parse(text), len < 512, "%d", len);
	}
}
