"""The parts of the Pulsar adapter that need no broker."""

from __future__ import annotations

import asyncio
import http.server
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.errors import MessageTooLarge, ScfWorkersError
from tests.support.patience import PATIENCE_S
from transport import open_broker
from transport.errors import BadBrokerUrl, BrokerDown, BrokerUnauthorized, Closed
from transport.port import Backlog
from transport.pulsar.admin import SAMPLE, Admin, Sampled, estimate, positions
from transport.pulsar.clientlog import log_file, parse
from transport.pulsar.failures import failure
from transport.pulsar.handshake import connect_frame, probe, probe_any, rejection
from transport.pulsar.native import _never_raising
from transport.pulsar.options import PulsarOptions, hosts_of

REFUSED = bytes.fromhex("0000001a") + b"\x08\x0e\x72\x16\x08\x00\x10\x03\x1a\x10token is expired"


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("pulsar://broker", [("broker", 6650)]),
        ("pulsar+ssl://broker", [("broker", 6651)]),
        ("http://broker", [("broker", 8080)]),
        ("https://broker/", [("broker", 8443)]),
        ("pulsar://a:1,b:2,c", [("a", 1), ("b", 2), ("c", 6650)]),
        ("pulsar://[::1]:6650", [("::1", 6650)]),
    ],
)
def test_hosts_of_a_url(url: str, hosts: list[tuple[str, int]]) -> None:
    assert hosts_of(url) == hosts


@pytest.mark.parametrize(
    "url",
    [
        "pulsar://",
        "pulsar://:6650",
        "pulsar://host:port",
        "pulsar://host:6650/tenant/namespace",
        "pulsar://host?x=1",
        "pulsar://user:planted-secret@host",
        "amqp://host",
    ],
)
async def test_a_url_of_another_form_is_rejected_and_not_repeated(url: str) -> None:
    with pytest.raises(BadBrokerUrl, match="host:port") as caught:
        hosts_of(url)
    assert "planted-secret" not in str(caught.value)
    if not url.startswith("amqp"):
        with pytest.raises(BadBrokerUrl):
            await open_broker(url)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 129, "a\n"])
def test_an_invalid_tenant_or_namespace_is_rejected(name: str) -> None:
    for options in (PulsarOptions(url="pulsar://h", tenant=name), PulsarOptions(url="pulsar://h", namespace=name)):
        with pytest.raises(BadBrokerUrl, match="BROKER_"):
            options.check()


def test_a_topic_has_tdmqs_path() -> None:
    options = PulsarOptions(url="http://h:8080", tenant="pulsar-abc123", namespace="prod")
    options.check()
    assert options.path("clean-high-workers-DLQ") == "persistent://pulsar-abc123/prod/clean-high-workers-DLQ"


# ------------------------------------------------------------------------------------------------------------ failures


def test_both_families_of_failures_are_translated() -> None:
    import _pulsar

    for name, ours in {
        "Timeout": BrokerDown,
        "ConnectError": BrokerDown,
        "ProducerBlockedQuotaExceededException": BrokerDown,
        "AuthenticationError": BrokerUnauthorized,
        "AuthorizationError": BrokerUnauthorized,
        "AlreadyClosed": Closed,
        "MessageTooBig": MessageTooLarge,
        "InvalidUrl": BadBrokerUrl,
    }.items():
        result = getattr(_pulsar.Result, name)
        for found in (result, getattr(_pulsar, name)("x")):
            ended = failure(found, "publishing on poll")
            assert type(ended) is ours
            assert str(ended).startswith("publishing on poll: ")
    assert isinstance(failure(object(), "x"), BrokerDown)


def test_the_client_has_the_asynchronous_calls_that_the_adapter_uses() -> None:
    import _pulsar

    calls = {
        _pulsar.Client: ["subscribe_async", "create_producer_async", "get_topic_partitions_async", "close_async"],
        _pulsar.Consumer: ["receive_async", "acknowledge_async", "negative_acknowledge", "is_connected", "close_async"],
        _pulsar.Producer: ["send_async", "is_connected", "close_async"],
    }
    missing = [f"{kind.__name__}.{name}" for kind, names in calls.items() for name in names if not hasattr(kind, name)]
    assert not missing


