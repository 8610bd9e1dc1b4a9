/* SPDX-License-Identifier: MIT */
#include "io/kafka_partition.h"

#include <stdlib.h>

#define FIRST_CAP 16

void kafka_partition_close(struct kafka_partition *p)
{
	free(p->sent);
	p->sent = NULL;
}

void kafka_partition_sent(struct kafka_partition *p, int64_t next_offset, uint64_t bytes)
{
	if (p->sent_count == p->sent_cap) {
		const uint32_t cap = p->sent_cap == 0 ? FIRST_CAP : p->sent_cap * 2;
		struct kafka_sent *const ring = calloc(cap, sizeof(*ring));

		cx_assert(ring != NULL);
		for (uint32_t i = 0; i < p->sent_count; i++)
			ring[i] = p->sent[(p->sent_first + i) % p->sent_cap];
		free(p->sent);
		p->sent = ring;
		p->sent_cap = cap;
		p->sent_first = 0;
	}
	p->sent[(p->sent_first + p->sent_count) % p->sent_cap] =
		(struct kafka_sent){ next_offset, bytes };
	p->sent_count++;
	p->unpaid_bytes += bytes;
	p->position = next_offset;
}

void kafka_partition_done(struct kafka_partition *p, int64_t next_offset)
{
	if (next_offset > p->position)
		next_offset = p->position; /* nobody is done with what he has not got */
	if (next_offset > p->done)
		p->done = next_offset;
	while (p->sent_count > 0 && p->sent[p->sent_first].next_offset <= p->done) {
		p->unpaid_bytes -= p->sent[p->sent_first].bytes;
		p->sent_first = (p->sent_first + 1) % p->sent_cap;
		p->sent_count--;
	}
}

void kafka_partition_restart(struct kafka_partition *p, int64_t offset, uint32_t epoch)
{
	p->epoch = epoch;
	p->position = offset;
	p->done = offset;
	p->committed = -1;
	p->seek_to = -1;
	p->sent_count = 0;
	p->unpaid_bytes = 0;
}
