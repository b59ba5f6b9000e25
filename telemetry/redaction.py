"""Filter that masks secrets in everything that is logged or traced.

It uses three rules, the strongest last: the *name* of a value (a header, a field, `name=value` in a text), its *form*
(a JWT, a Tencent key id, the query of a URL), and the *known values* (given to `register`, masked wherever they appear,
also in tracebacks). The third needs no guess, so every configured secret is registered at start.
"""

from __future__ import annotations

import functools
import json
import math
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from telemetry.secrets import MASK, Secret

__all__ = ["MIN_SECRET_LENGTH", "Redactor", "is_sensitive", "redact", "redact_text", "register"]

MIN_SECRET_LENGTH: Final = 6
"""Characters; masking a shorter value would mask ordinary words."""

_MAX_DEPTH: Final = 8
_MAX_BITS: Final = 64
_LAST_FEW: Final = 4
"""Number of recent values masked for a secret that changes: running work may still log an old one."""
_SHORT: Final = 64
"""Longest text in characters whose masked form is cached."""

_WORDS: Final = frozenset(
    {
        "accesskey",
        "apikey",
        "authorization",
        "cookie",
        "credential",
        "credentials",
        "passwd",
        "password",
        "secret",
        "secretid",
        "secretkey",
        "sig",
        "sign",
        "signature",
        "ticket",
        "token",
    }
)
_PAIRS: Final = ("access_key", "api_key", "private_key", "q_ak", "sign_key", "webhook_url")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_VALUE: Final = (
    r"""b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'"""
    r"""|(?:(?:bearer|basic)\s+)?(?:\\*["'])?[^\s"'<>,;&)}\]\\]+"""
)
_NAMED: Final = re.compile(
    r"""(?P<name>(?:authorization|token|secret|passwd|password|signature|ticket|credentials?|(?:api|access|private|sign)"""
    r"""[-_]?key|q-ak|webhook[-_]?url)(?:[-_][\w-]{0,30}|s|id|key)?(?:\\*["'])?\s{0,4}(?:[:=]|%3[ad])\s{0,4})"""
    rf"(?:{_VALUE})",
    re.IGNORECASE,
)
# Most ids, names and sentences match nothing here and are done at once; each pattern below needs one of these.
_HINT: Final = re.compile(r"[=:%]|-----|bearer|eyJ|AKID|sk-|/webhook/", re.IGNORECASE)


def _rest(found: re.Match[str]) -> str:
    """Mask the group `rest`. If it is empty, the pattern only skipped a run of letters."""
    return found["name"] + MASK if found["rest"] else found[0]


# Texts may come from attackers, so each pattern takes linear time: repetitions have a bound, or are possessive (`*+`,
# `++`), so that no character is matched again from each one before it.
# Each pattern has the substrings it needs, one of which must occur in the lower-cased text: most lines have none, and
# the search for substrings costs a hundredth of the pattern.
_PATTERNS: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    (
        ("-----begin",),
        re.compile(r"(?P<name>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)(?:[^-]|-(?!----))*"),
        rf"\g<name>{MASK}",
    ),
    # Credentials and query of any URL: presigned URLs, vendors' results, webhooks.
    (
        ("://",),
        re.compile(r"(?P<name>[a-z][a-z0-9+.-]{1,20}://)[^\s/?#@\"'<>]*@", re.IGNORECASE),
        rf"\g<name>{MASK}@",
    ),
    (
        ("://",),
        re.compile(r"(?P<name>https?://[^\s?#\"'<>]*+[?#]?+)(?P<rest>[^\s\"'<>]*+)", re.IGNORECASE),
        _rest,
    ),
    # A COS signature is a sequence of q-… parameters: docs "请求签名", in Authorization headers and presigned URLs.
    (("q-sign",), re.compile(r"q-sign-algorithm(?:=|%3d)[^\s\"'<>]*", re.IGNORECASE), MASK),
    (
        ("sign=", "sig=", "key="),
        re.compile(r"(?P<name>[?&](?:sign|sig|auth_key|key)=)[^\s\"'<>&]+", re.IGNORECASE),
        rf"\g<name>{MASK}",
    ),
    (
        ("cookie",),
        re.compile(r"(?P<name>cookie(?:\\*[\"'])?\s{0,4}[:=]\s{0,4})[^\r\n]+", re.IGNORECASE),
        rf"\g<name>{MASK}",
    ),
    (
        ("auth", "token", "secret", "passw", "signature", "ticket", "credential", "key", "q-ak", "webhook"),
        _NAMED,
        rf"\g<name>{MASK}",
    ),
    # The end of a webhook's path is its only proof (`tasks.calls.webhook_paths`).
    (("/webhook/",), re.compile(r"(?P<name>/webhook/[\w/-]{1,400}/)[0-9a-f]{64}"), rf"\g<name>{MASK}"),
    (("bearer",), re.compile(r"(?P<name>\bbearer\s+)[^\s\"'<>,;]+", re.IGNORECASE), rf"\g<name>{MASK}"),
    (("eyj",), re.compile(r"\b(?P<name>)(?:eyJ[\w-]++)(?P<rest>(?:\.[\w-]++(?:\.[\w-]*+){0,3})?+)"), _rest),
    (("akid",), re.compile(r"AKID[A-Za-z0-9_-]{8,}"), MASK),
    (("sk-",), re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"), MASK),
)


