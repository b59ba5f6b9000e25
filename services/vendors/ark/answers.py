"""Interpretation of Ark's answers. Pure: bytes in, results or an error of the tree out.

The answer is the only trace of a paid picture, so a picture is a picture, whatever status or error stands beside it
(docs/reference/ark.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from messages.codes import Code
from services.errors import CreateUnknown, VendorDown, VendorFull, VendorRefused
from services.vendors.ark.codes import Meaning, meaning_of
from services.vendors.http import ApiResponse
from services.vendors.on_create import HTTP_ON_CREATE, OnCreate
from services.vendors.port import JobFile, Results
from services.vendors.reading import as_list, as_map, as_number, as_text, decode_object, redacted
from services.vendors.usage import Usage

__all__ = ["account_fault", "check_key", "results_of"]

_OK: Final = 200
_OF_THE_KEY: Final = frozenset({401, 402, 403})


class _Answer(msgspec.Struct, frozen=True):
    """An answer, read."""

    reply: ApiResponse
    body: Mapping[str, object]
    items: Sequence[Mapping[str, object]]
    code: str
    """Of the answer's error, or of the first picture's."""
    message: str
    meaning: Meaning | None

    @property
    def outcome(self) -> OnCreate:
        """Outcome that the error, or else the status, proves."""
        if self.meaning is not None:
            return self.meaning.create
        return HTTP_ON_CREATE.get(self.reply.status, OnCreate.UNKNOWN)

    @property
    def wait(self) -> float | None:
        """Seconds to wait, by the vendor's word or by the table."""
        if self.reply.retry_after is not None or self.meaning is None:
            return self.reply.retry_after
        return self.meaning.wait

    def say(self, call: str, what: str = "") -> str:
        """Return a text for operators: status, code with its subject, and the vendor's words without URLs and keys."""
        if not self.body:
            return f"{call}: HTTP {self.reply.status}, no JSON object"
        subject = self.meaning.subject if self.meaning else "unlisted"
        code = f", code {redacted(self.code)} ({subject})" if self.code else ""
        return f"{call}: HTTP {self.reply.status}{code}: {what or redacted(self.message) or 'no picture'}"


def results_of(reply: ApiResponse) -> Results:
    """Return the pictures in the answer to a create, in their order.

    Raises:
        services.errors.VendorFull: not accepted, come again later.
        services.errors.VendorRefused: not accepted, or ended without a picture and without a charge.
        services.errors.CreateUnknown: the answer proves neither, or its picture cannot be had.
    """
    answer = _read(reply)
    if files := tuple(_files(answer.items)):
        return Results(files, _usage(answer.body, len(files)))
    if any(as_text(item.get("b64_json")) for item in answer.items):
        # It is paid for; sent again it would be paid twice.
        raise CreateUnknown(answer.say("create", "the picture came as base64, though a URL was asked for"))
    text = answer.say("create")
    match answer.outcome:
        case OnCreate.FULL:
            raise VendorFull(text, retry_after=answer.wait)
        case OnCreate.REFUSED:
            raise VendorRefused(text, code=answer.meaning.code if answer.meaning else None)
        case OnCreate.UNKNOWN if reply.status == _OK and _counts_no_picture(answer.body):
            # Pictures are charged for when they are returned, and the vendor itself counts none.
            raise VendorRefused(text, code=Code.VENDOR_FAILED)
        case OnCreate.UNKNOWN:
            raise CreateUnknown(text)


def account_fault(reply: ApiResponse) -> str:
    """Return the code of an error that only a person can mend: key, funds, spend cap, model; empty for any other.

    Of an answer without a code it is the HTTP status, if that refuses the key.
    """
    answer = _read(reply)
    if answer.meaning is None:
        return str(reply.status) if reply.status in _OF_THE_KEY else ""
    return answer.code if answer.meaning.alarm else ""


def check_key(reply: ApiResponse) -> None:
    """Return if the answer to an empty request shows that the key is taken: it complains about the request alone.

    Raises:
        services.errors.VendorFull: no room.
        services.errors.VendorDown: the vendor or our key as such fails.
    """
    answer = _read(reply)
    if answer.meaning is None or answer.outcome is OnCreate.UNKNOWN:
        raise VendorDown(answer.say("key"), retry_after=answer.wait)
    if answer.outcome is OnCreate.FULL:
        error = VendorDown if answer.meaning.alarm else VendorFull
        raise error(answer.say("key"), retry_after=answer.wait)


def _read(reply: ApiResponse) -> _Answer:
    body = decode_object(reply.body)
    items = [as_map(item) for item in as_list(body.get("data"))]
    errors = [as_map(holder.get("error")) for holder in (body, *items)]
    error = next((error for error in errors if error), {})
    code, message = as_text(error.get("code")), as_text(error.get("message"))
    return _Answer(reply, body, items, code, message, meaning_of(code, message) if code else None)


def _files(items: Sequence[Mapping[str, object]]) -> Iterator[JobFile]:
    for item in items:
        if url := as_text(item.get("url")):
            yield JobFile(url, as_text(item.get("output_format")).lower() or "jpeg")


def _usage(body: Mapping[str, object], files: int) -> Usage:
    usage = as_map(body.get("usage"))
    pictures = int(as_number(usage.get("generated_images"))) or files
    return Usage(pictures=pictures, tokens_out=int(as_number(usage.get("output_tokens"))))


def _counts_no_picture(body: Mapping[str, object]) -> bool:
    return as_text(as_map(body.get("usage")).get("generated_images")) == "0"
