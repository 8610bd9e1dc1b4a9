/* SPDX-License-Identifier: MIT */
#include "io/kafka_wake.h"

#include <librdkafka/rdkafka.h>

#include <construct/messages.h>

static void on_filled(rd_kafka_t *rk, void *arg)
{
	const struct kafka_wake *wake = arg;

	(void)rk;
	if (cx_post(wake->rt, wake->actor, cx_post_new(KAFKA_EVENT, sizeof(struct cx_msg))) !=
	    CX_OK)
		return; /* full or gone, see the header */
}

void kafka_wake_on(rd_kafka_queue_t *queue, struct kafka_wake *wake)
{
	rd_kafka_queue_cb_event_enable(queue, on_filled, wake);
}

void kafka_wake_off(rd_kafka_queue_t *queue)
{
	rd_kafka_queue_cb_event_enable(queue, NULL, NULL);
}