class Redactor:
    """Filter with the known secret values."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: dict[str, frozenset[str]] = {}
        self._lasting: set[str] = set()
        self._passing: dict[str, deque[str]] = {}
        self._known: re.Pattern[str] | None = None
        # Names of fields, stages, kinds and topics are repeated on every line.
        self._seen = functools.lru_cache(maxsize=4096)(self._mask)

    def register(self, secret: Secret, of: str = "") -> None:
        """Mask this value wherever it appears from now on, also URL-quoted, escaped or in base64.

        Args:
            secret: an empty one means "not configured" and is ignored.
            of: name of the source (such as a variable) whose value may change: of its values, the last few are masked.
                Without it the value is masked for ever.

        Raises:
            ValueError: shorter than `MIN_SECRET_LENGTH`; such a value protects nothing and cannot be masked.
        """
        if not secret:
            return
        value = secret.reveal()
        if len(value) < MIN_SECRET_LENGTH:
            raise ValueError(f"a secret has at least {MIN_SECRET_LENGTH} characters")
        # A role's credentials are registered with every call, by several threads, and are mostly known already.
        with self._lock:
            if value in (self._passing.setdefault(of, deque()) if of else self._lasting):
                return
            gone = self._keep(value, of)
            if value not in self._forms or gone:
                self._forms = {**self._forms, value: _forms(value)}
                for one in gone:
                    del self._forms[one]
                self._compile()

    def _keep(self, value: str, of: str) -> set[str]:
        """Store a value. Returns the values that it replaces and that no other source has."""
        if not of:
            self._lasting.add(value)
            return set()
        values = self._passing[of]
        values.append(value)
        gone = {values.popleft()} if len(values) > _LAST_FEW else set[str]()
        return gone - self._lasting - {one for others in self._passing.values() for one in others}

    def _compile(self) -> None:
        longest_first = sorted(frozenset().union(*self._forms.values()), key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(form) for form in longest_first))
        # The cache of `re` would keep hundreds of these, each as large as all secrets together.
        re.purge()
        self._seen.cache_clear()

    def text(self, text: str) -> str:
        """Return the text with all secrets masked."""
        return self._seen(text) if len(text) <= _SHORT else self._mask(text)

    def _mask(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        if not _HINT.search(text):
            return text
        lower = text.lower()
        for needs, pattern, mask in _PATTERNS:
            if any(need in lower for need in needs):
                text = pattern.sub(mask, text)
        return text

    def value(self, value: object) -> object:
        """Return the value as plain JSON data with all secrets masked.

        Bytes are contents, which are never logged: only their number is. A value that JSON cannot hold becomes text.
        """
        return self._value(value, 0)

    def _value(self, value: object, depth: int) -> object:
        match value:
            case None | bool():
                return value
            case str():
                return self.text(value)
            case int() | float():
                return self._number(value)
            case bytes() | bytearray() | memoryview():
                return f"<{len(value)} bytes>"
            case Mapping() if depth < _MAX_DEPTH:
                return {self.text(_text(key)): self._field(key, item, depth + 1) for key, item in value.items()}
            case Sequence() if depth < _MAX_DEPTH:
                return self._items(value, depth + 1)
            case AbstractSet() if depth < _MAX_DEPTH:
                return self._items(sorted(value, key=_text), depth + 1)
            case _:
                return self.text(_text(value))

    def _items(self, items: Sequence[object], depth: int) -> list[object]:
        if len(items) == 2 and isinstance(items[0], (str, bytes)):  # noqa: PLR2004 - headers often come as pairs
            return [self._value(items[0], depth), self._field(items[0], items[1], depth)]
        return [self._value(item, depth) for item in items]

    def _field(self, name: object, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool) or not is_sensitive(_text(name)):
            return self._value(value, depth)
        return MASK

    def _number(self, value: float) -> object:
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            return f"<integer of {value.bit_length()} bits>"
        text = str(value)
        if len(text) < MIN_SECRET_LENGTH:
            return value if math.isfinite(value) else text
        if self._known is not None and self._known.search(text):
            return MASK
        return value if math.isfinite(value) else text


# The filter is global, like the root logger that it serves, because libraries log without being given an object of
# ours.
_process: Final = Redactor()


def register(secret: Secret, of: str = "") -> None:
    """Mask this value in all logs of the process from now on. See `Redactor.register`."""
    _process.register(secret, of)


def redact(value: object) -> object:
    """Return the value as plain JSON data with all secrets masked. See `Redactor.value`."""
    return _process.value(value)


def redact_text(text: str) -> str:
    """Return the text with all secrets masked."""
    return _process.text(text)


@functools.lru_cache(maxsize=512)
def is_sensitive(name: str) -> bool:
    """Return True if a header or field of this name holds a secret."""
    snake = _CAMEL.sub("_", name).lower().replace("-", "_").replace(".", "_")
    return not _WORDS.isdisjoint(snake.split("_")) or any(pair in snake for pair in _PAIRS)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - an error in a foreign __str__ must not fail a log line
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _forms(value: str) -> frozenset[str]:
    """Return the value in its usual encodings."""
    import base64
    import urllib.parse

    raw = value.encode("utf-8", "surrogatepass")
    quoted = {urllib.parse.quote(raw), urllib.parse.quote(raw, safe=""), urllib.parse.quote_plus(raw)}
    return frozenset(
        {
            value,
            json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
            repr(value)[1:-1],
            repr(raw)[2:-1],
            base64.b64encode(raw).decode(),
            base64.urlsafe_b64encode(raw).decode(),
            *quoted,
            *(re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), form) for form in quoted),
        }
    )
