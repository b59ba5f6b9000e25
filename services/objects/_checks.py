"""Checks of arguments before anything is sent, the same for every store."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

from messages.errors import InvalidKey, Permanent, ScfWorkersError, Transient
from messages.reasons import reason_of
from services.objects.port import PictureRule, Result, Source

__all__ = [
    "CLEAN",
    "MAX_AUDIT",
    "MAX_LIST",
    "MAX_PUT_BYTES",
    "MAX_TEXT",
    "check_audit",
    "check_expires",
    "check_job",
    "check_key",
    "check_limit",
    "check_meta",
    "check_prefix",
    "check_rules",
    "check_size",
    "check_text",
    "exact",
]

MAX_AUDIT: Final = 100
"""Pictures of one audit (CI, "Batch image moderation", restrictions)."""
MAX_TEXT: Final = 10_000
"""Characters of a text that is audited at once (CI, "Submitting text moderation job", 460/56285)."""
CLEAN: Final = Result(violation=False, suspect=False, label="Normal", score=0)
"""Finding about nothing."""
MAX_LIST: Final = 1000
"""Objects of one page (COS, "GET Bucket (List Objects)", max-keys)."""
MAX_PUT_BYTES: Final = 5 << 30
"""Bytes of one PUT (COS, "PUT Object")."""

_MAX_KEY_BYTES: Final = 850  # COS, "Object overview", ObjectKey
_MAX_META_BYTES: Final = 2048  # COS, "PUT Object", x-cos-meta-*
_MAX_RULES: Final = 5  # CI, "Persistent image processing"
_META_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*\Z")
_JOB: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_DOTS: Final = re.compile(r"(?:^|/)\.\.?\Z")
_UNSAFE: Final = re.compile(r"^/|[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def check_key(key: str) -> str:
    """Return a key that every call can carry: in a path, in a header and in XML.

    Raises:
        InvalidKey: it is empty or over 850 bytes, begins with a slash, holds control characters, or ends in a dot
            segment.
    """
    if not key or len(check_prefix(key).encode()) > _MAX_KEY_BYTES:
        raise InvalidKey(f"a key has 1 to {_MAX_KEY_BYTES} bytes, this one begins {key[:40]!r}")
    # The SDK guards `../` in the middle of a path, but HTTP libraries fold it at the end: `a/..` would be the bucket.
    if _DOTS.search(key):
        raise InvalidKey(f"a key does not end in a dot segment, this one begins {key[:40]!r}")
    return key


def check_job(job: str) -> str:
    """Return the id of a job that a path can carry.

    Raises:
        InvalidKey: it cannot.
    """
    if not _JOB.match(job):
        raise InvalidKey(f"a job's id has 1 to 64 letters and digits, this one begins {job[:40]!r}")
    return job


def check_prefix(prefix: str) -> str:
    """Return the beginning of a key, which may be empty.

    Raises:
        InvalidKey: no valid key begins with it.
    """
    # XML 1.0 carries no control characters and turns \r into \n: a batch delete would hit another key.
    if _UNSAFE.search(prefix):
        raise InvalidKey(f"a key has no leading slash and no control characters, this one begins {prefix[:40]!r}")
    return prefix


def check_meta(meta: Mapping[str, str] | None) -> dict[str, str]:
    """Return user metadata with lower-case names.

    Raises:
        messages.errors.Permanent: a name or value that no header can carry, or more than 2 KiB in all.
    """
    lowered = {name.lower(): value for name, value in (meta or {}).items()}
    for name, value in lowered.items():
        if not _META_NAME.match(name) or value != value.strip() or not value.isprintable():
            raise Permanent(f"metadata {name[:40]!r} does not fit a header")
    if sum(len(name) + len(value.encode()) for name, value in lowered.items()) > _MAX_META_BYTES:
        raise Permanent(f"metadata is over {_MAX_META_BYTES} bytes")
    return lowered


def check_size(key: str, size: int) -> int:
    """Return the size of a body that one PUT can carry.

    Raises:
        messages.errors.Permanent: it is over 5 GiB.
    """
    if size > MAX_PUT_BYTES:
        raise Permanent(f"put {key!r}: {size} bytes are more than one PUT carries")
    return size


def check_limit(limit: int) -> int:
    """Return how many objects a page of a listing may hold, at most 1000."""
    if limit < 1:
        raise ValueError(f"a page holds at least one object, not {limit}")
    return min(limit, MAX_LIST)


def check_expires(expires: int) -> int:
    """Return the lifetime of a URL in seconds, at least one."""
    if expires < 1:
        raise ValueError(f"a URL lives at least a second, not {expires}")
    return expires


def check_rules(rules: Sequence[PictureRule]) -> Sequence[PictureRule]:
    """Return the rules of one persistent operation: one to five, each with a key of its own."""
    if not 1 <= len(rules) <= _MAX_RULES:
        raise ValueError(f"one operation has 1 to {_MAX_RULES} rules, not {len(rules)}")
    if len({check_key(rule.key) for rule in rules}) < len(rules):
        raise ValueError("two rules write the same key")
    return rules


def check_audit(keys: Sequence[str]) -> Sequence[str]:
    """Return the keys of one audit, at most 100."""
    if len(keys) > MAX_AUDIT:
        raise ValueError(f"one audit takes {MAX_AUDIT} pictures, not {len(keys)}")
    return [check_key(key) for key in keys]


def check_text(text: str) -> str:
    """Return a text that can be audited at once.

    Raises:
        ValueError: it has more than 10,000 characters.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"an audit takes {MAX_TEXT} characters, not {len(text)}")
    return text


async def exact(key: str, source: Source) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of `source`, one behind: the last one only when the source has ended at its size.

    So a store that has received all bytes knows that they are complete, and stores nothing else.

    Raises:
        messages.errors.Transient: it ended before its size, went beyond it, or raised. An error of our own tree
            passes unchanged: its class is more precise.
    """
    size, given, held, broken = source.size, 0, b"", ""
    pieces = aiter(source)
    try:
        async for piece in pieces:
            given += len(piece)
            if given > size:
                break
            if held and piece:
                yield held
            held = piece or held
    except ScfWorkersError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a source raises means the same, and its text may hold a URL
        broken = f" ({reason_of(error)})"
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
    if broken or given != size:
        raise Transient(f"put {key!r}: the source broke off at {given} of {size} bytes{broken}")
    if held:
        yield held
