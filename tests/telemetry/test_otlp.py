"""Spans and metrics over the wire, to collectors that decode them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from telemetry import logs, metrics, tracing
from telemetry.exporters import Options, open_exporters, pairs, service_name
from telemetry.instruments import Metric, SpanName
from telemetry.otel import Otlp, Protocol, open_otlp
from telemetry.redaction import register
from telemetry.secrets import Secret
from tests.telemetry.collectors import Received, dead_collector, grpc_collector, http_collector

pytestmark = pytest.mark.slow

VALID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-11f7651916cd43dd8448eb211c80319c-22ad6b7169203331-01"
WELL = 10.0
"""Seconds in which a collector on this machine answers, whatever else the machine does."""

COLLECTORS: list[tuple[Protocol, Callable[[], AbstractContextManager[Received]]]] = [
    ("grpc", grpc_collector),
    ("http/protobuf", http_collector),
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[io.StringIO]:
    """The process's log, with no exporters installed before or after."""
    stream = io.StringIO()
    undo = logs.setup(stream, "INFO", "test")
    yield stream
    undo()
    assert tracing.install(None) is None
    assert metrics.install(None) is None


@pytest.mark.parametrize(("protocol", "collector"), COLLECTORS)
def test_spans_and_metrics_arrive(
    protocol: Protocol, collector: Callable[[], AbstractContextManager[Received]]
) -> None:
    with collector() as received:
        options = Options(
            service="producer.cos_trigger",
            endpoint=received.url,
            protocol=protocol,
            headers=Secret("X-Tenant=harness%20one,authorization=Bearer tttttttt"),
            resource=Secret("token=apm-token-1,deployment.environment=test"),
        )
        with closing(open_exporters(options)) as exporters:
            with tracing.span(SpanName.CONSUME, VALID, of="clean", seq=3, took=0.5, mine=True) as inner:
                pass
            with pytest.raises(ValueError, match="broke"), tracing.span(SpanName.WOKEN, VALID, link=OTHER):
                raise ValueError("broke")
            metrics.count(Metric.CALLBACKS, result="delivered")
            metrics.observe(Metric.QUEUE_DELAY, 0.2, stage="clean")
            metrics.level(Metric.BACKLOG, 7, topic="poll", state="ready")
            assert exporters.flush(WELL)
            _check_spans(received, inner)
            _check_metrics(received)
    assert received.headers[0].get("x-tenant", received.headers[0].get("X-Tenant")) == "harness one"
    assert received.resource["token"] == "apm-token-1"
    assert received.resource["service.name"] == "scf-workers-producer-cos-trigger"
    assert received.resource["deployment.environment"] == "test"


def _check_spans(received: Received, inner: str) -> None:
    clean, woken = sorted(received.spans, key=lambda span: str(span.name))
    assert clean.name == "consume clean"
    assert clean.kind == clean.SPAN_KIND_CONSUMER
    assert clean.trace_id.hex() == tracing.trace_id(VALID)
    assert clean.span_id.hex() == tracing.span_id(inner)
    assert clean.parent_span_id.hex() == tracing.span_id(VALID)
    assert clean.end_time_unix_nano > clean.start_time_unix_nano > 0
    values = {each.key: each.value for each in clean.attributes}
    assert values["seq"].int_value == 3
    assert values["took"].double_value == 0.5
    assert values["mine"].bool_value is True
    assert woken.status.code == woken.status.STATUS_CODE_ERROR
    assert woken.status.message == "broke"
    (link,) = woken.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (tracing.trace_id(OTHER), tracing.span_id(OTHER))


def _check_metrics(received: Received) -> None:
    (counted,) = received.metrics["scf_workers.callbacks"].sum.data_points
    assert counted.as_double == 1 or counted.as_int == 1
    assert [(each.key, each.value.string_value) for each in counted.attributes] == [("result", "delivered")]
    (delay,) = received.metrics["scf_workers.queue.delay"].histogram.data_points
    assert (delay.count, delay.sum) == (1, 0.2)
    assert list(delay.explicit_bounds)[:2] == [0.005, 0.01]
    assert received.metrics["scf_workers.queue.delay"].unit == "s"
    (backlog,) = received.metrics["scf_workers.backlog"].gauge.data_points
    assert backlog.as_int == 7


def test_metrics_can_be_left_out() -> None:
    with http_collector() as received:
        options = Options(service="x", endpoint=received.url, protocol="http/protobuf", metrics=False)
        with closing(open_exporters(options)) as exporters:
            assert not metrics.is_on()
            with tracing.span(SpanName.HANDLE, "", of="x"):
                pass
            assert exporters.flush(WELL)
    assert [span.name for span in received.spans] == ["handle x"]
    assert received.metrics == {}


def test_metrics_wait_for_their_turn_unless_somebody_waits() -> None:
    with http_collector() as received:
        spans, measurements = open_otlp("http/protobuf", received.url, {})
        with closing(Otlp(spans, measurements, {})) as otlp:
            otlp.count(Metric.CALLBACKS, 1, {"result": "delivered"})
            assert otlp.send(awaited=False)
            assert received.metrics == {}
            assert otlp.send(awaited=True)
            assert set(received.metrics) == {"scf_workers.callbacks"}


