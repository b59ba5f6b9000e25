"""Answers of a paid create whose errors carry a code, and the table of such codes. Pure.

Clients of one call or few share them: a new vendor brings its codes and the reading of its JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

import msgspec

from messages.codes import Code
from services.errors import CreateUnknown, VendorFull, VendorRefused
from services.vendors.http import ApiResponse
from services.vendors.on_create import HTTP_ON_CREATE, OnCreate
from services.vendors.reading import redacted

__all__ = ["CodedAnswer", "Meaning"]

_OF_THE_KEY: Final = frozenset({401, 402, 403})


class Meaning(msgspec.Struct, frozen=True):
    """A row of a vendor's table of codes."""

    subject: str
    create: OnCreate
    """Outcome of a create that is answered with the code."""
    code: Code | None = None
    """The catalogue's code if it is not the usual one."""
    wait: float | None = None
    """Seconds to wait where the answer names none."""
    alarm: bool = False
    """True if only a person can mend it, for all tasks at once."""


M = TypeVar("M", bound=Meaning)


class CodedAnswer(msgspec.Struct, Generic[M], frozen=True):
    """An answer, read."""

    reply: ApiResponse
    body: Mapping[str, object]
    """The object that the interface answers; empty if the answer has none."""
    code: str
    message: str
    meaning: M | None

    @property
    def outcome(self) -> OnCreate:
        """Outcome of a create that the code, or else the status, proves."""
        if self.meaning is not None:
            return self.meaning.create
        return HTTP_ON_CREATE.get(self.reply.status, OnCreate.UNKNOWN)

    @property
    def wait(self) -> float | None:
        """Seconds to wait, by the vendor's word or by the table."""
        if self.reply.retry_after is not None or self.meaning is None:
            return self.reply.retry_after
        return self.meaning.wait

    @property
    def account_fault(self) -> str:
        """The code of an error that only a person can mend: key, rights, funds; empty for any other.

        Of an answer without a code it is the HTTP status, if that refuses the key.
        """
        if self.meaning is None:
            return str(self.reply.status) if self.reply.status in _OF_THE_KEY else ""
        return self.code if self.meaning.alarm else ""

    def say(self, call: str, what: str = "") -> str:
        """Return a text for operators: status, code with its subject, and the vendor's words without URLs and keys.

        Args:
            call: name of the call.
            what: text instead of the vendor's words.
        """
        if not self.body:
            return f"{call}: HTTP {self.reply.status}, no answer of the interface"
        subject = self.meaning.subject if self.meaning else "unlisted"
        code = f", code {redacted(self.code)} ({subject})" if self.code else ""
        return f"{call}: HTTP {self.reply.status}{code}: {what or redacted(self.message) or 'nothing usable'}"

    def create_error(self) -> VendorFull | VendorRefused | CreateUnknown:
        """Return the error of a create that was answered without a result."""
        text = self.say("create")
        match self.outcome:
            case OnCreate.FULL:
                return VendorFull(text, retry_after=self.wait)
            case OnCreate.REFUSED:
                return VendorRefused(text, code=self.meaning.code if self.meaning else None)
            case OnCreate.UNKNOWN:
                return CreateUnknown(text)
