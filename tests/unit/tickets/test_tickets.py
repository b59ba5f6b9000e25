from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.codes import Code
from messages.errors import RetryClass
from services.errors import TicketRefused, WeakSecret
from tasks.accepting import tickets
from tasks.accepting.tickets import (
    AUDIENCE,
    LEEWAY_S,
    MAX_LIFETIME_S,
    MAX_TICKET_BYTES,
    Ticket,
    check_sold,
    digest,
    issue,
    verify,
)
from telemetry.secrets import Secret

NOW = 1_700_000_000
SECRET = Secret("a-ticket-secret-of-enough-bytes-" * 2)
OTHER = Secret("another-secret-of-enough-bytes-01234")
PARAMS: Mapping[str, object] = {"style": "街拍", "count": 12, "nested": {"b": [1, 2.5], "a": None}}
SOLD = Ticket(user="u1", task="t1", step=0, kind="model_pose12", params_digest=digest(PARAMS), expires=NOW + 60)
CLAIMS = {
    "sub": "u1",
    "task": "t1",
    "step": 0,
    "kind": "model_pose12",
    "params": digest(PARAMS),
    "exp": NOW + 60,
    "aud": AUDIENCE,
}


def check(token: str, secret: Secret = SECRET, **other: Any) -> Ticket:
    whose: dict[str, Any] = {"user": "u1", "task": "t1", "step": 0}
    what: dict[str, Any] = {"now": NOW, "kind": "model_pose12", "params": PARAMS}
    ticket = verify(token, secret, **(whose | {name: value for name, value in other.items() if name in whose}))
    check_sold(ticket, **(what | {name: value for name, value in other.items() if name not in whose}))
    return ticket


def refusal(token: str, secret: Secret = SECRET, **other: Any) -> Code:
    with pytest.raises(TicketRefused) as caught:
        check(token, secret, **other)
    assert caught.value.retry is RetryClass.REJECTED
    assert token[-20:] not in str(caught.value) or not token
    return caught.value.code


def signed(claims: Mapping[str, Any], secret: Secret = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(dict(claims), secret.reveal(), algorithm=algorithm)


def test_a_ticket_sells_exactly_what_it_says() -> None:
    assert check(issue(SOLD, SECRET)) == SOLD


def test_any_jwt_library_can_issue_one() -> None:
    assert check(signed(CLAIMS)) == SOLD


def test_it_sells_as_many_inputs_as_it_says_or_fewer() -> None:
    sold = msgspec.structs.replace(SOLD, inputs=3)
    for inputs in (1, 2, 3):
        assert check(issue(sold, SECRET), inputs=inputs) == sold
    assert refusal(issue(sold, SECRET), inputs=4) is Code.TICKET_INVALID
    for strange in (0, -1, "3", 2.5, True, None):
        assert refusal(signed({**CLAIMS, "inputs": strange})) is Code.TICKET_INVALID


def test_no_ticket_is_said_to_be_missing() -> None:
    assert refusal("") is Code.TICKET_MISSING


@pytest.mark.parametrize(
    "other",
    [
        {"user": "u2"},
        {"task": "t2"},
        {"step": 1},
        {"kind": "basic_clean"},
        {"params": {}},
        {"params": {**PARAMS, "count": 13}},
        {"params": {**PARAMS, "extra": 1}},
        {"inputs": 2},
        {"params": {"x": math.nan}},
        {"params": {"x": {1, 2}}},
    ],
)
def test_a_ticket_for_something_else_is_refused(other: dict[str, Any]) -> None:
    assert refusal(issue(SOLD, SECRET), **other) is Code.TICKET_INVALID


@pytest.mark.parametrize("late", [60, 60.001, 10_000])
def test_it_expires_on_the_second_without_leeway(late: float) -> None:
    token = issue(SOLD, SECRET)
    check(token, now=NOW + 59.999)
    assert refusal(token, now=NOW + late) is Code.TICKET_EXPIRED


@pytest.mark.parametrize("sold", [{"kind": "basic_clean"}, {"params_digest": digest({})}, {"expires": NOW - 1}])
def test_whose_it_is_is_known_whatever_it_sells(sold: dict[str, Any]) -> None:
    ticket = msgspec.structs.replace(SOLD, **sold)
    assert verify(issue(ticket, SECRET), SECRET, user="u1", task="t1", step=0) == ticket


def test_a_secret_of_just_enough_bytes_is_enough() -> None:
    secret = Secret("x" * tickets.MIN_SECRET_BYTES)
    assert check(issue(SOLD, secret), secret) == SOLD


def test_when_it_was_issued_decides_nothing() -> None:
    """The backend's clock may be ahead of ours; what counts is when the ticket ends."""
    assert check(signed({**CLAIMS, "iat": 2**40})) == SOLD


def test_before_its_time_a_ticket_is_refused_but_for_clocks_that_differ() -> None:
    early = msgspec.structs.replace(SOLD, not_before=NOW + LEEWAY_S + 0.5)
    assert refusal(issue(early, SECRET)) is Code.TICKET_INVALID
    assert check(issue(early, SECRET), now=NOW + 1) == early


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [AUDIENCE]},
        {"exp": float(NOW + 60)},
        {"exp": NOW + 60.75},
        {"nbf": NOW - 0.5},
        {"iat": NOW - 0.25, "nbf": float(NOW)},
        {"step": 0.0},
        {"step": -0.0},
        {"inputs": 1.0},
        {"params": digest(PARAMS).upper()},
    ],
)
def test_every_form_that_rfc_7519_knows_is_taken(claims: dict[str, Any]) -> None:
    ticket = check(raw_signed(CLAIMS | claims))
    assert (ticket.user, ticket.task, ticket.step, ticket.inputs) == ("u1", "t1", 0, 1)
    assert NOW + 60 <= ticket.expires < NOW + 61
    assert isinstance(ticket.step, int)


