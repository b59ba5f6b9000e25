"""Requests of the store on COS, and its handling of answers that the stand-in does not give."""

from __future__ import annotations

import asyncio
import gzip
import logging
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from messages.errors import Permanent, ScfWorkersError, Transient
from services.errors import AuditDown, BadPicture, Denied, ObjectsDown
from services.objects.cos import CosObjects, Credentials
from services.objects.port import PictureRule
from telemetry.events import Event
from telemetry.secrets import Secret
from tests.support.patience import PATIENCE_S

RULES = [PictureRule("out/b", "imageMogr2/format/png")]
Call = tuple[str, Callable[[CosObjects], Awaitable[Any]]]
# They get the object itself, or nothing at all.
TRUSTING: list[Call] = [
    ("get", lambda objects: objects.get("a")),
    ("open", lambda objects: read(objects, "a")),
    ("head", lambda objects: objects.head("a")),
    ("delete", lambda objects: objects.delete(["a"])),
]
CALLS: list[Call] = [
    *TRUSTING,
    ("put", lambda objects: objects.put("a", b"1")),
    ("put", lambda objects: objects.put("a", Endless(3))),
    ("put_new", lambda objects: objects.put_new("a", b"1")),
    ("copy", lambda objects: objects.copy("a", "b")),
    ("delete", lambda objects: objects.delete(["a", "b"])),
    ("list", lambda objects: objects.list("a")),
    ("process", lambda objects: objects.process("a", RULES)),
    ("audit", lambda objects: objects.audit(["a"])),
    ("audit_text", lambda objects: objects.audit_text("a")),
    ("versioned", lambda objects: objects.versioned()),
]


class Endless:
    """A body of any size."""

    def __init__(self, size: int, *, breaks_at: int = -1) -> None:
        self.size, self.breaks_at = size, breaks_at
        self.well_begun = asyncio.Event()
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for first in range(0, self.size, 1 << 16):
                if first == self.breaks_at:
                    raise OSError("broken")
                if first == 1 << 22:
                    self.well_begun.set()
                yield b"x" * min(1 << 16, self.size - first)
                await asyncio.sleep(0)
        finally:
            self.closed = True


async def read(objects: CosObjects, key: str) -> bytes:
    async with objects.open(key) as download:
        return b"".join([piece async for piece in download])


@pytest.mark.parametrize(("operation", "call"), CALLS)
@pytest.mark.parametrize("status", [500, 503, 429, 302])
async def test_nothing_is_ever_sent_twice(
    cos: Any, objects: CosObjects, operation: str, call: Callable[[CosObjects], Awaitable[Any]], status: int
) -> None:
    cos.say(status, b"<Error><Code>SlowDown</Code></Error>", Retry_After="9", x_cos_request_id="id-1")
    with pytest.raises(ObjectsDown) as caught:
        await call(objects)
    assert len(cos.requests) == 1
    assert caught.value.retry_after == 9.0
    assert str(caught.value).startswith(f"{operation} ")
    assert str(status) in str(caught.value)
    assert "id-1" in str(caught.value)


@pytest.mark.parametrize(("operation", "call"), CALLS)
async def test_a_cut_answer_is_an_outage(
    cos: Any, objects: CosObjects, operation: str, call: Callable[[CosObjects], Awaitable[Any]]
) -> None:
    cos.script = lambda _: None
    with pytest.raises(ObjectsDown, match=operation):
        await call(objects)
    assert len(cos.requests) == 1


@pytest.mark.parametrize(("operation", "call"), [call for call in CALLS if call not in TRUSTING])
@pytest.mark.parametrize("body", [b"<html>welcome to this network", b"<html><body>welcome</body></html>"])
async def test_an_answer_of_somebody_else_is_no_success(
    cos: Any, objects: CosObjects, operation: str, call: Callable[[CosObjects], Awaitable[Any]], body: bytes
) -> None:
    cos.say(200, body)
    with pytest.raises((ObjectsDown, AuditDown, Transient)):
        await call(objects)


