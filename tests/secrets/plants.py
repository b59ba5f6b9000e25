"""Secrets that are planted, and the search for them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

__all__ = ["ENVIRONMENT", "ROLE", "SHAPES", "Plants"]

ENVIRONMENT: Final[Mapping[str, str]] = {
    "TENCENTCLOUD_SECRET_ID": "AKIDplantedCosKeyId0123456789abcdef",
    "TENCENTCLOUD_SECRET_KEY": "plantedCosKey/Wj8k2+mQ7vXz0TnB5==",
    "INTERNAL_CALLBACK_SECRET": "plantedCallback/pX4+r9LmZ2sVt7Kq1yHd==",
    "TICKET_SECRET": "plantedTicketKey+b6/Nf3Gw8Jc5Re0Ua2Oi9==",
    "AI_LABEL_SECRET": "plantedLabels/k3Vw8+Rn5Zd7Lt2Qx6Hs==",
    "JWT_SECRET": "plantedTokens/b2Xc8+Vn4Lq6Wt0Zr5Pj==",
    "WEBHOOK_SECRET": "plantedWebhook/e7Yh4+Tb1Kx9Md3Sf6Qg==",
    "RUNNINGHUB_API_KEY": "c0ffee11plantedrunninghub22decade33",
    "RUNNINGHUB_API_KEYS": "second=c0ffee33plantedrunninghub44decade55",
    "ARK_API_KEY": "plantedArk7-c0ffee-44be-9d11-e0f1a2b3c4d5",
    "ARK_API_KEYS": "second=plantedArk8-c0ffee-55cf-8e22-f1a2b3c4d5e6",
    "TOKENHUB_API_KEY": "sk-plantedTokenHub77c0ffee55decade99",
    "MESSAGE_KEYS": "k1:*:plantedMessageKey/q8Hs5+Vd2Jn7Zc4Wb9Ey==",
    "BROKER_TOKEN": "eyJplantedBroker.eyJplantedClaims.plantedBrokerSeal6Vw",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer plantedCollectorToken4Zt8",
    "OTEL_RESOURCE_ATTRIBUTES": "token=plantedApmToken9Qd3Lr",
}
"""Secrets that a deployment is configured with."""

ROLE: Final[Mapping[str, str]] = {
    "TENCENTCLOUD_SECRETID": "AKIDplantedRoleKeyId9876543210fedc",
    "TENCENTCLOUD_SECRETKEY": "plantedRoleKey+Vb3/Hn7Lp1Xs9Dq5==",
    "TENCENTCLOUD_SESSIONTOKEN": "plantedSessionToken/2Jf8+Kw4Rz6Tm0Cy3Gx9==",
}
"""Credentials that the platform gives a function that has a role."""

SHAPES: Final[Mapping[str, re.Pattern[bytes]]] = {
    "a COS signature": re.compile(rb"q-signature(?:=|%3[dD])[0-9a-f]{8}"),
    "a COS key id": re.compile(rb"AKID[A-Za-z0-9]{8}"),
    "a JWT": re.compile(rb"eyJ[\w-]{6,}\.[\w-]{6,}\.[\w-]{6,}"),
    "a bearer token": re.compile(rb"[Bb]earer [^\s*<\"'\\]{6}"),
    "a webhook's token": re.compile(rb"/webhook/[\w/-]{1,300}/[0-9a-f]{64}"),
    "a signature of ours": re.compile(rb"(?i)x-internal-(?:body-)?signature[\"': =]{1,6}[0-9a-f]{8}"),
}
"""Names of fields that must not be printed, whatever their value."""


class Plants:
    """The values that are looked for, in every form that something on the way may give them.

    Args:
        values: name -> value.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)
        # Of pairs the value alone is a secret too, without a word such as Bearer before it.
        for name in {"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES"} & values.keys():
            self.values[f"the value in {name}"] = values[name].partition("=")[2].rpartition(" ")[2]

        for name in {"RUNNINGHUB_API_KEYS", "ARK_API_KEYS"} & values.keys():
            self.values[f"the key in {name}"] = values[name].partition("=")[2]
        if "MESSAGE_KEYS" in values:
            self.values["the key in MESSAGE_KEYS"] = values["MESSAGE_KEYS"].rpartition(":")[2]

    def add(self, name: str, value: str) -> str:
        """Add a value, and return it."""
        self.values[name] = value
        return value

    def in_(self, data: bytes | str) -> set[str]:
        """Names of everything that is to be found there."""
        body = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        found = {name for name, value in self.values.items() if any(form in body for form in _forms(value))}
        return found | {name for name, shape in SHAPES.items() if shape.search(body)}

    def assert_none_in(self, outputs: Iterable[tuple[str, bytes | str]]) -> int:
        """Check that none of them is in any output. Returns the number of searched bytes, to detect an empty test."""
        size, guilty = 0, dict[str, set[str]]()
        for name, data in outputs:
            size += len(data)
            if found := self.in_(data):
                guilty[name] = found
        assert not guilty, guilty
        return size


def _forms(value: str) -> set[bytes]:
    raw = value.encode()
    texts = {value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1], raw.hex()}
    return {text.encode() for text in texts} | {form for shift in range(3) for form in _base64(raw, shift)}


def _base64(raw: bytes, shift: int) -> set[bytes]:
    """Its form inside a longer encoded text: without the characters that it shares with its neighbours."""
    whole = base64.b64encode(b"\0" * shift + raw).rstrip(b"=")
    inner = whole[(0, 2, 3)[shift] : -1]
    return {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
