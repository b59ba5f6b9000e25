"""docs/configuration.md against the code."""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path

import jwt
import msgspec

from runtime.settings import SECRETS, Settings
from tasks.accepting.tickets import check_sold, verify
from telemetry.secrets import Secret

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")


def _documented() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \| (.*) \|$", TEXT, re.MULTILINE)
    return {name: (default.strip().strip("`"), meaning) for name, default, meaning in rows}


def _docstrings() -> Mapping[str, str]:
    tree = ast.parse((ROOT / "runtime/settings.py").read_text(encoding="utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings").body
    return {
        field.target.id: " ".join(str(said.value.value).split())
        for field, said in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
    }


def _shown(field: msgspec.structs.FieldInfo) -> str:
    if field.encode_name in SECRETS:
        return "secret"
    match field.default:
        case bool():
            return str(field.default).lower()
        case float():
            return f"{field.default:g}"
        case _:
            return str(field.default)


def test_every_variable_is_in_the_table_with_its_default_and_meaning() -> None:
    meanings = _docstrings()
    expected = {field.encode_name: (_shown(field), meanings[field.name]) for field in msgspec.structs.fields(Settings)}
    assert _documented() == expected


def test_a_ticket_made_as_the_docs_say_is_accepted() -> None:
    params = {"prompt": "红色连衣裙", "a": 1}
    text = json.dumps(params, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    claims = {
        "sub": "u-1",
        "task": "t-1",
        "step": 0,
        "kind": "model_pose12",
        "params": hashlib.sha256(text.encode()).hexdigest(),
        "inputs": 2,
        "exp": 2_000_000_000,
        "aud": "scf-workers/ticket",
    }
    secret = "s" * 32
    token = jwt.encode(claims, secret, algorithm="HS256")
    ticket = verify(token, Secret(secret), user="u-1", task="t-1", step=0)
    assert ticket.kind == "model_pose12"
    check_sold(ticket, now=1_999_999_000.0, kind="model_pose12", params=params, inputs=2)
