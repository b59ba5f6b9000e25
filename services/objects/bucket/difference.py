"""Comparison of a bucket's stored rules with the wanted ones. Pure.

A document has the form of cos-python-sdk-v5: a list of rules under one name; other fields beside that list are kept.
Rules of others, by their ids, are kept unchanged and in their places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Literal, TypeAlias

import msgspec

from services.objects.bucket.rules import OURS

__all__ = ["Change", "Difference", "Document", "Section", "compare", "describe", "lost"]

Document: TypeAlias = Mapping[str, Any]
"""Rules of a bucket, or one rule, in the form of cos-python-sdk-v5."""


class Section(Enum):
    """A kind of rules; its value is the name of the list in the document."""

    LIFECYCLE = "Rule"
    CORS = "CORSRule"


class Change(msgspec.Struct, frozen=True):
    """A rule that is not as it should be."""

    rule: str
    """Its id."""
    what: Literal["missing", "different", "surplus"]
    stored: str
    """Description of the stored rule; empty if there is none."""
    wanted: str
    """Description of the wanted rule; empty if there should be none."""


class Difference(msgspec.Struct, frozen=True):
    """Difference of the stored rules from the wanted ones."""

    changes: tuple[Change, ...]
    """Empty if nothing must be written."""
    kept: int
    """Number of the rules of others."""
    document: Document
    """The document to be written; without any rule the whole section must be deleted."""


def compare(section: Section, stored: Document, wanted: Sequence[Document]) -> Difference:
    """Compare the stored rules with those of the product that are wanted.

    Args:
        section: the kind of the rules.
        stored: the stored document; empty where the bucket has no such rules.
        wanted: the product's rules, whose ids begin with `OURS`.
    """
    missing = {str(rule["ID"]): rule for rule in wanted}
    changes: list[Change] = []
    rules: list[Document] = []
    kept = 0
    for rule in _rows(stored.get(section.value)):
        name = str(rule.get("ID") or "")
        if not name.startswith(OURS):
            kept += 1
            rules.append(rule)
            continue
        should = missing.pop(name, None)
        if should is None:
            changes.append(Change(name, "surplus", describe(rule), ""))
            continue
        rules.append(should)
        if _plain(rule) != _plain(should):
            changes.append(Change(name, "different", describe(rule), describe(should)))
    for name, rule in missing.items():
        changes.append(Change(name, "missing", "", describe(rule)))
        rules.append(rule)
    return Difference(tuple(changes), kept, {**stored, section.value: rules})


def lost(section: Section, written: Document, stored: Document) -> tuple[str, ...]:
    """Return the rules and fields of a written document that the stored one lacks; empty for none.

    Args:
        section: the kind of the rules.
        written: the document that was written.
        stored: the document that was read afterwards; it may have more.
    """
    rules = [_plain(rule) for rule in _rows(stored.get(section.value))]
    gone = [rule for rule in _rows(written.get(section.value)) if _plain(rule) not in rules]
    parts = [name for name in written if name != section.value and _plain(written[name]) != _plain(stored.get(name))]
    return (*(f"{rule.get('ID') or 'a rule without ID'} ({describe(rule)})" for rule in gone), *parts)


def describe(rule: Document) -> str:
    """Describe the effect of a rule in a short phrase."""
    if "AllowedOrigin" in rule:
        methods, origins = (", ".join(map(str, _many(rule.get(name)))) for name in ("AllowedMethod", "AllowedOrigin"))
        return f"{methods} by pages of {origins}"
    where = _value(rule.get("Filter"), "Prefix") or "all objects"
    acts = [
        f"to {_value(one, 'StorageClass')} after {_days(_value(one, 'Days'))}" for one in _many(rule.get("Transition"))
    ]
    if days := _value(rule.get("Expiration"), "Days"):
        acts.append(f"delete after {_days(days)}")
    if days := _value(rule.get("AbortIncompleteMultipartUpload"), "DaysAfterInitiation"):
        acts.append(f"abort unfinished uploads after {_days(days)}")
    off = "" if rule.get("Status") == "Enabled" else " (off)"
    return f"{where}: {', '.join(acts) or 'another action'}{off}"


def _days(text: str) -> str:
    return f"{text} day" if text == "1" else f"{text} days"


def _value(part: Any, name: str) -> str:  # noqa: ANN401 - a part of a document
    return str(part.get(name) or "") if isinstance(part, Mapping) else ""


def _rows(value: Any) -> Sequence[Document]:  # noqa: ANN401 - a part of a document
    return [row for row in _many(value) if isinstance(row, Mapping)]


def _many(value: Any) -> Sequence[Any]:  # noqa: ANN401 - a part of a document
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a part of a document
    """Return a part of a document without the differences that XML does not keep: numbers, order, empty elements."""
    if isinstance(value, Mapping):
        return {name: plain for name, part in value.items() if (plain := _plain(part)) != ""} or ""
    if isinstance(value, list | tuple):
        found = sorted((_plain(one) for one in value), key=repr)
        return found[0] if len(found) == 1 else found or ""
    return "" if value is None else str(value)