@pytest.mark.parametrize(("operation", "call"), CALLS)
async def test_errors_and_logs_hold_no_secret(
    cos: Any,
    objects: CosObjects,
    keys: Any,
    caplog: pytest.LogCaptureFixture,
    operation: str,
    call: Callable[[CosObjects], Awaitable[Any]],
) -> None:
    caplog.set_level(logging.DEBUG)
    keys.now = Credentials(Secret("AKIDone"), Secret("key-one"), Secret("token-one"))
    cos.say(403, b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>token-one</StringToSign></Error>")
    with pytest.raises(Denied) as caught:
        await call(objects)
    reported = f"{caught.value} {caught.value.__context__} {caught.value.__cause__} {caplog.text}"
    assert "q-signature" in cos.requests[0].headers["authorization"]
    for secret in ("token-one", "key-one", "q-signature", "AKIDone"):
        assert secret not in reported


async def test_create_only_is_said_on_the_wire_and_signed(cos: Any, objects: CosObjects) -> None:
    cos.say(200, ETag='"e"', Date="Sun, 22 Nov 2026 11:00:00 GMT")
    await objects.put("a", b"1")
    assert (await objects.put_new("a", b"1")).date == 1_795_345_200.0
    plain, create = cos.requests
    assert "x-cos-forbid-overwrite" not in plain.headers
    assert create.headers["x-cos-forbid-overwrite"] == "true"
    assert "x-cos-forbid-overwrite" in create.headers["authorization"].split("q-header-list=")[1].split("&")[0]


async def test_a_put_without_an_etag_is_not_believed(cos: Any, objects: CosObjects) -> None:
    cos.say(200)
    with pytest.raises(ObjectsDown, match="put 'a'"):
        await objects.put("a", b"1")


async def test_credentials_and_tokens_are_those_of_the_moment(cos: Any, objects: CosObjects, keys: Any) -> None:
    cos.say(200, ETag='"e"')
    await objects.put("a", b"1")
    keys.now = Credentials(Secret("AKIDtwo"), Secret("key-two"), Secret("token-two"))
    await objects.put("a", b"1")
    with pytest.raises(ScfWorkersError):
        await objects.audit(["a"])
    keys.now = Credentials(Secret("AKIDtwo"), Secret("key-two"), Secret("token-three"))
    await objects.put("a", b"1")
    first, second, audit, third = (request.headers for request in cos.requests)
    assert "q-ak=AKIDone" in first["authorization"]
    assert "x-cos-security-token" not in first
    assert "q-ak=AKIDtwo" in second["authorization"]
    assert second["x-cos-security-token"] == "token-two"
    assert audit["x-ci-security-token"] == "token-two"
    assert third["x-cos-security-token"] == "token-three"


@pytest.mark.parametrize("now", [Credentials(Secret(""), Secret("")), Credentials(Secret("a "), Secret("key-one"))])
async def test_credentials_that_cannot_sign_are_denied(cos: Any, objects: CosObjects, keys: Any, now: Any) -> None:
    keys.now = now
    with pytest.raises(Denied) as caught:
        await objects.get("a")
    assert "key-one" not in f"{caught.value} {caught.value.__context__}"
    assert not cos.requests


async def test_a_refusal_is_an_alarm(cos: Any, objects: CosObjects, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        cos.say(403, b"<Error><Code>AccessDenied</Code></Error>")
        with pytest.raises(Denied):
            await objects.get("a")
    cos.say(200, b"<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code></Error></DeleteResult>")
    with pytest.raises(Denied):
        await objects.delete(["a", "b"])
    alarms = [record for record in caplog.records if record.getMessage() == Event.STORE_REFUSED]
    assert [record.levelname for record in alarms] == ["ERROR"] * 3


async def test_missing_settings_are_named(cos: Any) -> None:
    def missing() -> Credentials:
        raise Permanent("set TENCENTCLOUD_SECRET_ID")

    objects = CosObjects(bucket="b-1", region="r", credentials=missing, endpoint=cos.url)
    with pytest.raises(Denied, match="set TENCENTCLOUD_SECRET_ID"):
        await objects.get("a")
    await objects.close()


async def test_credentials_that_fail_are_denied_without_their_text(cos: Any) -> None:
    def broken() -> Credentials:
        raise KeyError("key-one")

    objects = CosObjects(bucket="b-1", region="r", credentials=broken, endpoint=cos.url)
    with pytest.raises(Denied, match="KeyError") as caught:
        await objects.get("a")
    assert "key-one" not in f"{caught.value} {caught.value.__context__}"
    await objects.close()


async def test_a_proxy_of_the_environment_is_not_used(
    cos: Any, objects: CosObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    cos.say(200, ETag='"e"')
    await objects.put("a", b"1")
    assert len(cos.requests) == 1


async def test_connections_are_kept(cos: Any, objects: CosObjects) -> None:
    cos.say(200, ETag='"e"')
    for _ in range(5):
        await objects.put("a", b"1")
    assert len({request.connection for request in cos.requests}) == 1


async def test_an_upload_that_is_refused_at_once_does_not_read_its_source(cos: Any, objects: CosObjects) -> None:
    cos.read_bodies = False
    cos.say(403, b"<Error><Code>AccessDenied</Code></Error>")
    source = Endless(1 << 30)
    with pytest.raises((Denied, ObjectsDown)):
        await objects.put("a", source)
    assert source.closed


async def test_a_cancelled_upload_ends_its_request_and_its_thread(cos: Any, objects: CosObjects) -> None:
    source = Endless(5 << 30)
    putting = asyncio.create_task(objects.put("a", source))
    await asyncio.wait_for(source.well_begun.wait(), PATIENCE_S)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    await cos.seen(cos.ended)
    assert source.closed
    assert cos.requests[0].received < source.size
    cos.say(200, ETag='"e"')
    for _ in range(4):  # more than there are threads for uploads
        await objects.put("a", Endless(3))


async def test_a_source_that_fails_ends_its_request(cos: Any, objects: CosObjects) -> None:
    source = Endless(1 << 24, breaks_at=1 << 22)
    with pytest.raises(Transient):
        await objects.put("a", source)
    await cos.seen(cos.ended)
    assert cos.requests[0].headers["content-length"] == str(1 << 24)
    assert cos.requests[0].received < source.size


@pytest.fixture
def kept(objects: CosObjects, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Answers that are still referred to: no garbage collector closes their connections."""
    replies: list[Any] = []
    call = objects._sdk.call

    def keep(*arguments: Any) -> Any:
        replies.append(call(*arguments))
        return replies[-1]

    monkeypatch.setattr(objects._sdk, "call", keep)
    return replies


async def test_a_source_that_fails_is_told_only_when_its_request_has_ended(cos: Any, keys: Any) -> None:
    signing, sign = threading.Semaphore(0), threading.Event()

    def slow() -> Credentials:
        signing.release()
        sign.wait(20)
        return keys.now

    objects = CosObjects(bucket="b-1", region="r", credentials=slow, endpoint=cos.url)
    putting = asyncio.create_task(objects.put("a", Endless(1 << 20, breaks_at=0)))
    await cos.seen(signing)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not putting.done()
    sign.set()
    with pytest.raises(Transient):
        await putting
    await objects.close()


async def test_a_download_left_early_closes_its_connection(cos: Any, objects: CosObjects, kept: list[Any]) -> None:
    cos.say(200, b"x" * (8 << 20))
    async with objects.open("a") as download:
        async for piece in download:
            assert len(piece) == 1 << 20
            break
    await cos.seen(cos.ended)
    assert len(kept) == 1


async def test_a_download_read_to_its_end_keeps_its_connection(cos: Any, objects: CosObjects) -> None:
    cos.say(200, b"x" * (3 << 20))
    for _ in range(3):
        assert len(await read(objects, "a")) == 3 << 20
    assert len({request.connection for request in cos.requests}) == 1


async def test_a_download_that_breaks_off_is_an_outage(cos: Any, objects: CosObjects) -> None:
    cos.script = lambda _: cos.answer(body=b"x" * (1 << 20), length=1 << 22)
    got: list[int] = []
    with pytest.raises(ObjectsDown, match="read 'a'"):
        async with objects.open("a") as download:
            got.extend([len(piece) async for piece in download])


async def test_a_small_object_that_breaks_off_is_an_outage(cos: Any, objects: CosObjects) -> None:
    cos.script = lambda _: cos.answer(body=b"x" * 100, length=200)
    with pytest.raises(ObjectsDown, match="get 'a'"):
        await objects.get("a")


async def test_a_download_cancelled_while_it_waits_gives_back_its_thread(cos: Any, objects: CosObjects) -> None:
    hold = threading.Event()
    cos.script = lambda request: (
        cos.answer(body=b"x", length=1 << 22, hold=hold) if "/held" in request.path else cos.answer()
    )
    started = time.monotonic()
    for _ in range(3):  # more than there are threads
        reading = asyncio.create_task(read(objects, "held"))
        await cos.seen(cos.held)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert await read(objects, "free") == b""
    hold.set()
    assert time.monotonic() - started < 4, "the time-out of the socket is 5 s"


async def test_an_opening_that_is_cancelled_is_closed_when_it_comes(
    cos: Any, objects: CosObjects, kept: list[Any]
) -> None:
    asked, answer = threading.Semaphore(0), threading.Event()

    def late(_: Any) -> Any:
        asked.release()
        answer.wait(20)
        return cos.answer(body=b"x" * (4 << 20))

    cos.script = late
    reading = asyncio.create_task(read(objects, "a"))
    await cos.seen(asked)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    answer.set()
    await cos.seen(cos.ended)
    assert len(kept) == 1


async def test_what_is_stored_encoded_is_given_as_it_is(cos: Any, objects: CosObjects) -> None:
    bomb = gzip.compress(b"x" * (1 << 22))
    cos.say(200, bomb, Content_Encoding="gzip")
    assert (await objects.get("a")).body == bomb
    assert await read(objects, "a") == bomb
    assert {request.headers["accept-encoding"] for request in cos.requests} == {"identity"}


async def test_an_object_over_the_limit_is_not_read(cos: Any, objects: CosObjects) -> None:
    cos.say(200, b"x" * 11)
    assert (await objects.get("a", limit=11)).info.size == 11
    with pytest.raises(Permanent, match="10 bytes"):
        await objects.get("a", limit=10)


async def test_a_copy_that_fails_behind_its_200_is_an_outage(cos: Any, objects: CosObjects) -> None:
    cos.say(200, b"<Error><Code>InternalError</Code><Message>m</Message></Error>")
    with pytest.raises(ObjectsDown, match="copy"):
        await objects.copy("a", "b")


async def test_a_copy_names_its_source_and_condition(cos: Any, objects: CosObjects) -> None:
    body = b"<CopyObjectResult><ETag>&quot;e&quot;</ETag><LastModified>2026-11-22T11:00:00.000Z</LastModified>"
    cos.say(200, body + b"</CopyObjectResult>")
    info = await objects.copy("输入/a b", "output/c", if_match="abc")
    headers = cos.requests[0].headers
    assert headers["x-cos-copy-source"].endswith(".cos.ap-guangzhou.myqcloud.com/%E8%BE%93%E5%85%A5/a%20b")
    assert headers["x-cos-copy-source-if-match"] == '"abc"'
    assert (info.key, info.etag, info.size, info.modified) == ("output/c", "e", 0, 1_795_345_200.0)


async def test_many_keys_are_deleted_in_batches(cos: Any, objects: CosObjects) -> None:
    cos.say(200, b"<DeleteResult/>")
    await objects.delete([f"k/{number}" for number in range(2001)])
    assert [request.body.count(b"<Key>") for request in cos.requests] == [1000, 1000, 1]
    assert all("content-md5" in request.headers for request in cos.requests)
    await objects.delete([])
    assert len(cos.requests) == 3


async def test_a_key_that_was_not_deleted_is_told(cos: Any, objects: CosObjects) -> None:
    failed = b"<DeleteResult><Error><Key>a</Key><Code>%s</Code><Message>m</Message></Error></DeleteResult>"
    cos.say(200, failed % b"NoSuchKey")
    await objects.delete(["a", "b"])
    for code, error in ((b"AccessDenied", Denied), (b"InternalError", ObjectsDown)):
        cos.say(200, failed % code)
        with pytest.raises(error, match="'a'"):
            await objects.delete(["a", "b"])


@pytest.mark.parametrize(("status", "versioned"), [("", False), ("Enabled", True), ("Suspended", True)])
async def test_a_bucket_that_ever_kept_versions_is_versioned(
    cos: Any, objects: CosObjects, status: str, *, versioned: bool
) -> None:
    inside = f"<Status>{status}</Status>" if status else ""
    cos.say(200, f"<VersioningConfiguration>{inside}</VersioningConfiguration>".encode())
    assert await objects.versioned() is versioned


@pytest.mark.parametrize(
    ("code", "error"),
    [("InvalidImageFormat", BadPicture), ("ImageTooLarge", BadPicture), ("InvalidPicOperations", Permanent)],
)
async def test_the_code_tells_a_bad_picture_from_a_bad_rule(
    cos: Any, objects: CosObjects, code: str, error: type[ScfWorkersError]
) -> None:
    cos.say(400, f"<Error><Code>{code}</Code></Error>".encode())
    with pytest.raises(error, match=code) as caught:
        await objects.process("a", RULES)
    assert type(caught.value) is error


async def test_an_audit_says_its_policy_and_waits_for_the_answer(cos: Any, keys: Any) -> None:
    objects = CosObjects(bucket="b-1", region="r", credentials=keys, endpoint=cos.url, audit_biz_type="biz1")
    cos.say(
        200,
        b"<Response><JobsDetail><DataId>0</DataId><State>Success</State><Label>Ads</Label><Result>1</Result>"
        b"<Score>91</Score></JobsDetail></Response>",
    )
    (audit,) = await objects.audit(["out/<a>&b"])
    assert (audit.key, audit.result.violation, audit.result.label, audit.result.score) == ("out/<a>&b", True, "Ads", 91)
    body = cos.requests[0].body
    for part in (b"<BizType>biz1</BizType>", b"<Async>0</Async>", b"<Object>out/&lt;a&gt;&amp;b</Object>"):
        assert part in body
    assert b"DetectType" not in body
    await objects.close()


async def test_a_presigned_url_carries_the_token_signed(cos: Any, objects: CosObjects, keys: Any) -> None:
    keys.now = Credentials(Secret("AKIDone"), Secret("key-one"), Secret("token/1+="))
    url = urlsplit(await objects.presign("输入/a b", expires=60, method="PUT"))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}" == cos.url
    assert url.path == "/pictures-1250000000/%E8%BE%93%E5%85%A5/a%20b"
    assert query["x-cos-security-token"] == "token/1+="
    assert query["q-url-param-list"] == "x-cos-security-token"
    begin, end = map(int, query["q-sign-time"].split(";"))
    assert end - begin == 120, "back-dated by a minute"
    assert not cos.requests


async def test_without_an_endpoint_the_bucket_has_a_host_of_its_own(keys: Any) -> None:
    objects = CosObjects(bucket="pictures-1250000000", region="ap-guangzhou", credentials=keys)
    url = await objects.presign("a", expires=60)
    assert url.startswith("https://pictures-1250000000.cos.ap-guangzhou.myqcloud.com/a?q-sign-algorithm=sha1&")
    await objects.close()


@pytest.mark.parametrize(
    "address",
    [{"bucket": "a.b"}, {"bucket": ""}, {"region": "a/b"}, {"endpoint": "127.0.0.1:9000"}],
)
def test_an_address_that_cannot_be_one_is_refused_at_once(address: dict[str, str], keys: Any) -> None:
    with pytest.raises(ValueError, match="is no"):
        CosObjects(**{"bucket": "b-1", "region": "r", "credentials": keys, **address})


async def test_close_may_be_called_twice(objects: CosObjects) -> None:
    await objects.close()
    await objects.close()
    with pytest.raises(RuntimeError):
        await objects.head("a")


def test_the_sdk_is_not_imported_before_the_first_call() -> None:
    program = (
        "import sys; from services.objects.cos import CosObjects; "
        "CosObjects(bucket='b-1', region='r', credentials=None); "
        "print([name for name in ('qcloud_cos', 'requests', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