def test_no_ticket_lives_longer_than_the_docs_say() -> None:
    longest = msgspec.structs.replace(SOLD, expires=NOW + MAX_LIFETIME_S)
    assert check(issue(longest, SECRET)) == longest
    too_long = msgspec.structs.replace(SOLD, expires=NOW + MAX_LIFETIME_S + 1)
    assert refusal(issue(too_long, SECRET)) is Code.TICKET_INVALID
    page = " ".join((Path(__file__).parents[3] / "docs/configuration.md").read_text(encoding="utf-8").split())
    assert f"at most {MAX_LIFETIME_S // 86400:.0f} days" in page
    assert f"{LEEWAY_S / 60:.0f} minutes" in page


NAMED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    *(
        ({name: value}, {}, name)
        for name, values in {
            "aud": (
                "elsewhere",
                None,
                [AUDIENCE, AUDIENCE],
                [AUDIENCE, "elsewhere"],
                [],
                [[AUDIENCE]],
                {"a": AUDIENCE},
            ),
            "exp": (str(NOW + 60), None, True, math.nan, math.inf, -1, [NOW + 60], 2**60, NOW * 1000),
            "nbf": ("now", None, math.nan),
            "step": ("0", True, 0.5, None, 1e300),
            "inputs": ("3", 2.5, None),
            "sub": (None, 5),
            "task": (None, ["t1"]),
            "kind": (["model_pose12"],),
            "params": (None,),
            "priority": ("urgent", 1),
        }.items()
        for value in values
    ),
    ({}, {"user": "u2"}, "sub"),
    ({}, {"task": "t2"}, "task"),
    ({}, {"step": 1}, "step"),
    ({}, {"kind": "basic_clean"}, "kind"),
    ({}, {"params": {}}, "params"),
    ({}, {"inputs": 2}, "inputs"),
    ({}, {"now": NOW + 61}, "exp"),
]


@pytest.mark.parametrize(("claims", "asked", "named"), NAMED)
def test_a_refusal_names_the_claim_and_not_its_value(claims: dict[str, Any], asked: dict[str, Any], named: str) -> None:
    with pytest.raises(TicketRefused) as caught:
        check(raw_signed(CLAIMS | claims), **asked)
    text = str(caught.value)
    assert text.startswith(f"claim {named}: ")
    assert "elsewhere" not in text.partition(": ")[2]


@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_a_claim_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(TicketRefused, match=rf"^claim {name}: missing"):
        check(raw_signed({key: value for key, value in CLAIMS.items() if key != name}))


def test_a_signature_that_does_not_hold_is_named_so() -> None:
    with pytest.raises(TicketRefused, match=r"^signature: "):
        check(issue(SOLD, OTHER))


