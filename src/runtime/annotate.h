/* SPDX-License-Identifier: MIT */
/* Which sanitizer watches, and what AddressSanitizer must be told: blocks resting in pools. */
#ifndef CX_RUNTIME_ANNOTATE_H
#define CX_RUNTIME_ANNOTATE_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CX__TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define CX__ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CX__TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CX__ASAN 1
#endif

#ifdef CX__ASAN
#include <sanitizer/asan_interface.h>
static inline void cx__hide(void *p, size_t len)
{
	ASAN_POISON_MEMORY_REGION(p, len);
}
static inline void cx__show(void *p, size_t len)
{
	ASAN_UNPOISON_MEMORY_REGION(p, len);
}
#else
static inline void cx__hide(void *p, size_t len)
{
	(void)p;
	(void)len;
}
static inline void cx__show(void *p, size_t len)
{
	(void)p;
	(void)len;
}
#endif

#endif
