/* SPDX-License-Identifier: MIT */
/* For tests of TLS: a self-signed certificate and its key in a private folder. */
#ifndef TESTS_SUPPORT_TLS_PAIR_H
#define TESTS_SUPPORT_TLS_PAIR_H

struct tls_pair {
	char folder[32];
	char cert_file[64];
	char key_file[64];
};

/* For this name (subject alternative name too); failures are the test's (Criterion). */
void tls_pair_make(struct tls_pair *pair, const char *name);
void tls_pair_remove(const struct tls_pair *pair);

#endif
