# SPDX-License-Identifier: MIT
"""The states of docs/failure-modes.md: how each is made and healed.  What is expected stands there only."""
import contextlib

from stack_server import PARTITIONS

ROWS = {}


def row(name, servers=(0, 1)):
    """servers: where the new connections of this row go."""
    def deco(fn):
        ROWS[name] = (contextlib.asynccontextmanager(fn), servers)
        return fn
    return deco


def gone(service):
    async def state(d):
        await d.backends.stop(service)
        try:
            yield
        finally:
            await d.backends.start(service)
    return state


def frozen(service):
    async def state(d):
        d.backends.freeze(service)
        try:
            yield
        finally:
            d.backends.thaw(service)
    return state


for _service in ("postgres", "redis", "kafka"):
    row(f"{_service}_gone")(gone(_service))
    row(f"{_service}_frozen")(frozen(_service))


@row("postgres_read_only")
async def postgres_read_only(d):
    """As a full disk: what writes is an error, what reads is not."""
    await d.backends.sql("alter system set default_transaction_read_only = on",
                         "select pg_reload_conf()")
    try:
        yield
    finally:
        await d.backends.sql("alter system reset default_transaction_read_only",
                             "select pg_reload_conf()")


@row("redis_full")
async def redis_full(d):
    await d.backends.redis("config", "set", "maxmemory", "1mb")
    try:
        yield
    finally:
        await d.backends.redis("config", "set", "maxmemory", "0")


@row("redis_emptied")
async def redis_emptied(d):
    await d.backends.redis("flushall")
    yield


@row("redis_started_empty")
async def redis_started_empty(d):
    """It comes back without what it had."""
    await d.backends.redis("flushall")
    await d.backends.stop("redis")
    await d.backends.start("redis")
    yield


@row("kafka_topic_full")
async def kafka_topic_full(d):
    """The broker refuses each record."""
    await d.backends.topic_limit(d.topic, 64)
    try:
        yield
    finally:
        await d.backends.topic_limit(d.topic, None)


@row("kafka_topic_emptied")
async def kafka_topic_emptied(d):
    await d.backends.topic_empty(d.topic, PARTITIONS)
    yield


@row("kafka_topic_missing")
async def kafka_topic_missing(d):
    await d.backends.topic_delete(d.topic)
    try:
        yield
    finally:
        await d.backends.topic_make(d.topic, PARTITIONS)


def crashed(role, count):
    async def state(d):
        for part in d.of(role)[-count:]:
            await part.crash()
        yield
    return state


def stopped(role):
    async def state(d):
        d.of(role)[-1].freeze()
        try:
            yield
        finally:
            d.of(role)[-1].thaw()
    return state


row("gateways_gone")(crashed("gateway", 2))
row("gateway_gone")(crashed("gateway", 1))
row("gateway_frozen")(stopped("gateway"))
row("workers_gone")(crashed("worker", 2))
row("worker_gone")(crashed("worker", 1))
row("worker_frozen")(stopped("worker"))
row("server_gone", servers=(0,))(crashed("server", 1))


@row("server_without_redis", servers=(0,))
async def server_without_redis(d):
    """The first server alone is cut from it."""
    await d.cable.cut()
    try:
        yield
    finally:
        await d.cable.plug()
