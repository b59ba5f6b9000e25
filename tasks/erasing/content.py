"""Content of records: everything that a user gave or got, or that leads to it. Pure.

Records are final, with this one exception: an erasure replaces a record by itself without its content. Ids, times,
codes, counts and costs stay, so that no run is processed, paid for or refunded again.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from tasks.ledger.records import (
    Accepted,
    AuditJobs,
    CallResult,
    Cleaned,
    Collected,
    DeadLetter,
    Delivered,
    FetchedInputs,
    ParsedName,
    Prompted,
    Staged,
    Stopped,
    Verdict,
    VideoLabels,
)

__all__ = ["CONTENT", "emptied", "has_content"]

CONTENT: Final[Mapping[type[msgspec.Struct], Mapping[str, Any]]] = MappingProxyType(
    {
        Accepted: {"params": {}, "inputs": []},
        FetchedInputs: {"inputs": []},
        Cleaned: {"products": []},
        Prompted: {"text": ""},
        CallResult: {"files": []},
        Collected: {"files": []},
        Staged: {"files": []},
        AuditJobs: {"jobs": {}, "products": []},
        VideoLabels: {"jobs": {}, "done": {}},
        Stopped: {"detail": ""},
        Verdict: {"manifest": [], "text": ""},
        Delivered: {"sent": "", "answered": ""},
        DeadLetter: {"detail": ""},
    }
)
"""Class of records -> its fields with content, and what they hold after an erasure."""


def has_content(name: ParsedName | None) -> bool:
    """Return True if a record of this name may hold content; one that this build does not know may."""
    return name is None or name.kind in CONTENT


def emptied(body: bytes, kind: type[msgspec.Struct] | None) -> bytes:
    """Return a stored record without its content.

    Fields that this build does not know are dropped. A record that it cannot read keeps nothing but its existence,
    and stays unreadable.

    Args:
        body: the stored record with its envelope.
        kind: class of the record; None for one that this build does not know.
    """
    try:
        envelope = msgspec.json.decode(body, type=dict[str, Any])
        nonce, record = str(envelope["nonce"]), dict(envelope["record"])
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, UnicodeError, RecursionError):
        nonce, record = "", {}
    known = {field.encode_name for field in msgspec.structs.fields(kind)} if kind else set[str]()
    kept = {name: value for name, value in record.items() if name in known}
    for name, empty in CONTENT.get(kind, {}).items() if kind else ():
        if name in kept:
            kept[name] = empty
    return msgspec.json.encode({"nonce": nonce, "record": kept})