def test_after_an_error_of_the_supplier_the_last_token_is_used(caplog: pytest.LogCaptureFixture) -> None:
    tokens = iter(["first", "second"])
    supply = _never_raising(lambda: next(tokens))
    assert [supply() for _ in range(4)] == ["first", "second", "second", "second"]
    assert [record.getMessage() for record in caplog.records] == ["token.stale"] * 2


# ------------------------------------------------------------------------------------------------------------ handshake


def test_the_first_frame_is_pulsars_connect() -> None:
    said = b"\x0a\x0bscf-workers" + b"\x20\x0f" + b"\x1a\x03abc" + b"\x2a\x05token"
    assert connect_frame("abc") == bytes.fromhex("00000023 0000001f 0802 121b") + said
    assert connect_frame(None) == bytes.fromhex("00000017 00000013 0802 120f") + said[:15]


def test_a_rejection_has_the_brokers_text() -> None:
    assert rejection(REFUSED) == "authentication, token is expired"


@given(st.binary(max_size=200))
def test_any_answer_can_be_parsed(answer: bytes) -> None:
    assert isinstance(rejection(answer), str)


@asynccontextmanager
async def answering(answer: bytes, read: list[bytes] | None = None) -> AsyncIterator[int]:
    """A server that reads a frame, adds it to `read`, and answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frame = await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
        if read is not None:
            read.append(frame)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def framed(command: bytes) -> bytes:
    return len(command).to_bytes(4) + command


async def test_a_rejected_token_is_reported_at_once() -> None:
    async with answering(framed(REFUSED)) as port:
        with pytest.raises(BrokerUnauthorized, match=r"BROKER_TOKEN \(authentication, token is expired\)") as caught:
            await probe("127.0.0.1", port, token="planted-token", tls=None)
    assert "planted-token" not in str(caught.value)


async def test_any_other_answer_passes() -> None:
    for answer in (b"\x00\x00\x00\x02\x08\x03", b"", b"HTTP"):
        read: list[bytes] = []
        async with answering(framed(answer), read) as port:
            await probe("127.0.0.1", port, token=None, tls=None)
        assert [framed(frame) for frame in read] == [connect_frame(None)]


async def test_a_server_that_is_not_a_broker_is_down() -> None:
    async with answering(b"") as port:
        with pytest.raises(BrokerDown, match="closed the connection"):
            await probe("127.0.0.1", port, token=None, tls=None)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(BrokerDown, match="no broker answers at 127"):
            await open_broker(f"pulsar://127.0.0.1:{closed.getsockname()[1]}")


async def test_the_next_host_is_probed_when_one_is_down() -> None:
    probe_host = partial(probe, token=None, tls=None)
    async with answering(framed(b"\x08\x03")) as port, answering(b"") as bad:
        await probe_any([("127.0.0.1", bad), ("127.0.0.1", port)], probe_host)
        with pytest.raises(BrokerDown):
            await probe_any([("127.0.0.1", bad)], probe_host)
    async with answering(framed(REFUSED)) as port:
        with pytest.raises(BrokerUnauthorized):
            await probe_any([("127.0.0.1", port), ("127.0.0.1", port)], probe_host)


# ------------------------------------------------------------------------------------------------------------- backlog


@given(st.integers(1, 100_000))
def test_a_sample_is_the_whole_backlog_or_spreads_from_first_to_last(depth: int) -> None:
    chosen = positions(depth)
    assert len(chosen) == min(depth, SAMPLE) == len(set(chosen))
    assert (chosen[0], chosen[-1]) == (1, depth)
    assert sorted(chosen) == list(chosen)


@given(
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.lists(st.builds(Sampled, published=st.floats(0, 2000), due=st.floats(0, 2000)), max_size=SAMPLE),
    st.integers(0, 1000),
)
def test_an_estimate_adds_up_and_is_never_negative(depth: int, held: int, sample: list[Sampled], counted: int) -> None:
    found = estimate(depth, held, sample, 1000.0, counted)
    assert min(found.ready, found.delayed, found.in_flight, found.oldest_age) >= 0
    assert found.depth == max(depth, held)


def test_a_short_backlog_is_exact() -> None:
    sample = [Sampled(published=900, due=0), Sampled(published=100, due=990), Sampled(published=800, due=5000)]
    assert estimate(3, 0, sample, 1000.0, 0) == Backlog(ready=2, delayed=1, in_flight=0, oldest_age=100.0)
    assert estimate(3, 2, sample, 1000.0, 0) == Backlog(ready=0, delayed=1, in_flight=2, oldest_age=0.0)
    assert estimate(10, 4, [], 1000.0, 5) == Backlog(ready=1, delayed=5, in_flight=4, oldest_age=0.0)


@pytest.fixture
def admin() -> Iterator[Callable[[int, bytes], Admin]]:
    """An admin interface with a constant answer."""
    servers: list[http.server.HTTPServer] = []

    def make(status: int, body: bytes) -> Admin:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return Admin(f"http://127.0.0.1:{server.server_port}", lambda: "planted-token", None, lambda: 1000.0)

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


async def test_of_several_http_hosts_the_next_is_probed_too(admin: Callable[[int, bytes], Admin]) -> None:
    there = admin(401, b"")._url.removeprefix("http://")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(BrokerUnauthorized):
            await open_broker(f"http://127.0.0.1:{closed.getsockname()[1]},{there}")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"", BrokerUnauthorized),
        (403, b"", BrokerUnauthorized),
        (500, b"", BrokerDown),
        (200, b"<html>", BrokerDown),
        (200, b'{"subscriptions": []}', BrokerDown),
    ],
)
def test_an_unusable_answer_of_the_admin_interface_is_an_error(
    admin: Callable[[int, bytes], Admin], status: int, body: bytes, error: type[ScfWorkersError]
) -> None:
    with pytest.raises(error) as caught:
        admin(status, body).backlog("persistent://public/default/poll", "workers")
    assert "planted-token" not in str(caught.value)


def test_an_unknown_topic_has_no_backlog(admin: Callable[[int, bytes], Admin]) -> None:
    assert admin(404, b"").backlog("persistent://public/default/poll", "workers").depth == 0
    assert admin(200, b"{}").backlog("persistent://public/default/poll", "workers").depth == 0


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://user:secret@host"])
def test_an_admin_url_of_another_form_is_rejected(url: str) -> None:
    with pytest.raises(BadBrokerUrl, match="BROKER_ADMIN_URL"):
        Admin(url, None, None, lambda: 0.0)


# ----------------------------------------------------------------------------------------------------------------- log


def test_lines_of_the_client_have_a_level() -> None:
    line = "2026-01-02 03:04:05.678 WARN  [140] ClientConnection:485 | [<none> -> pulsar://h] no\n"
    assert parse(line) == (logging.WARNING, "ClientConnection:485 | [<none> -> pulsar://h] no")
    assert parse("something else\n") == (logging.WARNING, "something else")


def test_log_lines_of_the_client_are_forwarded(caplog: pytest.LogCaptureFixture) -> None:
    came = threading.Event()

    class Waiting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "planted line" in record.getMessage():
                came.set()

    handler = Waiting()
    logger = logging.getLogger("pulsar")
    logger.addHandler(handler)
    try:
        with open(log_file(), "w", encoding="utf-8") as out:  # noqa: PTH123 - as the client does
            out.write("2026-01-02 03:04:05.678 ERROR [140] X:1 | planted line\n")
        assert came.wait(10)
    finally:
        logger.removeHandler(handler)
    assert log_file() is log_file()


def test_a_forked_child_has_a_log_of_its_own() -> None:
    script = """
import os
from transport.pulsar.clientlog import log_file
parents = log_file()
child = os.fork()
if not child:
    os._exit(0 if log_file() != parents else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    # In a separate process, because forking a process with threads causes a warning.
    assert (
        subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False, timeout=PATIENCE_S).returncode == 0
    )
