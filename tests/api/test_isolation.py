"""Access to tasks: those of other users do not exist for a caller, and only a genuine token makes a user."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import jwt
import pytest

from tasks.accepting.tickets import AUDIENCE
from tests.api.conftest import CREATE, TASKS, TOKENS, token

if TYPE_CHECKING:
    from tests.api.conftest import Open

OTHERS = "another-secret-that-is-long-enough-to-sign-with"


def _unsigned() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({'sub': 'u1', 'exp': int(time.time()) + 600})}."


def _signed(claims: Mapping[str, object], algorithm: str = "HS256") -> str:
    return jwt.encode(dict(claims), TOKENS, algorithm=algorithm)


FORGED = {
    "no header": "",
    "no bearer": token(),
    "basic": "Basic dTE6eA==",
    "no token": "Bearer ",
    "no JWT": "Bearer abc",
    "another secret": f"Bearer {token(secret=OTHERS)}",
    "expired": f"Bearer {token(exp=int(time.time()) - 1)}",
    "ends at no time": f"Bearer {token(exp=float('nan'))}",
    "not yet": f"Bearer {token(nbf=int(time.time()) + 600)}",
    "alg none": f"Bearer {_unsigned()}",
    "alg none, signed part kept": f"Bearer {_unsigned()}{token().rpartition('.')[2]}",
    "another algorithm": f"Bearer {_signed({'sub': 'u1', 'exp': int(time.time()) + 600}, 'HS512')}",
    "no exp": f"Bearer {_signed({'sub': 'u1'})}",
    "no sub": f"Bearer {_signed({'exp': int(time.time()) + 600})}",
    "sub is a path": f"Bearer {token('../u2')}",
    "sub is a number": f"Bearer {_signed({'sub': 1, 'exp': int(time.time()) + 600})}",
    "a ticket": f"Bearer {token(aud=AUDIENCE)}",
    "too long": f"Bearer {token(pad='x' * 5000)}",
}
ROUTES = [
    ("POST", CREATE),
    ("POST", "/api/ai-image/generate"),
    ("POST", "/api/v1/ai-generation/uploads"),
    ("GET", TASKS),
    ("GET", f"{TASKS}/t1"),
    ("DELETE", f"{TASKS}/t1"),
    ("GET", f"{TASKS}/t1/events"),
    ("GET", "/api/v1/ai-generation/stats"),
]


@pytest.mark.parametrize("why", [*FORGED])
async def test_a_token_that_is_not_genuine_is_a_401_on_every_route(door: Open, why: str) -> None:
    async with door() as here:
        for method, path in ROUTES:
            headers = {"Authorization": FORGED[why]} if FORGED[why] else {}
            answer = await here.http.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_task_of_somebody_else_is_a_404_on_every_route(door: Open) -> None:
    async with door() as here:
        run = await here.created("u1")
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "?wait=1"), ("GET", "?step=0")):
            answer = await here.ask(method, f"{TASKS}/{run.task}{path}", user="u2")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path)
        unknown = await here.ask("GET", f"{TASKS}/unknown", user="u2")
        theirs = await here.ask("GET", f"{TASKS}/{run.task}", user="u2")
        # The two are the same answer, so nothing shows which ids exist.
        assert {**unknown.json(), "requestId": ""} == {**theirs.json(), "requestId": ""}
        assert await here.ledger.verdict(run) is None
        assert (await here.ask("GET", TASKS, user="u2")).json()["tasks"] == []


@pytest.mark.parametrize("task", ["-", "x" * 65, "a%2Fb", "a b", "..", "%00"])
async def test_an_id_that_no_task_has_is_a_404(door: Open, task: str) -> None:
    async with door() as here:
        assert (await here.ask("GET", f"{TASKS}/{task}")).status_code == 404


async def test_only_an_operator_counts_all_users_tasks(door: Open) -> None:
    async with door() as here:
        stats = "/api/v1/ai-generation/stats"
        assert (await here.ask("GET", f"{stats}?all=true")).status_code == 403
        headers = {"Authorization": f"Bearer {token('op', role='operator')}"}
        assert (await here.http.get(f"{stats}?all=true", headers=headers)).status_code == 200
