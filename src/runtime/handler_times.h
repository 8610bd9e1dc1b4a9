/* SPDX-License-Identifier: MIT */
/* One worker's handler times of one kind of actor; cx/runtime.h says what is counted.  Log-linear
 * buckets as in HDR histograms (Tene): a value is shifted down until it fits 4 bits; the shift says
 * which power of two, the rest which eighth of it. */
#ifndef CX_RUNTIME_HANDLER_TIMES_H
#define CX_RUNTIME_HANDLER_TIMES_H

#include <stdatomic.h>
#include <stdint.h>

#include <cx/runtime.h>

#define CX__TIMES_CUTS 8     /* of each power of two */
#define CX__TIMES_SUB_BITS 4 /* values below 2^4 have a bucket each */
#define CX__TIMES_MAX_BITS 36

_Static_assert(CX_HANDLER_BUCKETS ==
                       (CX__TIMES_MAX_BITS - CX__TIMES_SUB_BITS + 2) * CX__TIMES_CUTS,
               "the last power of two has its buckets");

/* One writer, read by anybody: relaxed everywhere. */
struct cx__handler_times {
	_Atomic uint64_t count[CX_HANDLER_BUCKETS];
};

static inline unsigned cx__times_bucket(uint64_t ns)
{
	const uint64_t max = (UINT64_C(1) << CX__TIMES_MAX_BITS) - 1;
	const uint64_t v = ns < max ? ns : max;
	const unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1);
	const unsigned shift = bits > CX__TIMES_SUB_BITS ? bits - CX__TIMES_SUB_BITS : 0;

	return shift * CX__TIMES_CUTS + (unsigned)(v >> shift);
}

/* n handlers took `ns` together, n > 0, and stand for `weight` times as many.
 * Thread: the worker's own. */
static inline void cx__handler_times_add(struct cx__handler_times *times, uint64_t ns,
                                         uint32_t n, uint32_t weight)
{
	_Atomic uint64_t *count = &times->count[cx__times_bucket(n == 1 ? ns : ns / n)];

	atomic_store_explicit(
		count, atomic_load_explicit(count, memory_order_relaxed) + (uint64_t)n * weight,
		memory_order_relaxed);
}

#endif
