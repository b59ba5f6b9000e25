"""Wiring of telemetry to settings, functions and workers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from consumers.runners.backlog import tell_backlog, watch_backlog
from runtime.errors import BadSettings
from runtime.scf import Instance
from runtime.settings import Settings, load_settings
from runtime.wiring import open_services, open_telemetry
from tasks.context import Services
from telemetry import logs, tracing
from telemetry.exporters import Exporters
from telemetry.instruments import Metric
from telemetry.redaction import redact_text
from telemetry.tracing import Tracer
from tests.telemetry.kept import Kept, listening
from transport import open_broker
from transport.errors import BrokerDown
from transport.port import Backlog


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    undo = logs.setup(io.StringIO(), "INFO", "test")
    yield
    undo()


class Counting:
    """Stands for what is open."""

    def __init__(self) -> None:
        self.flushed = 0

    def flush(self) -> bool:
        self.flushed += 1
        return True

    def close(self) -> None:
        """Nothing to close."""


def _warm() -> tuple[Instance[Services], Counting]:
    """An instance that has been opened, with nothing outside."""
    one, exporters = Instance("producer.test", open_services), Counting()
    one._settings = Settings()
    one._exporters = cast("Exporters", exporters)
    one._services = cast("Services", object())
    return one, exporters


def test_a_function_flushes_before_it_returns() -> None:
    one, exporters = _warm()

    async def work(services: Services) -> str:
        assert exporters.flushed == 0
        return "done"

    with closing(one):
        assert one.call(work) == "done"
        assert exporters.flushed == 1


def test_a_function_that_raises_flushes_too_and_its_span_tells() -> None:
    one, exporters = _warm()

    async def work(services: Services) -> None:
        raise BadSettings("broken")

    kept = Kept()
    before = tracing.install(Tracer(kept))
    try:
        with closing(one), pytest.raises(BadSettings):
            one.call(work)
    finally:
        tracing.install(before)
    assert exporters.flushed == 1
    (span,) = kept.spans
    assert (span.name, span.failed) == ("handle producer.test", True)
    assert span.attributes["error_type"] == "BadSettings"


async def test_backlog_is_told_by_topic_and_state() -> None:
    broker = await open_broker("sqlite:///:memory:")
    with listening() as kept:
        await broker.publish("poll", b"1")
        await broker.publish("poll", b"2", delay=60.0)
        await tell_backlog(broker, [("poll", "workers")])
    await broker.close()
    # ready, delayed, in flight.
    assert kept.values[Metric.BACKLOG] == [1, 1, 0]
    assert kept.values[Metric.BACKLOG_AGE][0] >= 0


class Away:
    """A broker that knows the backlog of one topic only."""

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        if topic == "clean":
            raise BrokerDown("away")
        return Backlog(ready=3, delayed=0, in_flight=0, oldest_age=9.5)


def test_a_broker_that_does_not_tell_stops_nothing() -> None:
    with listening() as kept:
        asyncio.run(tell_backlog(cast("Any", Away()), [("clean", "workers"), ("poll", "workers")]))
    assert kept.values[Metric.BACKLOG_AGE] == [9.5]
    assert [line["topic"] for line in kept.lines if line["event"] == "backlog.unknown"] == ["clean"]


def test_nobody_is_asked_while_nobody_listens() -> None:
    asyncio.run(watch_backlog(cast("Any", None), [("poll", "workers")]))


def test_every_value_of_a_header_and_every_secret_attribute_is_masked() -> None:
    load_settings(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=planted-tenant,authorization=Bearer%20planted-bearer",
            "OTEL_RESOURCE_ATTRIBUTES": "token=planted-apm,deployment.environment=planted-place",
        }
    )
    reported = redact_text("it said planted-tenant, then planted-bearer, then planted-apm, at planted-place")
    assert reported == "it said ***, then ***, then ***, at planted-place"


def test_a_trace_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="TRACE_FILE"):
        open_telemetry(Settings(trace_file=str(tmp_path / "nowhere" / "trace.jsonl")), "x")


def test_an_unknown_protocol_is_refused_by_name() -> None:
    with pytest.raises(BadSettings, match=r"OTEL_EXPORTER_OTLP_PROTOCOL|otel_exporter_otlp_protocol"):
        load_settings({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})
