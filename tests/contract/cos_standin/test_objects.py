"""Objects through the real SDK."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from qcloud_cos import CosClientError, CosServiceError

KEY = "input/中 文+1.txt"
FORBID = {"x-cos-forbid-overwrite": "true"}


def refused(status: int, code: str, call: Any, *args: Any, **named: Any) -> CosServiceError:
    with pytest.raises(CosServiceError) as caught:
        call(*args, **named)
    assert (caught.value.get_status_code(), caught.value.get_error_code()) == (status, code)
    return caught.value


def body_of(client: Any, bucket: str, key: str, **named: Any) -> bytes:
    return b"".join(client.get_object(Bucket=bucket, Key=key, **named)["Body"].get_stream(1 << 20))


@pytest.mark.parametrize("style", ["path", "proxy", "ip"])
def test_an_object_goes_in_and_comes_out(standin: Any, style: str) -> None:
    client = standin.client(style)
    put = client.put_object(
        Bucket=standin.bucket, Key=KEY, Body=b"hello", ContentType="text/plain", Metadata={"x-cos-meta-task": "t1"}
    )
    assert put["ETag"] == '"5d41402abc4b2a76b9719d911017c592"'
    head = client.head_object(Bucket=standin.bucket, Key=KEY)
    assert (head["ETag"], head["Content-Length"], head["Content-Type"]) == (put["ETag"], "5", "text/plain")
    assert head["x-cos-meta-task"] == "t1"
    assert body_of(client, standin.bucket, KEY) == b"hello"
    listed = client.list_objects(Bucket=standin.bucket, Prefix="input/")["Contents"]
    assert [(item["Key"], item["Size"], item["ETag"]) for item in listed] == [(KEY, "5", put["ETag"])]
    client.delete_object(Bucket=standin.bucket, Key=KEY)
    client.delete_object(Bucket=standin.bucket, Key=KEY)
    refused(404, "NoSuchKey", client.get_object, Bucket=standin.bucket, Key=KEY)
    refused(404, "NoSuchResource", client.head_object, Bucket=standin.bucket, Key=KEY)


def test_headers_are_spelled_as_the_sdk_looks_them_up(standin: Any, tmp_path: Path) -> None:
    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"x" * 3_000_000)
    head = client.head_object(Bucket=standin.bucket, Key="a")
    assert {"ETag", "Last-Modified", "Content-Length", "Date", "x-cos-request-id"} <= head.keys()
    assert head["Server"] == "tencent-cos"
    client.download_file(
        Bucket=standin.bucket,
        Key="a",
        DestFilePath=str(tmp_path / "a"),
        PartSize=1,
        MAXThread=2,
        DumpRecordDir=str(tmp_path),
    )
    assert (tmp_path / "a").read_bytes() == b"x" * 3_000_000


def test_the_date_is_the_stores_and_there_is_one(standin: Any) -> None:
    client = standin.client()
    standin.offset[0] = 600.0
    first = client.put_object(Bucket=standin.bucket, Key="a", Body=b"")["Date"]
    raw = raw_answer(standin, b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert raw.lower().count(b"\r\ndate:") == 1
    assert raw.lower().count(b"\r\nserver:") == 1
    standin.offset[0] = 0.0
    assert client.head_object(Bucket=standin.bucket, Key="a")["Last-Modified"] == first


def raw_answer(standin: Any, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", standin.server.port), timeout=10) as connection:
        connection.sendall(request)
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def test_a_body_without_a_length_goes_in_chunks(standin: Any) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="a", Body=pieces())
    assert body_of(client, standin.bucket, "a") == b"one two"


def test_an_empty_object(standin: Any) -> None:
    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"")
    assert client.head_object(Bucket=standin.bucket, Key="a")["Content-Length"] == "0"
    assert body_of(client, standin.bucket, "a") == b""


def test_ranges_and_replaced_headers(standin: Any) -> None:
    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"0123456789")
    answer = client.get_object(Bucket=standin.bucket, Key="a", Range="bytes=2-4", ResponseContentType="image/png")
    assert (answer["Content-Range"], answer["Content-Length"]) == ("bytes 2-4/10", "3")
    assert answer["Content-Type"] == "image/png"
    assert answer["Body"].get_raw_stream().read() == b"234"
    refused(416, "InvalidRange", client.get_object, Bucket=standin.bucket, Key="a", Range="bytes=10-")


def test_conditions(standin: Any) -> None:
    client = standin.client()
    etag = client.put_object(Bucket=standin.bucket, Key="a", Body=b"one")["ETag"]
    assert body_of(client, standin.bucket, "a", IfMatch=etag) == b"one"
    refused(412, "PreconditionFailed", client.get_object, Bucket=standin.bucket, Key="a", IfMatch='"other"')
    url = client.get_presigned_url(Bucket=standin.bucket, Key="a", Method="GET")
    unchanged = standin.session().get(url, headers={"If-None-Match": etag}, timeout=10)
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)


def test_of_fifty_create_only_puts_exactly_one_wins(standin: Any) -> None:
    client = standin.client()
    start = threading.Barrier(50)

    def attempt(number: int) -> str:
        start.wait()
        try:
            client.put_object(Bucket=standin.bucket, Key="record", Body=f"{number}".encode(), Metadata=FORBID)
        except CosServiceError as error:
            return f"{error.get_status_code()} {error.get_error_code()}"
        return f"won {number}"

    with ThreadPoolExecutor(50) as threads:
        outcomes = list(threads.map(attempt, range(50)))
    won = [outcome for outcome in outcomes if outcome.startswith("won")]
    assert outcomes.count("409 FileAlreadyExists") == 49
    assert won == ["won " + body_of(client, standin.bucket, "record").decode()]


def test_a_plain_put_replaces(standin: Any) -> None:
    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"one", Metadata={"x-cos-meta-old": "1"})
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"two", Metadata={"x-cos-forbid-overwrite": "false"})
    assert body_of(client, standin.bucket, "a") == b"two"
    assert "x-cos-meta-old" not in client.head_object(Bucket=standin.bucket, Key="a")


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"x-cos-forbid-overwrit": "true"}, "InvalidArgument"),
        ({"x-cos-forbid-overwrite": "yes"}, "InvalidArgument"),
        ({"x-cos-meta-note": "x" * 2048}, "MetadataTooLarge"),
    ],
)
def test_headers_that_mean_nothing_are_refused(standin: Any, metadata: dict[str, str], code: str) -> None:
    refused(400, code, standin.client().put_object, Bucket=standin.bucket, Key="a", Body=b"", Metadata=metadata)
    assert standin.keys() == []


def test_a_put_knows_no_conditions(standin: Any) -> None:
    refused(400, "InvalidArgument", standin.client().put_object, Bucket=standin.bucket, Key="a", Body=b"", IfMatch="x")


def test_a_wrong_digest_stores_nothing(standin: Any) -> None:
    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="good", Body=b"hello", EnableMD5=True)
    wrong = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    refused(400, "BadDigest", client.put_object, Bucket=standin.bucket, Key="a", Body=b"hello", ContentMD5=wrong)
    refused(400, "InvalidDigest", client.put_object, Bucket=standin.bucket, Key="a", Body=b"hello", ContentMD5="?")
    assert standin.keys() == ["good"]


def test_an_upload_that_is_cut_stores_nothing(standin: Any, tmp_path: Path) -> None:
    client = standin.client()
    url = client.get_presigned_url(Bucket=standin.bucket, Key="a", Method="PUT")
    target = url.removeprefix(standin.url)
    head = f"PUT {target} HTTP/1.1\r\nHost: {standin.authority}\r\nContent-Length: 3000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", standin.server.port), timeout=10) as connection:
        connection.sendall(head.encode() + bytes(2_000_000))
    client.put_object(Bucket=standin.bucket, Key="b", Body=b"later")
    standin.server.stop()
    assert not list((tmp_path / "cos" / "incoming").iterdir())
    assert len(list((tmp_path / "cos" / "blobs").iterdir())) == 1


def test_an_upload_without_a_length_is_refused(standin: Any) -> None:
    target = standin.client().get_presigned_url(Bucket=standin.bucket, Key="a", Method="PUT").removeprefix(standin.url)
    head = f"PUT {target} HTTP/1.1\r\nHost: {standin.authority}\r\nConnection: close\r\n\r\n"
    answer = raw_answer(standin, head.encode())
    assert b"411" in answer.split(b"\r\n")[0]
    assert b"<Code>MissingContentLength</Code>" in answer


def test_copies_keep_the_etag_and_obey_conditions(standin: Any) -> None:
    client = standin.client()
    etag = client.put_object(Bucket=standin.bucket, Key=KEY, Body=b"one", Metadata={"x-cos-meta-a": "1"})["ETag"]
    source = {"Bucket": standin.bucket, "Key": KEY, "Region": standin.region}
    copied = client.copy_object(Bucket=standin.bucket, Key="b", CopySource=source, CopySourceIfMatch=etag)
    assert copied["ETag"] == etag
    head = client.head_object(Bucket=standin.bucket, Key="b")
    assert (head["ETag"], head["x-cos-meta-a"]) == (etag, "1")
    replaced = {"x-cos-meta-b": "2"}
    client.copy_object(Bucket=standin.bucket, Key="c", CopySource=source, CopyStatus="Replaced", Metadata=replaced)
    head = client.head_object(Bucket=standin.bucket, Key="c")
    assert (head["x-cos-meta-b"], "x-cos-meta-a" in head) == ("2", False)
    copy = client.copy_object
    named = {"Bucket": standin.bucket, "Key": "d", "CopySource": source}
    refused(412, "PreconditionFailed", copy, **named, CopySourceIfMatch='"other"')
    refused(409, "FileAlreadyExists", copy, **{**named, "Key": "b"}, Metadata=FORBID)
    refused(404, "NoSuchKey", copy, **{**named, "CopySource": {**source, "Key": "none"}})
    refused(404, "NoSuchBucket", copy, **{**named, "CopySource": {**source, "Bucket": "other-1250000000"}})
    refused(400, "InvalidRequest", copy, Bucket=standin.bucket, Key=KEY, CopySource=source)
    assert standin.keys() == ["b", "c", KEY]


def test_the_sdks_managed_copy_works_through_the_proxy(standin: Any) -> None:
    client = standin.client("proxy")
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"one")
    source = {"Bucket": standin.bucket, "Key": "a", "Region": standin.region}
    client.copy(Bucket=standin.bucket, Key="b", CopySource=source)
    assert body_of(client, standin.bucket, "b") == b"one"


def test_many_are_deleted_at_once(standin: Any) -> None:
    client = standin.client()
    for key in ("a", "b", KEY):
        client.put_object(Bucket=standin.bucket, Key=key, Body=b"")
    wanted = {"Object": [{"Key": "a"}, {"Key": KEY}, {"Key": "never there"}], "Quiet": "false"}
    gone = client.delete_objects(Bucket=standin.bucket, Delete=wanted)["Deleted"]
    assert [item["Key"] for item in gone] == ["a", KEY, "never there"]
    assert standin.keys() == ["b"]


def test_listing_in_pages_with_folders(standin: Any) -> None:
    client = standin.client()
    for key in ("a", "b/1", "b/2", "c&<d>", "e/1", KEY):
        client.put_object(Bucket=standin.bucket, Key=key, Body=b"")
    names: list[str] = []
    marker = ""
    while True:
        page = client.list_objects(Bucket=standin.bucket, Delimiter="/", MaxKeys=2, Marker=marker)
        names += [item["Key"] for item in page.get("Contents", [])]
        names += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
        if page["IsTruncated"] == "false":
            break
        marker = page["NextMarker"]
    assert sorted(names) == ["a", "b/", "c&<d>", "e/", "input/"]


def test_tags_lifecycle_and_versioning(serve: Any) -> None:
    standin = serve(versioning={"ledger-1250000000": "Suspended"})
    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"")
    tags = {"TagSet": {"Tag": [{"Key": "k", "Value": "v"}]}}
    refused(404, "NoSuchTagSet", client.get_object_tagging, Bucket=standin.bucket, Key="a")
    client.put_object_tagging(Bucket=standin.bucket, Key="a", Tagging=tags)
    assert client.get_object_tagging(Bucket=standin.bucket, Key="a") == tags
    client.delete_object_tagging(Bucket=standin.bucket, Key="a")
    refused(404, "NoSuchTagSet", client.get_object_tagging, Bucket=standin.bucket, Key="a")
    rule = {"ID": "out", "Filter": {"Prefix": "staging/"}, "Status": "Enabled", "Expiration": {"Days": "7"}}
    client.put_bucket_lifecycle(Bucket=standin.bucket, LifecycleConfiguration={"Rule": [rule]})
    assert client.get_bucket_lifecycle(Bucket=standin.bucket) == {"Rule": [rule]}
    client.delete_bucket_lifecycle(Bucket=standin.bucket)
    get = client.get_bucket_lifecycle
    refused(404, "NoSuchLifecycleConfiguration", get, Bucket=standin.bucket)
    assert "Status" not in client.get_bucket_versioning(Bucket=standin.bucket)
    ledger = standin.client("proxy").get_bucket_versioning(Bucket="ledger-1250000000")
    assert ledger == {"Status": "Suspended"}


def test_objects_outlive_a_restart(serve: Any) -> None:
    first = serve()
    first.client().put_object(Bucket=first.bucket, Key=KEY, Body=b"kept", Metadata={"x-cos-meta-a": "1"})
    first.server.stop()
    client = serve().client()
    assert body_of(client, first.bucket, KEY) == b"kept"
    assert client.head_object(Bucket=first.bucket, Key=KEY)["x-cos-meta-a"] == "1"


def test_memory_stays_flat_on_a_large_upload(standin: Any) -> None:
    class Zeros:
        """A body of known size, made as it is read."""

        def __len__(self) -> int:
            return 100 << 20

        def __iter__(self) -> Iterator[bytes]:
            return (bytes(1 << 20) for _ in range(100))

    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="warm", Body=b"")
    tracemalloc.start()
    try:
        client.put_object(Bucket=standin.bucket, Key="large", Body=Zeros())
        pieces = client.get_object(Bucket=standin.bucket, Key="large")["Body"].get_stream(1 << 20)
        assert sum(len(piece) for piece in pieces) == 100 << 20
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_nobody_answers_once_it_is_stopped(serve: Any) -> None:
    standin = serve()
    client = standin.client()
    standin.server.stop()
    with pytest.raises(CosClientError):
        client.put_object(Bucket=standin.bucket, Key="a", Body=b"")
