"""Webhook paths: ours are recognised, invented ones are not."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.keys import RunId
from tasks.calls.webhook_paths import Webhooks, parse_path
from telemetry.secrets import Secret

BASE = "https://1250000000-abc.ap-guangzhou.tencentscf.com"
SECRET = Secret("the-callback-secret-of-the-webhook-tests")
RUN = RunId("u1", "t-1_x", 2, 3)

ids = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}|-[A-Za-z0-9_-]{1,63}", fullmatch=True)
runs = st.builds(RunId, ids, ids, st.integers(0, 999_999), st.integers(0, 999_999))
numbers = st.integers(1, 999_999)


def path_of(run: RunId = RUN, n: int = 1, vendor: str = "runninghub", secret: Secret = SECRET, slot: int = 1) -> str:
    return Webhooks(BASE, secret).url(vendor, run, slot, n).removeprefix(BASE)


def known(path: str, secret: Secret = SECRET) -> bool:
    claim = parse_path(path)
    return claim is not None and Webhooks(BASE, secret).verify(claim)


@given(run=runs, n=numbers)
def test_a_path_of_ours_tells_what_it_was_made_of(run: RunId, n: int) -> None:
    path = path_of(run, n)
    claim = parse_path(path)
    assert claim is not None
    assert (claim.vendor, claim.run, claim.n) == ("runninghub", run, n)
    assert known(path)
    assert len(path) < 300


@given(run=runs, other=runs, n=numbers, m=numbers)
def test_a_token_is_good_for_one_paid_call_only(run: RunId, other: RunId, n: int, m: int) -> None:
    token = path_of(run, n).rpartition("/")[2]
    moved = f"{path_of(other, m).rpartition('/')[0]}/{token}"
    assert known(moved) is ((run, n) == (other, m))


@given(st.data())
def test_a_path_with_any_other_character_is_not_known(data: st.DataObject) -> None:
    path = path_of()
    place = data.draw(st.integers(0, len(path) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != path[place]))
    assert not known(path[:place] + other + path[place + 1 :])


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/webhook/runninghub/u1/t1/0/0/1/1",
        path_of() + "/",
        path_of() + "\n",
        "/x" + path_of(),
        path_of().replace("/2/3/1/", "/02/3/1/"),
        path_of().replace("/2/3/1/", "/2/-3/1/"),
        path_of().replace("/2/3/1/1/", "/2/3/0/1/"),
        path_of().replace("/2/3/1/1/", "/2/3/1/0/"),
        path_of().replace("/2/3/1/1/", "/2/3/1/"),
        path_of().replace("/2/3/1/", "/2/٣/1/"),
        path_of().replace("/u1/", "/../"),
        path_of().replace("/u1/", "/-/"),
        path_of().upper(),
    ],
)
def test_what_has_not_the_shape_of_ours_claims_nothing(path: str) -> None:
    assert parse_path(path) is None


def test_another_secret_knows_none_of_our_paths() -> None:
    assert not known(path_of(), Secret("another-callback-secret-of-the-tests"))


def test_the_token_is_no_plain_signature_with_the_secret() -> None:
    unsigned, _, token = path_of().rpartition("/")
    plain = hmac.new(SECRET.reveal().encode(), unsigned.encode(), hashlib.sha256).hexdigest()
    assert token != plain
    assert not known(f"{unsigned}/{plain}")


def test_without_a_base_url_or_a_secret_there_is_no_webhook() -> None:
    assert Webhooks("", SECRET).url("runninghub", RUN, 1, 1) == ""
    assert Webhooks(BASE, Secret("")).url("runninghub", RUN, 1, 1) == ""
    empty = Webhooks(BASE, Secret(""))
    key = hmac.new(b"", b"scf-workers/webhook", hashlib.sha256).digest()
    unsigned = path_of().rpartition("/")[0]
    forged = parse_path(f"{unsigned}/{hmac.new(key, unsigned.encode(), hashlib.sha256).hexdigest()}")
    assert forged is not None
    assert not empty.verify(forged)


def test_a_slash_after_the_base_url_does_no_harm() -> None:
    assert Webhooks(f"{BASE}/", SECRET).url("runninghub", RUN, 1, 1) == BASE + path_of()


def test_a_url_is_for_the_call_that_it_was_made_with_and_for_no_other() -> None:
    run, other = RunId("u1", "t1"), RunId("u2", "t1")
    here = Webhooks("https://hooks.example/base", Secret("a-secret-of-these-paths"))
    moved = Webhooks("https://elsewhere.example", Secret("a-secret-of-these-paths"))
    foreign = Webhooks("https://hooks.example/base", Secret("another-secret-of-paths"))
    url = here.url("runninghub", run, 1, 2)
    assert here.is_for(url, "runninghub", run, 1, 2)
    assert moved.is_for(url, "runninghub", run, 1, 2)
    assert not foreign.is_for(url, "runninghub", run, 1, 2)
    for vendor, whose, slot, n in (
        ("ark", run, 1, 2),
        ("runninghub", other, 1, 2),
        ("runninghub", run, 2, 2),
        ("runninghub", run, 1, 1),
    ):
        assert not here.is_for(url, vendor, whose, slot, n)
    assert not here.is_for(f"{url}x", "runninghub", run, 1, 2)
    assert not here.is_for("https://[::1", "runninghub", run, 1, 2)
    assert not Webhooks("", Secret("")).is_for("", "runninghub", run, 1, 2)
