/* SPDX-License-Identifier: MIT */
#include "wire/password.h"

#include "wire/vectors.h"

TestSuite(password, .timeout = 60);

Test(password, verifies_what_it_hashed_and_nothing_else)
{
	char hash[PASSWORD_HASH_MAX], again[PASSWORD_HASH_MAX];

	cr_assert(password_hash(wire_text("Correct-Horse1"), hash));
	cr_assert(password_hash(wire_text("Correct-Horse1"), again));
	cr_assert(strcmp(hash, again) != 0, "the salt is random");
	cr_assert(strncmp(hash, "$argon2id$v=19$m=32768,t=3,p=1$", 31) == 0, "%s", hash);
	cr_assert(password_verify(hash, wire_text("Correct-Horse1")) == PASSWORD_RIGHT);
	cr_assert(password_verify(hash, wire_text("Correct-Horse2")) == PASSWORD_WRONG);
	cr_assert(password_verify(hash, wire_text("")) == PASSWORD_WRONG);
	cr_assert(!password_needs_rehash(hash));
}

Test(password, verifies_the_bcrypt_vector_and_wants_it_rehashed)
{
	json_t *root = vectors_load("tests/vectors/hashes.json");
	const json_t *vector = json_object_get(root, "bcrypt");
	const char *hash = (const char *)text_at(vector, "hash").at;

	cr_assert(password_verify(hash, text_at(vector, "password")) == PASSWORD_RIGHT);
	cr_assert(password_verify(hash, wire_text("Correct-Horse2")) == PASSWORD_WRONG);
	cr_assert(password_verify(hash, wire_slice("Correct-Horse1\0x", 16)) == PASSWORD_WRONG);
	cr_assert(password_needs_rehash(hash));
	json_decref(root);
}

Test(password, of_a_hash_that_is_none_is_wrong)
{
	static const char *const hashes[] = { "",           "*",
		                              "plain",      "$2b$",
		                              "$2b$12$abc", "$argon2id$",
		                              "$1$abc$x",   "$argon2id$v=19$m=32768,t=3,p=1$" };
	char long_hash[300] = "$argon2id$";

	memset(long_hash + 10, 'a', sizeof(long_hash) - 11);
	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
		cr_assert(password_verify(hashes[i], wire_text("Correct-Horse1")) ==
		                  PASSWORD_WRONG,
		          "%s", hashes[i]);
	cr_assert(password_verify(long_hash, wire_text("x")) == PASSWORD_WRONG);
}

Test(password, of_nobody_is_wrong)
{
	cr_assert(password_verify_nobody(wire_text("Correct-Horse1")) == PASSWORD_WRONG);
}

Test(password, hashes_of_other_costs_want_a_rehash)
{
	cr_assert(password_needs_rehash("$argon2id$v=19$m=65536,t=2,p=1$Db6YR+m8GSOiSQnEsFLHqQ$"
	                                "Asg9lrC+d3nhXgD9jdEEGbOXauzjmMLtw0VdkCeVQII"));
	cr_assert(password_needs_rehash(""));
}
