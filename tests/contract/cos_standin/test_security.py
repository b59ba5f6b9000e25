"""Access to the stand-in: it checks every signature, in every form, against the real SDK's."""

from __future__ import annotations

import http.client
import time
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import requests
from qcloud_cos import CosServiceError

TEMPORARY = {"SecretId": "AKIDtemporary", "SecretKey": "temporary-secret"}


def code_of(answer: requests.Response) -> tuple[int, str]:
    root = ET.fromstring(answer.content)  # noqa: S314 - our own stand-in's answer
    texts = {child.tag: child.text for child in root}
    assert all(texts.get(name) for name in ("Code", "Message", "Resource", "RequestId"))
    return answer.status_code, texts["Code"] or ""


def refusal(call: Any, **named: Any) -> tuple[int, str]:
    with pytest.raises(CosServiceError) as caught:
        call(**named)
    return caught.value.get_status_code(), caught.value.get_error_code()


@pytest.mark.parametrize("style", ["path", "proxy", "ip"])
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SecretKey": "wrong"}, "SignatureDoesNotMatch"),
        ({"SecretId": "AKIDnobody"}, "InvalidAccessKeyId"),
        ({"Token": "unexpected"}, "AccessDenied"),
        ({**TEMPORARY}, "AccessDenied"),
        ({**TEMPORARY, "Token": "wrong"}, "AccessDenied"),
        ({"Anonymous": True}, "AccessDenied"),
    ],
)
def test_a_client_with_wrong_credentials_is_refused(
    standin: Any, style: str, changes: dict[str, Any], code: str
) -> None:
    client = standin.client(style, **changes)
    assert refusal(client.put_object, Bucket=standin.bucket, Key="a", Body=b"x") == (403, code)
    assert refusal(client.head_object, Bucket=standin.bucket, Key="a")[0] == 403
    assert refusal(client.list_objects, Bucket=standin.bucket) == (403, code)
    assert standin.keys() == []


@pytest.mark.parametrize("style", ["path", "proxy"])
def test_a_client_that_signs_too_little_is_refused(standin: Any, style: str) -> None:
    careless = standin.client(style, SignHost=False)
    assert refusal(careless.head_object, Bucket=standin.bucket, Key="a")[0] == 403
    careless = standin.client(style, SignParams=False)
    assert refusal(careless.list_objects, Bucket=standin.bucket) == (403, "AccessDenied")


@pytest.mark.parametrize("style", ["path", "proxy"])
def test_temporary_credentials_with_their_token_are_let_in(standin: Any, style: str, portrait: bytes) -> None:
    client = standin.client(style, **TEMPORARY, Token="STS-TOKEN")
    client.put_object(Bucket=standin.bucket, Key="a", Body=portrait)
    assert client.head_object(Bucket=standin.bucket, Key="a")["Content-Length"] == str(len(portrait))
    audit = client.ci_auditing_image_batch(Bucket=standin.bucket, Input=[{"Object": "a"}])
    assert audit["JobsDetail"][0]["Result"] == "0"


@pytest.mark.parametrize("offset", [20_000.0, -3600.0])
def test_a_signature_of_another_time_is_refused(standin: Any, offset: float) -> None:
    standin.offset[0] = offset
    assert refusal(standin.client().put_object, Bucket=standin.bucket, Key="a", Body=b"") == (403, "AccessDenied")


def presigned(standin: Any, method: str = "GET", key: str = "输入/a+b c.txt", **named: Any) -> str:
    return str(standin.client().get_presigned_url(Bucket=standin.bucket, Key=key, Method=method, **named))


def test_a_presigned_url_works_for_anybody_until_it_expires(standin: Any) -> None:
    anybody = standin.session()
    put = anybody.put(presigned(standin, "PUT"), data=b"hello", timeout=10)
    assert put.status_code == 200
    url = presigned(standin, Expired=60, Params={"response-content-type": "text/x"})
    got = anybody.get(url, timeout=10)
    assert (got.status_code, got.content, got.headers["Content-Type"]) == (200, b"hello", "text/x")
    standin.offset[0] = 120.0
    late = anybody.get(url, timeout=10)
    assert code_of(late) == (403, "AccessDenied")
    assert b"Request has expired" in late.content


def test_a_presigned_url_of_the_virtual_host_works_through_the_proxy(standin: Any) -> None:
    client = standin.client("proxy")
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"hello")
    url = client.get_presigned_url(Bucket=standin.bucket, Key="a", Method="GET")
    assert url.startswith(f"http://{standin.bucket}.cos.{standin.region}.myqcloud.com/a?")
    got = standin.session().get(url, proxies={"http": standin.url}, timeout=10)
    assert (got.status_code, got.content) == (200, b"hello")


