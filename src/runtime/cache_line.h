/* SPDX-License-Identifier: MIT */
/* Cores exchange memory in lines of 64 bytes, and their prefetchers bring the other half of 128 along, to be
 * written too where that line is written (Intel, Optimization Reference Manual, "spatial prefetcher").  So what
 * different threads write lies 128 bytes apart, or each loses what it does not share with every write of the other.
 * Measured: docs/decisions/0009. */
#ifndef CX_RUNTIME_CACHE_LINE_H
#define CX_RUNTIME_CACHE_LINE_H

enum { CX__LINE = 64, CX__APART = 128 }; /* bytes */

#endif
