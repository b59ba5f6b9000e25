"""Spans go straight to the collector: proxy variables of the environment would give its key to another host."""

from __future__ import annotations

import socket
import threading
from contextlib import closing

import pytest

from telemetry.instruments import Metric
from telemetry.otel import Otlp, Protocol, open_otlp
from telemetry.tracing import Finished


def span() -> Finished:
    return Finished(
        trace_id="1" * 32,
        span_id="2" * 16,
        parent_id="",
        name="x",
        kind="internal",
        start_ns=1,
        duration_ns=1,
        attributes={},
        link="",
        failed=False,
    )


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_no_proxy_is_called(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as proxy:
        called = threading.Event()

        def wait() -> None:
            try:
                proxy.accept()[0].close()
            except OSError:
                return
            called.set()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
            monkeypatch.delenv(name, raising=False)
        spans, metrics = open_otlp(protocol, "http://collector.invalid:4317", {"authorization": "the-key"})
        otlp = Otlp(spans, metrics, {})
        otlp.ended(span())
        otlp.count(next(iter(Metric)), 1, {})
        assert not otlp.send(awaited=True)
        otlp.close()
        assert not called.is_set()
        proxy.shutdown(socket.SHUT_RDWR)
        thread.join(10)
