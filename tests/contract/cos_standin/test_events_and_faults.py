"""Events after uploads, armed faults, and the control endpoints, on the wire."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from qcloud_cos import CosClientError, CosServiceError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.cos.events import CallableSink, CommandSink, CosEvent, UrlSink
from sandbox.server import Server

KEY = "input/u1/t 1/原图.jpg"


class Collector:
    """A sink that keeps what it is given, and refuses the first `refusals`."""

    def __init__(self, refusals: int = 0) -> None:
        self.events: list[CosEvent] = []
        self.refusals = refusals

    async def __call__(self, event: CosEvent) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError
        self.events.append(event)

    @property
    def names(self) -> list[tuple[str, str]]:
        records = [event["Records"][0] for event in self.events]
        return [(record["event"]["eventName"], record["cos"]["cosObject"]["key"]) for record in records]


@pytest.fixture
def sink() -> Collector:
    return Collector()


@pytest.fixture
def standin(serve: Any, sink: Collector) -> Any:
    return serve(on_created=sink, event_pause=0.0)


def test_the_event_of_an_upload_is_the_real_ones_shape(standin: Any, sink: Collector) -> None:
    meta = {"x-cos-meta-ticket": "t"}
    put = standin.client().put_object(
        Bucket=standin.bucket, Key=KEY, Body=b"hello", ContentType="image/jpeg", Metadata=meta
    )
    standin.control("POST", "idle")
    [event] = sink.events
    record = event["Records"][0]
    reqid, when = record["event"].pop("reqid"), record["event"].pop("eventTime")
    authorization = record["event"]["requestParameters"]["requestHeaders"].pop("Authorization")
    assert isinstance(reqid, int)
    assert abs(when - time.time()) < 60
    assert authorization.startswith("q-sign-algorithm=sha1&q-ak=AKIDlocal&")
    assert record == {
        "cos": {
            "cosSchemaVersion": "1.0",
            "cosObject": {
                "url": f"http://{standin.bucket}.cos.{standin.region}.myqcloud.com/input/u1/t%201/%E5%8E%9F%E5%9B%BE.jpg",
                "meta": {
                    "x-cos-request-id": put["x-cos-request-id"],
                    "Content-Type": "image/jpeg",
                    "ETag": put["ETag"],
                    "x-cos-storage-class": "Standard",
                    "x-cos-meta-ticket": "t",
                },
                "vid": "",
                "key": f"/1250000000/demo/{KEY}",
                "size": 5,
            },
            "cosBucket": {
                "region": "gz",
                "cosRegion": "ap-guangzhou",
                "s3Region": "ap-guangzhou",
                "name": "demo",
                "appid": "1250000000",
            },
            "cosNotificationId": "unkown",
        },
        "event": {
            "eventName": "cos:ObjectCreated:Put",
            "eventVersion": "1.0",
            "eventSource": "qcs::cos",
            "requestParameters": {"requestSourceIP": "127.0.0.1", "requestHeaders": {}},
            "eventQueue": "qcs:0:scf:ap-guangzhou:appid/1250000000:default.producer.$DEFAULT",
            "reservedInfo": "",
        },
    }


def test_every_way_of_creating_an_object_under_the_prefix_has_an_event(
    standin: Any, sink: Collector, portrait: bytes
) -> None:
    client, bucket = standin.client(), standin.bucket
    client.put_object(Bucket=bucket, Key="elsewhere", Body=portrait)
    client.copy_object(
        Bucket=bucket, Key="input/b", CopySource={"Bucket": bucket, "Key": "elsewhere", "Region": standin.region}
    )
    upload = client.create_multipart_upload(Bucket=bucket, Key="input/c")["UploadId"]
    part = client.upload_part(Bucket=bucket, Key="input/c", PartNumber=1, UploadId=upload, Body=b"x")
    parts = {"Part": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(Bucket=bucket, Key="input/c", UploadId=upload, MultipartUpload=parts)
    rules = json.dumps({"rules": [{"fileid": "/input/d.png", "rule": "imageMogr2/format/png"}]})
    client.ci_image_process(Bucket=bucket, Key="elsewhere", PicOperations=rules)
    client.delete_object(Bucket=bucket, Key="input/b")
    standin.control("POST", "idle")
    assert sorted(sink.names) == [
        ("cos:ObjectCreated:CompleteMultipartUpload", "/1250000000/demo/input/c"),
        ("cos:ObjectCreated:Copy", "/1250000000/demo/input/b"),
        ("cos:ObjectCreated:Put", "/1250000000/demo/input/d.png"),
    ]


def test_an_upload_that_was_refused_has_no_event(standin: Any, sink: Collector) -> None:
    client = standin.client()
    forbid = {"x-cos-forbid-overwrite": "true"}
    client.put_object(Bucket=standin.bucket, Key="input/a", Body=b"", Metadata=forbid)
    with pytest.raises(CosServiceError):
        client.put_object(Bucket=standin.bucket, Key="input/a", Body=b"", Metadata=forbid)
    standin.control("POST", "idle")
    assert len(sink.events) == 1


@pytest.mark.parametrize(("refusals", "delivered", "failed"), [(1, 1, 0), (2, 0, 1)])
def test_an_event_that_is_not_taken_is_delivered_once_more(
    serve: Any, refusals: int, delivered: int, failed: int
) -> None:
    sink = Collector(refusals)
    standin = serve(on_created=CallableSink(sink), event_pause=0.0)
    standin.client().put_object(Bucket=standin.bucket, Key="input/a", Body=b"")
    standin.control("POST", "idle")
    assert len(sink.events) == delivered
    assert standin.control("GET", "stats")["events"] == {"delivered": delivered, "failed": failed, "pending": 0}


def test_stopping_waits_for_the_events(serve: Any, tmp_path: Path) -> None:
    script = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"
    target = tmp_path / "event.txt"
    standin = serve(on_created=CommandSink([sys.executable, "-c", script, str(target)]))
    standin.client().put_object(Bucket=standin.bucket, Key=KEY, Body=b"")
    standin.server.stop()
    record = json.loads(target.read_text())["Records"][0]
    assert record["cos"]["cosObject"]["key"] == f"/1250000000/demo/{KEY}"


@pytest.mark.parametrize("argv", [[sys.executable, "-c", "raise SystemExit(3)"], ["/nowhere/command"]])
def test_a_command_that_fails_is_counted(serve: Any, argv: list[str]) -> None:
    standin = serve(on_created=CommandSink(argv), event_pause=0.0)
    standin.client().put_object(Bucket=standin.bucket, Key=KEY, Body=b"")
    standin.control("POST", "idle")
    assert standin.control("GET", "stats")["events"] == {"delivered": 0, "failed": 1, "pending": 0}


def test_events_go_to_a_url(serve: Any) -> None:
    bodies: list[Any] = []

    async def take(request: Request) -> Response:
        bodies.append(await request.json())
        return Response(status_code=503 if len(bodies) == 1 else 200)

    with Server(Starlette(routes=[Route("/event", take, methods=["POST"])])) as receiver:
        standin = serve(on_created=UrlSink(f"{receiver.url}/event"), event_pause=0.0)
        standin.client().put_object(Bucket=standin.bucket, Key="input/a", Body=b"")
        standin.control("POST", "idle")
    assert [body["Records"][0]["cos"]["cosObject"]["key"] for body in bodies] == ["/1250000000/demo/input/a"] * 2
    assert standin.control("GET", "stats")["events"] == {"delivered": 1, "failed": 0, "pending": 0}


def test_a_duplicate_and_a_lost_event(standin: Any, sink: Collector) -> None:
    standin.arm("duplicate_event", key="/a$")
    standin.arm("lost_event", key="/b$")
    for key in ("input/a", "input/b", "input/a", "input/b"):
        standin.client().put_object(Bucket=standin.bucket, Key=key, Body=b"")
    standin.control("POST", "idle")
    assert sorted(key[-1] for _, key in sink.names) == ["a", "a", "a", "b"]


def test_unavailable_so_many_times(standin: Any) -> None:
    standin.arm("unavailable", method="PUT", times=2)
    client = standin.client()
    for _ in range(2):
        with pytest.raises(CosServiceError) as caught:
            client.put_object(Bucket=standin.bucket, Key="a", Body=b"x")
        assert (caught.value.get_status_code(), caught.value.get_error_code()) == (503, "ServiceUnavailable")
    assert standin.keys() == []
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"x")


@pytest.mark.parametrize(("kind", "stored"), [("cut_before", False), ("cut_after", True)])
def test_a_connection_that_is_cut_before_or_after_the_write(
    standin: Any,
    sink: Collector,
    kind: str,
    stored: bool,  # noqa: FBT001 - a table's column
) -> None:
    standin.arm(kind, method="PUT", key="^input/")
    client = standin.client()
    with pytest.raises(CosClientError):
        client.put_object(Bucket=standin.bucket, Key="input/a", Body=b"x")
    assert standin.keys() == (["input/a"] if stored else [])
    standin.control("POST", "idle")
    assert len(sink.events) == stored
    client.put_object(Bucket=standin.bucket, Key="input/a", Body=b"x")


def test_a_download_that_is_cut(standin: Any) -> None:
    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"x")
    standin.arm("cut_after", method="GET", key="^a$")
    with pytest.raises(CosClientError):
        client.get_object(Bucket=standin.bucket, Key="a")
    assert client.get_object(Bucket=standin.bucket, Key="a")["Content-Length"] == "1"


def test_a_slow_body_waits_before_each_piece(serve: Any) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    standin = serve(sleep=sleep)
    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="a", Body=bytes(200_000))
    standin.arm("slow_body", key="^a$", seconds=0.5)
    body = client.get_object(Bucket=standin.bucket, Key="a")["Body"]
    assert sum(map(len, body.get_stream(1 << 20))) == 200_000
    assert waits == [0.5] * 4


def test_faults_are_shown_and_disarmed(standin: Any) -> None:
    standin.arm("unavailable", key="x", times=3)
    [shown] = standin.control("GET", "faults")
    assert shown == {"kind": "unavailable", "method": "", "key": "x", "times": 3, "seconds": 0.0}
    assert standin.control("DELETE", "faults") == []


@pytest.mark.parametrize("fault", [{}, {"kind": "none"}, {"kind": "unavailable", "key": "("}])
def test_a_fault_it_does_not_know_is_refused(standin: Any, fault: dict[str, str]) -> None:
    answer = standin.session().post(f"{standin.url}/_sandbox/faults", json=fault, timeout=10)
    assert answer.status_code == 400


@pytest.fixture
def anybody(standin: Any) -> requests.Session:
    session: requests.Session = standin.session()
    return session


def test_the_control_endpoints_tell_what_happened(standin: Any, portrait: bytes) -> None:
    client = standin.client()
    etag = client.put_object(Bucket=standin.bucket, Key="output/a", Body=b"x", Metadata={"x-cos-meta-a": "1"})["ETag"]
    client.put_object(Bucket=standin.bucket, Key="input/a", Body=portrait)
    assert standin.control("GET", "health") == {"status": "ok"}
    [found] = standin.control("GET", f"buckets/{standin.bucket}?prefix=output/")
    assert (found["key"], found["etag"], found["size"]) == ("output/a", etag.strip('"'), 1)
    assert found["headers"]["x-cos-meta-a"] == "1"
    assert standin.control("GET", "stats")["requests"] == {"PUT object 200": 2}


def test_the_control_endpoints_are_no_objects_and_objects_no_control_endpoints(
    standin: Any, anybody: requests.Session
) -> None:
    host = {"Host": f"{standin.bucket}.cos.{standin.region}.myqcloud.com"}
    assert anybody.get(f"{standin.url}/_sandbox/health", headers=host, timeout=10).status_code == 403
    assert (
        anybody.get(f"{standin.url}/_sandbox/health", headers={"Host": "evil.example"}, timeout=10).status_code == 404
    )
    through = anybody.get("http://evil.example/_sandbox/health", proxies={"http": standin.url}, timeout=10)
    assert through.status_code == 404
    client = standin.client("proxy")
    client.put_object(Bucket=standin.bucket, Key="_sandbox/health", Body=b"mine")
    assert client.get_object(Bucket=standin.bucket, Key="_sandbox/health")["Body"].get_raw_stream().read() == b"mine"