def test_what_is_too_much_is_lost_and_said_so(quiet: io.StringIO) -> None:
    with http_collector() as received:
        spans, _ = open_otlp("http/protobuf", received.url, {})
        with closing(Otlp(spans, None, {})) as otlp:
            tracing.install(tracing.Tracer(otlp))
            for n in range(5000):
                with tracing.span(SpanName.AUDIT, VALID, pictures=n):
                    pass
            tracing.install(None)
            assert otlp.send(awaited=True)
    # The newest are kept.
    assert [span.attributes[0].value.int_value for span in received.spans] == list(range(5000 - 4096, 5000))
    lost = [json.loads(line)["spans"] for line in quiet.getvalue().splitlines() if "telemetry.lost" in line]
    assert lost == [5000 - 4096]


def test_a_given_service_name_wins() -> None:
    with http_collector() as received:
        options = Options(
            service="x",
            endpoint=received.url,
            protocol="http/protobuf",
            service_name="mine",
            resource=Secret("service.name=theirs"),
        )
        with closing(open_exporters(options)), tracing.span(SpanName.HANDLE, "", of="x"):
            pass
    assert received.resource["service.name"] == "mine"


def test_more_spans_than_a_batch_arrive_all() -> None:
    with http_collector() as received:
        options = Options(service="x", endpoint=received.url, protocol="http/protobuf", metrics=False)
        with closing(open_exporters(options)) as exporters:
            for _ in range(1200):
                with tracing.span(SpanName.AUDIT, VALID):
                    pass
            assert exporters.flush(WELL)
    assert len(received.spans) == 1200


def test_no_planted_secret_is_sent() -> None:
    planted = "planted-secret-0123456789"
    register(Secret(planted))
    with http_collector() as received:
        options = Options(
            service="x", endpoint=received.url, protocol="http/protobuf", resource=Secret("token=apm-token-2")
        )
        with closing(open_exporters(options)) as exporters:
            with tracing.span(SpanName.DOWNLOAD, VALID, key=f"https://h/{planted}", Authorization="q-sign-algorithm=x"):
                tracing.note(url="https://host/x?q-ak=AKIDabcdefgh", vendor=planted)
                tracing.failed(RuntimeError(f"{planted} https://host/x?q-signature=ffff0000"))
            assert exporters.flush(WELL)
    sent = b"".join(received.raw)
    assert sent
    for secret in (planted, "AKIDabcdefgh", "ffff0000", "q-sign-algorithm"):
        assert secret.encode() not in sent


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_dead_collector_costs_one_bounded_wait(protocol: Protocol, quiet: io.StringIO) -> None:
    with dead_collector() as url:
        exporters = open_exporters(Options(service="x", endpoint=url, protocol=protocol))
        with tracing.span(SpanName.HANDLE, "", of="x"):
            pass
        started = time.monotonic()
        assert not exporters.flush()
        waited = time.monotonic() - started
        # The next hundred calls and the end together do not wait as long as ten of that kind would.
        started = time.monotonic()
        for _ in range(100):
            with tracing.span(SpanName.HANDLE, "", of="x"):
                pass
            assert not exporters.flush()
        exporters.close()
        assert time.monotonic() - started < 10 * waited
    assert '"event":"telemetry.lost"' in quiet.getvalue()


def test_nobody_listens() -> None:
    with dead_collector() as url:
        pass
    exporters = open_exporters(Options(service="x", endpoint=url, protocol="grpc"))
    with tracing.span(SpanName.HANDLE, "", of="x"):
        pass
    assert not exporters.flush()
    exporters.close()


def test_without_the_library_the_work_goes_on(monkeypatch: pytest.MonkeyPatch, quiet: io.StringIO) -> None:
    monkeypatch.setitem(sys.modules, "telemetry.otel", None)
    with closing(open_exporters(Options(service="x", endpoint="http://127.0.0.1:1"))) as exporters:
        assert exporters.flush()
    (line,) = [json.loads(each) for each in quiet.getvalue().splitlines()]
    assert line["event"] == "telemetry.off"
    assert "scf-workers[telemetry]" in line["remedy"]


def test_off_means_off_and_no_library_is_loaded(tmp_path: Path) -> None:
    program = f"""
import sys
from telemetry.exporters import Options, open_exporters
for trace_file in ("", {str(tmp_path / "trace.jsonl")!r}):
    exporters = open_exporters(Options(service="x", trace_file=trace_file))
    exporters.flush()
    exporters.close()
print(*sorted(name for name in sys.modules if name.split(".")[0] in ("opentelemetry", "grpc", "google", "requests")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_pairs_are_read_as_the_standard_writes_them() -> None:
    assert pairs("a=1, b = two%20words ,c=x=y,,nonsense,=z") == {"a": "1", "b": "two words", "c": "x=y"}
    assert pairs("") == {}


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("consumers", "scf-workers-consumers"),
        ("producer.cos_trigger", "scf-workers-producer-cos-trigger"),
        ("X" * 80, "scf-workers-" + "x" * 51),
    ],
)
def test_service_names_fit_the_rule(service: str, name: str) -> None:
    assert service_name(service) == name
