"""Signatures: computed as the SDK computes them, and refused when anything is not as it was signed."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qcloud_cos.cos_auth import CosS3Auth

from sandbox.cos.errors import Refused
from sandbox.cos.http.signature import Evidence, compute, verify

NOW = 1_800_000_000
WINDOW = f"{NOW - 60};{NOW + 600}"
SECRETS = {"AKIDone": "secret-one", "AKIDtwo": "secret-two"}
HOST = "demo-1250000000.cos.ap-guangzhou.myqcloud.com"


def authorization(
    *,
    method: str = "GET",
    path: str = "/input/a.png",
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    window: str = WINDOW,
) -> str:
    """Written from the documentation, apart from the code under test."""

    def listed(pairs: dict[str, str]) -> tuple[str, str]:
        encoded = {quote(name, safe="-_.~").lower(): quote(value, safe="-_.~") for name, value in pairs.items()}
        return ";".join(sorted(encoded)), "&".join(f"{name}={encoded[name]}" for name in sorted(encoded))

    header_list, header_text = listed({"host": HOST} if headers is None else headers)
    param_list, param_text = listed(params or {})
    text = f"{method.lower()}\n{path}\n{param_text}\n{header_text}\n"
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    key = hmac.new(SECRETS["AKIDone"].encode(), window.encode(), hashlib.sha1).hexdigest()
    signature = hmac.new(key.encode(), f"sha1\n{window}\n{digest}\n".encode(), hashlib.sha1).hexdigest()
    return (
        f"q-sign-algorithm=sha1&q-ak=AKIDone&q-sign-time={window}&q-key-time={window}"
        f"&q-header-list={header_list}&q-url-param-list={param_list}&q-signature={signature}"
    )


def evidence(signed: str | None = None, **changes: Any) -> Evidence:
    headers = {"host": HOST, "authorization": authorization() if signed is None else signed}
    whole = Evidence("GET", ("/input/a.png",), (HOST,), headers, ())
    extra = changes.pop("extra_headers", {})
    return replace(whole, headers={**headers, **extra}, **changes)


def refusal(claimed: Evidence, *, tokens: dict[str, str] | None = None, now: float = NOW) -> str:
    with pytest.raises(Refused) as caught:
        verify(claimed, SECRETS, tokens or {}, now)
    assert caught.value.status == 403
    return caught.value.code


def is_let_in(claimed: Evidence, *, tokens: dict[str, str] | None = None, now: float = NOW) -> bool:
    try:
        verify(claimed, SECRETS, tokens or {}, now)
    except Refused:
        return False
    return True


def test_a_signed_request_is_let_in() -> None:
    assert is_let_in(evidence())
    assert not is_let_in(evidence(authorization().replace("AKIDone", "AKIDtwo")))


def test_the_example_of_the_documentation() -> None:
    """Tencent COS, "Request signature" (document 436/7778), the download."""
    found = compute(
        "BQYIM75p8x0iWVFSIgqEKwFprpRSVHlz",
        "1557989753;1557996953",
        method="GET",
        path="/exampleobject(腾讯云)",
        params={"response-content-type": "application/octet-stream", "response-cache-control": "max-age=600"},
        headers={
            "Date": "Thu, 16 May 2019 06:55:53 GMT",
            "Host": "examplebucket-1250000000.cos.ap-beijing.myqcloud.com",
        },
    )
    assert found == "01681b8c9d798a678e43b685a9f1bba0f6c0e012"


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    key=st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40),
    params=st.dictionaries(st.text("abcXYZ/!-_.~ %中", min_size=1, max_size=8), st.text(max_size=8), max_size=3),
    meta=st.text("abc /+=&;%~", max_size=12),
)
def test_what_the_sdk_signs_verifies(method: str, key: str, params: dict[str, str], meta: str) -> None:
    if len({quote(name, safe="-_.~").lower() for name in params}) != len(params):
        return
    conf = SimpleNamespace(
        _secret_id="AKIDone", _secret_key="secret-one", _anonymous=False, _sign_params=True, _sign_host=True
    )
    headers = {"Host": HOST, "x-cos-meta-note": meta, "User-Agent": "any"}
    request = SimpleNamespace(method=method, url=f"http://{HOST}/", headers=dict(headers))
    CosS3Auth(conf, key, params)(request)
    sent = {name.lower(): value for name, value in request.headers.items()}
    path = key if key.startswith("/") else "/" + key
    start = int(sent["authorization"].split("q-sign-time=")[1].split(";")[0])
    assert is_let_in(Evidence(method, (path,), (HOST,), sent, tuple(params.items())), now=start + 60)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "PUT"},
        {"paths": ("/input/b.png",)},
        {"hosts": ("other-1250000000.cos.ap-guangzhou.myqcloud.com",)},
    ],
)
def test_a_changed_request_does_not_match(changes: dict[str, Any]) -> None:
    assert refusal(evidence(**changes)) == "SignatureDoesNotMatch"


def test_any_spelling_of_path_and_host_will_do() -> None:
    assert is_let_in(evidence(paths=("/demo/input/a.png", "/input/a.png"), hosts=(HOST + ":80", HOST)))


def test_the_secret_of_another_key_does_not_match() -> None:
    swapped = authorization().replace("AKIDone", "AKIDtwo")
    assert refusal(evidence(swapped)) == "SignatureDoesNotMatch"


def test_an_unknown_key() -> None:
    assert refusal(evidence(authorization().replace("AKIDone", "AKIDnobody"))) == "InvalidAccessKeyId"


@pytest.mark.parametrize("now", [NOW + 601, NOW - 61])
def test_outside_its_time_a_signature_is_worth_nothing(now: float) -> None:
    assert refusal(evidence(), now=now) == "AccessDenied"


@pytest.mark.parametrize("now", [NOW + 600, NOW - 60])
def test_at_the_edges_of_its_time_it_is_good(now: float) -> None:
    assert is_let_in(evidence(), now=now)


def test_the_window_of_the_key_counts_too() -> None:
    widened = authorization().replace(f"q-sign-time={WINDOW}", f"q-sign-time={NOW - 60};{NOW + 9000}")
    assert refusal(evidence(widened), now=NOW + 700) == "AccessDenied"
    assert refusal(evidence(widened)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "Bearer x",
        "q-sign-algorithm=sha1",
        authorization().replace("sha1&", "md5&", 1),
        authorization().replace("&q-url-param-list=", ""),
        authorization() + "&q-ak=AKIDtwo",
        authorization(window="now;later"),
        authorization(window=f"{NOW}"),
        authorization().replace("q-header-list=host", "q-header-list=Host"),
        authorization().replace("q-header-list=host", "q-header-list=host;host"),
    ],
)
def test_an_absent_or_broken_signature_is_denied(broken: str) -> None:
    assert refusal(evidence(broken)) == "AccessDenied"


def test_the_host_must_be_signed() -> None:
    assert refusal(evidence(authorization(headers={}))) == "AccessDenied"


def test_signed_headers_must_be_there() -> None:
    signed = authorization(headers={"host": HOST, "range": "bytes=0-9"})
    assert refusal(evidence(signed)) == "AccessDenied"
    assert refusal(evidence(signed, extra_headers={"range": "bytes=0-99"})) == "SignatureDoesNotMatch"
    assert is_let_in(evidence(signed, extra_headers={"range": "bytes=0-9"}))


def test_cos_headers_must_be_signed() -> None:
    assert refusal(evidence(extra_headers={"x-cos-forbid-overwrite": "true"})) == "AccessDenied"


def test_parameters_must_be_those_that_were_signed() -> None:
    signed = authorization(params={"response-content-type": "image/png"})
    assert refusal(evidence(signed)) == "AccessDenied"
    assert refusal(evidence(params=(("tagging", ""),))) == "AccessDenied"
    assert refusal(evidence(signed, params=(("response-content-type", "x"),))) == "SignatureDoesNotMatch"
    twice = (("response-content-type", "image/png"), ("Response-Content-Type", "x"))
    assert refusal(evidence(signed, params=twice)) == "AccessDenied"
    assert is_let_in(evidence(signed, params=(("response-content-type", "image/png"),)))


def presigned(signed: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, _, value in (field.partition("=") for field in signed.split("&")))


def test_a_presigned_url_is_let_in_and_is_bound_as_a_header_is() -> None:
    url = Evidence("GET", ("/input/a.png",), (HOST,), {"host": HOST}, presigned(authorization()))
    assert is_let_in(url)
    assert refusal(url, now=NOW + 601) == "AccessDenied"
    assert refusal(replace(url, method="PUT")) == "SignatureDoesNotMatch"
    assert refusal(replace(url, params=(*url.params, ("imageMogr2/strip", "")))) == "AccessDenied"
    assert refusal(replace(url, params=(*url.params, ("q-ak", "AKIDtwo")))) == "AccessDenied"


@pytest.mark.parametrize("name", ["x-cos-security-token", "x-ci-security-token"])
def test_temporary_keys_need_their_token(name: str) -> None:
    signed = authorization(headers={"host": HOST, name: "STS"})
    tokens = {"AKIDone": "STS"}
    assert is_let_in(evidence(signed, extra_headers={name: "STS"}), tokens=tokens)
    assert refusal(evidence(), tokens=tokens) == "AccessDenied"
    other = authorization(headers={"host": HOST, name: "OTHER"})
    assert refusal(evidence(other, extra_headers={name: "OTHER"}), tokens=tokens) == "AccessDenied"
    assert refusal(evidence(signed, extra_headers={name: "STS"})) == "AccessDenied"


def test_a_presigned_url_carries_the_token_as_a_parameter() -> None:
    token = ("x-cos-security-token", "STS")
    tokens = {"AKIDone": "STS"}
    unsigned = Evidence("GET", ("/input/a.png",), (HOST,), {"host": HOST}, (*presigned(authorization()), token))
    assert is_let_in(unsigned, tokens=tokens)
    signed = replace(unsigned, params=(*presigned(authorization(params=dict([token]))), token))
    assert is_let_in(signed, tokens=tokens)
    assert not is_let_in(unsigned, tokens={"AKIDone": "OTHER"})
