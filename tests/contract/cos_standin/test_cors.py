"""A browser's way to a bucket: the preflight, which bears no signature, and the request itself with a presigned URL."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from services.objects.bucket.rules import CorsRule

PAGE = "https://shop.example"
OURS = CorsRule("browser", (PAGE, "https://*.preview.example")).document()


def ask(standin: Any, url: str, origin: str, method: str, headers: str = "") -> requests.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    answer: requests.Response = standin.session().options(url, headers=asked, timeout=10)
    return answer


def with_rules(serve: Any, *rules: Any, **beside: str) -> tuple[Any, str]:
    """A stand-in with these CORS rules, and a presigned URL of an upload to it."""
    standin = serve()
    client = standin.client()
    if rules:
        client.put_bucket_cors(Bucket=standin.bucket, CORSConfiguration={"CORSRule": list(rules), **beside})
    return standin, client.get_presigned_url(standin.bucket, "input/u/t/original.jpg", "PUT")


def test_a_page_of_an_allowed_origin_uploads_and_reads_the_etag(serve: Any) -> None:
    standin, url = with_rules(serve, OURS)
    asked = ask(standin, url, PAGE, "PUT", "content-type, X-Cos-Meta-Ticket")
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["Access-Control-Allow-Origin"] == PAGE
    assert asked.headers["Access-Control-Allow-Methods"] == "PUT,GET,HEAD"
    assert asked.headers["Access-Control-Allow-Headers"] == "content-type,X-Cos-Meta-Ticket"
    assert asked.headers["Access-Control-Max-Age"] == "600"
    stored = standin.session().put(url, b"a picture", headers={"Origin": PAGE}, timeout=10)
    assert (stored.status_code, stored.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    assert stored.headers["Access-Control-Expose-Headers"] == "ETag,x-cos-request-id"
    assert stored.headers["ETag"]
    assert standin.keys() == ["input/u/t/original.jpg"]


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        ("https://other.example", "PUT", ""),
        ("http://shop.example", "PUT", ""),
        (PAGE, "DELETE", ""),
        ("https://preview.example", "PUT", ""),
        ("https://a.preview.example.evil.example", "PUT", ""),
    ],
)
def test_any_other_page_or_method_is_refused(serve: Any, origin: str, method: str, headers: str) -> None:
    standin, url = with_rules(serve, OURS)
    answer = ask(standin, url, origin, method, headers)
    assert (answer.status_code, "AccessForbidden" in answer.text) == (403, True)
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_without_rules_no_page_is_allowed_but_others_are_served(serve: Any) -> None:
    standin, url = with_rules(serve)
    assert ask(standin, url, PAGE, "PUT").status_code == 403
    stored = standin.session().put(url, b"1", headers={"Origin": PAGE}, timeout=10)
    assert (stored.status_code, "Access-Control-Allow-Origin" in stored.headers) == (200, False)


def test_wildcards_headers_and_the_first_rule_that_fits(serve: Any) -> None:
    narrow = {"ID": "a", "AllowedOrigin": [PAGE], "AllowedMethod": ["PUT"], "AllowedHeader": ["X-Cos-Meta-*"]}
    wide = {"ID": "b", "AllowedOrigin": ["*"], "AllowedMethod": ["GET"], "MaxAgeSeconds": "5"}
    standin, url = with_rules(serve, narrow, wide, ResponseVary="true")
    assert ask(standin, url, PAGE, "PUT", "x-cos-meta-ticket").headers["Vary"] == "Origin"
    assert ask(standin, url, PAGE, "PUT", "content-type").status_code == 403
    assert ask(standin, url, "https://any.example", "GET").headers["Access-Control-Allow-Origin"] == "*"
    preview, url = with_rules(serve, OURS)
    origin = "https://a.preview.example"
    assert ask(preview, url, origin, "GET").headers["Access-Control-Allow-Origin"] == origin


def test_a_refused_request_shows_its_page_why_and_a_question_without_its_headers_is_none(serve: Any) -> None:
    standin, url = with_rules(serve, OURS)
    denied = standin.session().get(url, headers={"Origin": PAGE}, timeout=10)
    assert (denied.status_code, denied.headers["Access-Control-Allow-Origin"]) == (403, PAGE)
    assert standin.session().options(url, timeout=10).status_code == 400
