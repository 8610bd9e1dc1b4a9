/* SPDX-License-Identifier: MIT */
#include "wire/password.h"

#include <crypt.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "wire/credentials.h"

_Static_assert(PASSWORD_HASH_MAX == crypto_pwhash_STRBYTES, "text of a hash");

/* The hash of a random password, made with the parameters of password.h: nobody has it, and
 * verifying against it costs what verifying costs. */
static const char nobody[] = "$argon2id$v=19$m=32768,t=3,p=1$Db6YR+m8GSOiSQnEsFLHqQ$Asg9lrC+"
			     "d3nhXgD9jdEEGbOXauzjmMLtw0VdkCeVQII";

static bool is_argon2id(const char *hash)
{
	return strncmp(hash, crypto_pwhash_STRPREFIX, sizeof(crypto_pwhash_STRPREFIX) - 1) == 0;
}

bool password_hash(struct wire_slice password, char out[PASSWORD_HASH_MAX])
{
	return crypto_pwhash_str(out, (const char *)password.at, password.len, PASSWORD_OPS,
	                         PASSWORD_MEMORY_BYTES) == 0;
}

static enum password_verdict verify_argon2id(const char *hash, struct wire_slice password)
{
	char text[crypto_pwhash_STRBYTES] = { 0 }; /* the library wants that much to read */
	const size_t len = strlen(hash);

	if (len >= sizeof(text))
		return PASSWORD_WRONG;
	memcpy(text, hash, len);
	errno = 0;
	if (crypto_pwhash_str_verify(text, (const char *)password.at, password.len) == 0)
		return PASSWORD_RIGHT;
	return errno == ENOMEM ? PASSWORD_FAILED
	                       : PASSWORD_WRONG; /* EINVAL: another password */
}

static enum password_verdict verify_bcrypt(const char *hash, struct wire_slice password)
{
	char text[PASSWORD_BYTES_MAX + 1];
	struct crypt_data *data;
	const char *made;
	enum password_verdict verdict;

	if (password.len > PASSWORD_BYTES_MAX || memchr(password.at, 0, password.len) != NULL)
		return PASSWORD_WRONG;
	data = calloc(1, sizeof(*data));
	if (data == NULL)
		return PASSWORD_FAILED;
	memcpy(text, password.at, password.len);
	text[password.len] = '\0';
	made = crypt_rn(text, hash, data, sizeof(*data));
	verdict = made != NULL && strlen(made) == strlen(hash) &&
	                          sodium_memcmp(made, hash, strlen(hash)) == 0
	                  ? PASSWORD_RIGHT
	                  : PASSWORD_WRONG;
	sodium_memzero(text, sizeof(text));
	sodium_memzero(data, sizeof(*data));
	free(data);
	return verdict;
}

enum password_verdict password_verify(const char *hash, struct wire_slice password)
{
	if (is_argon2id(hash))
		return verify_argon2id(hash, password);
	if (strncmp(hash, "$2b$", 4) == 0)
		return verify_bcrypt(hash, password);
	return PASSWORD_WRONG;
}

enum password_verdict password_verify_nobody(struct wire_slice password)
{
	const enum password_verdict verdict = verify_argon2id(nobody, password);

	return verdict == PASSWORD_RIGHT ? PASSWORD_WRONG : verdict;
}

bool password_needs_rehash(const char *hash)
{
	return !is_argon2id(hash) ||
	       crypto_pwhash_str_needs_rehash(hash, PASSWORD_OPS, PASSWORD_MEMORY_BYTES) != 0;
}
