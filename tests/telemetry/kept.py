"""Sinks that keep what they receive, and check it against the catalogue."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from producer.cos_trigger import take_event
from services.backend import Backend
from services.vendors.instrumented import InstrumentedVendor
from services.vendors.registry import Vendors
from telemetry import logs, metrics, tracing
from telemetry.fields import FIELDS
from telemetry.instruments import Metric, MetricKind, SpanName
from telemetry.secrets import Secret
from telemetry.tracing import Finished, Tracer
from tests.engine.harness import BUCKET, Harness
from tests.engine.virtual import VirtualLoop, wall

ALWAYS = {"error_type", "error", "code"}
"""Attributes that any span has when it met an error."""


@dataclass
class Kept:
    """Everything that was emitted."""

    spans: list[Finished] = field(default_factory=list)
    counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=Counter)
    values: dict[str, list[float]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def ended(self, span: Finished) -> None:
        word, _, _ = span.name.partition(" ")
        assert set(span.attributes) <= {*SpanName(word).attributes, *ALWAYS}, span
        self.spans.append(span)

    def count(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self._check(metric, labels, "counter")
        self.counts[metric.value, tuple(sorted(labels.items()))] += int(value)

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self._check(metric, labels, "histogram")
        self.values.setdefault(metric.value, []).append(value)

    def level(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self._check(metric, labels, "gauge")
        self.values.setdefault(metric.value, []).append(value)

    def total(self, metric: Metric, **labels: str) -> int:
        """The counter's sum over all series whose labels include these."""
        return sum(
            count
            for (name, found), count in self.counts.items()
            if name == metric.value and labels.items() <= dict(found).items()
        )

    def named(self, name: str) -> list[Finished]:
        """Spans of a name, in the order in which they began."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_ns)

    def one(self, name: str) -> Finished:
        (found,) = self.named(name)
        return found

    def above(self, span: Finished) -> list[str]:
        """Names of a span's ancestors, itself first."""
        by_id = {each.span_id: each for each in self.spans}
        names = [span.name]
        while span.parent_id in by_id:
            span = by_id[span.parent_id]
            names.append(span.name)
        return names

    def _check(self, metric: Metric, labels: Mapping[str, str], kind: MetricKind) -> None:
        assert metric.kind == kind, metric
        assert set(labels) == set(metric.labels), (metric, labels)
        assert all(isinstance(value, str) and value for value in labels.values()), (metric, labels)


@contextmanager
def listening() -> Iterator[Kept]:
    """Keep everything that the process emits."""
    kept, stream = Kept(), io.StringIO()
    undo = logs.setup(stream, "DEBUG", "test")
    tracer, sink = tracing.install(Tracer(kept)), metrics.install(kept)
    try:
        yield kept
    finally:
        tracing.install(tracer)
        metrics.install(sink)
        undo()
        for line in stream.getvalue().splitlines():
            assert len(line.encode()) <= logs.MAX_LINE_BYTES
            kept.lines.append(json.loads(line))
            assert set(kept.lines[-1]) <= set(FIELDS), set(kept.lines[-1]) - set(FIELDS)


class TelemetryHarness(Harness):
    """The harness with the real client of the backend, and vendors that are watched as in production."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(200)
        """Answers of the backend."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        client = Backend(
            base_url="http://backend.example",
            secret=Secret("planted-callback-secret-0123456789"),
            clock=wall,
            transport=httpx.MockTransport(self._answer),
        )
        self._stack.push_async_callback(client.close)
        vendors = Vendors([InstrumentedVendor(vendor) for vendor in self.out.vendors.clients])
        self.out = dataclasses.replace(self.out, backend=client, vendors=vendors)
        self.engine = self.new_engine()
        return self

    def _answer(self, request: httpx.Request) -> httpx.Response:
        return self.answers(request)

    async def deliver(self, *keys: str) -> dict[str, int]:
        """Deliver a COS event to the trigger, which runs as on the platform."""
        appid = BUCKET.rpartition("-")[2]
        name = BUCKET.rpartition("-")[0]
        records = [
            {
                "cos": {
                    "cosObject": {"key": f"/{appid}/{name}/{key}"},
                    "cosBucket": {"name": name, "appid": appid},
                },
                "event": {
                    "eventName": "cos:ObjectCreated:Put",
                    "requestParameters": {"requestHeaders": {"Authorization": "q-sign-algorithm=planted-uploader"}},
                },
            }
            for key in keys
        ]
        with tracing.span(SpanName.HANDLE, "", of="producer.cos_trigger", function="producer.cos_trigger"):
            return await take_event({"Records": records}, self.out)


def play(story: Callable[[TelemetryHarness], Awaitable[None]]) -> Kept:
    """Run a coroutine on virtual time, and keep everything that it emits."""

    async def tell() -> None:
        async with TelemetryHarness() as harness:
            await story(harness)

    with listening() as kept, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(tell())
    return kept