def test_a_tampered_presigned_url_is_refused(standin: Any) -> None:
    standin.client().put_object(Bucket=standin.bucket, Key="a", Body=b"hello")
    standin.client().put_object(Bucket=standin.bucket, Key="b", Body=b"other")
    url = presigned(standin, key="a")
    anybody = standin.session()
    assert anybody.get(url, timeout=10).status_code == 200
    assert code_of(anybody.get(url.replace("/a?", "/b?"), timeout=10)) == (403, "SignatureDoesNotMatch")
    assert code_of(anybody.put(url, data=b"mine", timeout=10)) == (403, "SignatureDoesNotMatch")
    assert code_of(anybody.delete(url, timeout=10)) == (403, "SignatureDoesNotMatch")
    assert code_of(anybody.get(url + "&imageMogr2/strip", timeout=10)) == (403, "AccessDenied")
    assert code_of(anybody.get(url.partition("?")[0], timeout=10)) == (403, "AccessDenied")
    later = url.replace(str(int(time.time()))[:5], "99999")
    assert anybody.get(later, timeout=10).status_code == 403


def test_an_uploader_cannot_add_metadata_that_was_not_signed(standin: Any) -> None:
    anybody = standin.session()
    headers = {"x-cos-meta-ticket": "forged"}
    assert code_of(anybody.put(presigned(standin, "PUT"), data=b"", headers=headers, timeout=10))[0] == 403
    url = presigned(standin, "PUT", Headers={"x-cos-meta-ticket": "given"})
    assert code_of(anybody.put(url, data=b"", timeout=10)) == (403, "AccessDenied")
    assert code_of(anybody.put(url, data=b"", headers=headers, timeout=10)) == (403, "SignatureDoesNotMatch")
    assert anybody.put(url, data=b"", headers={"x-cos-meta-ticket": "given"}, timeout=10).status_code == 200


def test_a_temporary_keys_url_carries_its_token(standin: Any) -> None:
    client = standin.client(**TEMPORARY, Token="STS-TOKEN")
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"hello")
    anybody = standin.session()
    bare = client.get_presigned_url(Bucket=standin.bucket, Key="a", Method="GET")
    assert code_of(anybody.get(bare, timeout=10)) == (403, "AccessDenied")
    token = {"x-cos-security-token": "STS-TOKEN"}
    whole = client.get_presigned_url(Bucket=standin.bucket, Key="a", Method="GET", Params=token)
    assert anybody.get(whole, timeout=10).content == b"hello"


def test_a_refused_upload_is_answered_and_its_connection_goes_on(standin: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", standin.server.port, timeout=20)
    for _ in range(2):
        connection.request("PUT", f"/{standin.bucket}/a", body=bytes(20 << 20))
        first = connection.sock
        answer = connection.getresponse()
        assert (answer.status, b"<Code>AccessDenied</Code>" in answer.read()) == (403, True)
        assert connection.sock is first
    connection.close()


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", {"acl": ""}),
        ("GET", {"versionId": "1"}),
        ("GET", {"imageView2/1/w/100": ""}),
        ("GET", {"watermark/2/text/aGk=": ""}),
        ("GET", {"ci-process": "AIEnhanceImage"}),
        ("GET", {"ci-process": "GoodsMatting", "detect-url": "http://x"}),
        ("GET", {"imageMogr2/strip": "", "ci-process": "GoodsMatting"}),
        ("GET", {"imageMogr2/strip": "1"}),
        ("PUT", {"acl": ""}),
        ("POST", {"restore": ""}),
        ("DELETE", {"versionId": "1"}),
    ],
)
def test_what_it_does_not_know_is_never_answered_with_the_object(
    standin: Any, portrait: bytes, method: str, query: dict[str, str]
) -> None:
    standin.client().put_object(Bucket=standin.bucket, Key="a.jpg", Body=portrait)
    url = presigned(standin, method, key="a.jpg", Params=query)
    assert code_of(standin.session().request(method, url, timeout=10)) == (400, "InvalidArgument")
    assert standin.control("GET", f"buckets/{standin.bucket}")[0]["size"] == len(portrait)


@pytest.mark.parametrize(("method", "key"), [("POST", "a"), ("PUT", ""), ("PATCH", "a")])
def test_a_verb_it_does_not_know_is_refused(standin: Any, method: str, key: str) -> None:
    url = presigned(standin, method, key=key or "x")
    if not key:
        answer = standin.session().put(standin.url + f"/{standin.bucket}/", data=b"", timeout=10)
        assert code_of(answer) == (403, "AccessDenied")
        return
    assert code_of(standin.session().request(method, url, timeout=10)) == (405, "MethodNotAllowed")


def test_hosts_that_are_no_buckets_are_refused(standin: Any) -> None:
    anybody = standin.session()
    for host in (
        "example.com",
        "other-1250000000.cos.ap-guangzhou.myqcloud.com",
        "demo-1250000000.cos.ap-x.myqcloud.com",
    ):
        answer = anybody.get(standin.url + "/a", headers={"Host": host}, timeout=10)
        assert code_of(answer) == (404, "NoSuchBucket")