def test_time_is_the_one_given_not_this_machines() -> None:
    ticket = msgspec.structs.replace(SOLD, expires=60)
    assert check(issue(ticket, SECRET), now=0) == ticket


def test_another_secret_is_refused() -> None:
    assert refusal(issue(SOLD, OTHER)) is Code.TICKET_INVALID


def unsigned(header: Mapping[str, str], tail: str = "") -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part(header)}.{part(CLAIMS)}.{tail}"


@pytest.mark.parametrize(
    "token",
    [
        unsigned({"alg": "none", "typ": "JWT"}),
        unsigned({"alg": "None", "typ": "JWT"}),
        unsigned({"alg": "none"}, issue(SOLD, SECRET).rpartition(".")[2]),
        unsigned({"alg": "HS256"}),
        signed(CLAIMS, algorithm="HS512"),
        signed(CLAIMS, algorithm="HS384"),
    ],
)
def test_the_algorithm_is_ours_whatever_the_token_says(token: str) -> None:
    assert refusal(token) is Code.TICKET_INVALID


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "another"},
        {"aud": None},
        {"aud": [AUDIENCE, "another"]},
        {"step": "0"},
        {"step": True},
        {"step": 0.5},
        {"exp": str(NOW + 60)},
        {"exp": None},
        {"sub": None},
        {"sub": 5},
        {"kind": ["model_pose12"]},
        {"params": None},
    ],
)
def test_claims_of_another_shape_are_refused_though_signed(wrong: dict[str, Any]) -> None:
    assert refusal(raw_signed(CLAIMS | wrong)) is Code.TICKET_INVALID


@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_no_claim_may_be_left_out(name: str) -> None:
    assert refusal(raw_signed({key: value for key, value in CLAIMS.items() if key != name})) is Code.TICKET_INVALID


def raw_signed(claims: Mapping[str, Any]) -> str:
    """Signed as it is: PyJWT would refuse to encode some of these."""
    return jwt.api_jws.encode(json.dumps(claims).encode(), SECRET.reveal(), algorithm="HS256")


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_no_letter_of_a_ticket_can_be_changed(place: int, letter: str) -> None:
    token = issue(SOLD, SECRET)
    place %= len(token)
    if token[place] == letter or place == len(token) - 1:
        return  # the last character of base64 has bits that no reader uses
    with pytest.raises(TicketRefused):
        check(token[:place] + letter + token[place + 1 :])


@given(st.text(max_size=200))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(TicketRefused):
        check(text)


def test_a_giant_is_refused_unread() -> None:
    assert refusal("a." * 10_000_000) is Code.TICKET_INVALID


def test_the_longest_ticket_fits_the_metadata_of_an_object() -> None:
    long = Ticket(user="u" * 64, task="t" * 64, step=9999, kind="k" * 64, params_digest="f" * 64, expires=2**40)
    assert len(issue(long, SECRET)) < MAX_TICKET_BYTES // 2


@pytest.mark.parametrize("weak", ["", "short", "x" * (tickets.MIN_SECRET_BYTES - 1)])
def test_a_weak_secret_is_the_deployments_fault_not_the_tasks(weak: str) -> None:
    with pytest.raises(WeakSecret):
        issue(SOLD, Secret(weak))
    with pytest.raises(WeakSecret) as caught:
        check(issue(SOLD, SECRET), Secret(weak))
    assert caught.value.retry is RetryClass.PERMANENT


def test_the_digest_is_a_fixed_one() -> None:
    # {"a":[1,2.5],"b":"街拍"}: the output of `printf %s '…' | sha256sum`.
    assert digest({"b": "街拍", "a": (1, 2.5)}) == "2cd6aad97a410b8fe2ddfa4053f1af6ce369af9937d6f7b2658871f49dd01a77"


def test_the_digest_knows_no_order_and_writes_whole_numbers_as_javascript_does() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3.0, "c": 2.0}, "a": 1.0})
    assert digest({"a": True}) != digest({"a": 1})
    assert digest({"a": "1"}) != digest({"a": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})


def test_parameters_json_cannot_say_have_no_digest() -> None:
    deep: dict[str, object] = {}
    deep["a"] = deep
    for bad in ({"a": math.inf}, {"a": "\ud800"}, {"a": object()}, deep):
        with pytest.raises(ValueError):  # noqa: PT011 - any of its kind: the class is the contract
            digest(bad)
