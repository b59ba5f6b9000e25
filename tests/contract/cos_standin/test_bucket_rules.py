"""Lifecycle and CORS of a bucket, as cos-python-sdk-v5 asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.cos_standin.test_objects import refused

LIFECYCLE = {"ID": "a", "Filter": {"Prefix": "a/"}, "Status": "Enabled", "Expiration": {"Days": "7"}}
CORS = {"ID": "a", "AllowedOrigin": ["https://shop.example"], "AllowedMethod": ["PUT", "GET"], "MaxAgeSeconds": "600"}


def test_each_document_comes_back_as_it_was_put_and_a_put_replaces_all_rules(serve: Any) -> None:
    standin = serve()
    client = standin.client()
    refused(404, "NoSuchCORSConfiguration", client.get_bucket_cors, Bucket=standin.bucket)
    client.put_bucket_cors(Bucket=standin.bucket, CORSConfiguration={"CORSRule": [CORS, {**CORS, "ID": "b"}]})
    client.put_bucket_cors(Bucket=standin.bucket, CORSConfiguration={"CORSRule": [CORS], "ResponseVary": "true"})
    assert client.get_bucket_cors(Bucket=standin.bucket) == {"CORSRule": [CORS], "ResponseVary": "true"}
    client.delete_bucket_cors(Bucket=standin.bucket)
    refused(404, "NoSuchCORSConfiguration", client.get_bucket_cors, Bucket=standin.bucket)
    tagged = {**LIFECYCLE, "Filter": {"And": {"Prefix": "b/", "Tag": [{"Key": "k", "Value": "v"}] * 2}}}
    client.put_bucket_lifecycle(Bucket=standin.bucket, LifecycleConfiguration={"Rule": [tagged]})
    assert client.get_bucket_lifecycle(Bucket=standin.bucket) == {"Rule": [tagged]}


@pytest.mark.parametrize(
    ("code", "rules"),
    [
        ("MalformedXML", []),
        ("MalformedXML", [{**LIFECYCLE, "Status": "On"}]),
        ("InvalidArgument", [LIFECYCLE, LIFECYCLE]),
        ("InvalidArgument", [{**LIFECYCLE, "Expiration": {"Days": "0"}}]),
        ("InvalidArgument", [{**LIFECYCLE, "Expiration": {"Days": "3651"}}]),
        ("MalformedXML", [{**LIFECYCLE, "Expiration": {"Days": "1", "Date": "2030-01-01T00:00:00+08:00"}}]),
        ("InvalidArgument", [{**LIFECYCLE, "Transition": {"Days": "0", "StorageClass": "COLD"}}]),
        ("InvalidRequest", [{name: value for name, value in LIFECYCLE.items() if name != "Expiration"}]),
    ],
)
def test_a_lifecycle_that_cos_would_not_take_is_refused(serve: Any, code: str, rules: list[Any]) -> None:
    standin = serve()
    put = standin.client().put_bucket_lifecycle
    refused(400, code, put, Bucket=standin.bucket, LifecycleConfiguration={"Rule": rules})


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("MalformedXML", {"AllowedOrigin": []}),
        ("InvalidArgument", {"AllowedMethod": ["OPTIONS"]}),
        ("InvalidArgument", {"AllowedOrigin": ["https://*.shop.*"]}),
        ("MalformedXML", {"MaxAgeSeconds": "an hour"}),
    ],
)
def test_a_cors_rule_that_cos_would_not_take_is_refused(serve: Any, code: str, change: dict[str, Any]) -> None:
    standin = serve()
    put = standin.client().put_bucket_cors
    refused(400, code, put, Bucket=standin.bucket, CORSConfiguration={"CORSRule": [{**CORS, **change}]})


def test_an_armed_refusal_says_that_the_right_is_missing(serve: Any) -> None:
    standin = serve()
    fault = {"kind": "forbidden", "method": "GET", "key": "^$"}
    standin.session().post(f"{standin.url}/_sandbox/faults", json=fault, timeout=10).raise_for_status()
    refused(403, "AccessDenied", standin.client().get_bucket_cors, Bucket=standin.bucket)
