#!/bin/bash
# SPDX-License-Identifier: MIT
# run.sh BUILD: those tests of the Kafka adapters that need no planted faults, against the real
# brokers of KAFKA_BROKERS.  Last line `kafka: N passed, N failed`.
# Topics and groups are new ones with the prefix test-; their user must be allowed to create topics.
set -u
build=$1
if [ -z "${KAFKA_BROKERS:-}" ]; then
	echo "kafka: DID NOT RUN against real brokers: KAFKA_BROKERS is not set (the mock cluster's tests are in make check)"
	exit 0
fi
export CONSTRUCT_TEST_KAFKA=$KAFKA_BROKERS
passed=0 failed=0
while read -r binary test; do
	out=$(timeout 120 "$build/tests/io/$binary" --filter "*/$test" --color=never 2>&1)
	code=$?
	# A pattern that matches nothing is a failure too.
	if [ $code = 0 ] && grep -q 'Tested: 1 | Passing: 1' <<<"$out"; then
		echo "  ok   $test"
		passed=$((passed + 1))
	else
		printf '  FAIL %s\n%s\n' "$test" "$out"
		failed=$((failed + 1))
	fi
done <<'LIST'
test_kafka_producer keeps_the_order_of_each_key_with_thousands_in_flight
test_kafka_producer refuses_what_the_broker_would_never_take_and_goes_on
test_kafka_consumer hands_on_key_value_time_and_the_headers_of_interest
test_kafka_consumer hands_on_a_record_larger_than_a_batch
test_kafka_consumer reads_on_exactly_where_the_owner_was_done
test_kafka_consumer commits_in_the_background
test_kafka_consumer pauses_without_credit_and_goes_on_without_a_gap
test_kafka_consumer shares_partitions_with_a_second_member_without_reading_twice
test_kafka_consumer gives_everything_to_the_other_when_it_closes
test_kafka_consumer reads_again_from_where_it_is_sent_back_to
test_kafka_consumer can_be_sent_back_while_it_is_paused
LIST
echo "kafka: $passed passed, $failed failed"
[ $failed = 0 ]
