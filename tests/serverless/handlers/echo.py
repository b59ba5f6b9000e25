"""A handler that returns its arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from messages.errors import Outage
from runtime.credentials import credentials_in
from runtime.settings import load_settings

NAMES = ("TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN")


def main_handler(event: Any, context: Mapping[str, Any]) -> Any:
    match event:
        case {"raise": "ours"}:
            raise Outage(f"away, says {os.environ['TENCENTCLOUD_SECRETKEY']}")
        case {"raise": "a defect"}:
            raise RuntimeError(f"no such thing as {os.environ['TENCENTCLOUD_SESSIONTOKEN']}")
        case {"credentials": _}:
            found = credentials_in(os.environ, load_settings(os.environ))
            return [found.secret_id.reveal(), found.secret_key.reveal(), found.token.reveal()]
        case {"environ": _}:
            return [os.environ.get(name) for name in NAMES]
        case _:
            return {"event": event, "context": dict(context)}
