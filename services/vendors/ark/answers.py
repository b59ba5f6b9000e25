"""Interpretation of Ark's answers. Pure: bytes in, results or an error of the tree out.

The answer is the only trace of a paid picture, so a picture counts, whatever status or error comes with it
(docs/reference/ark.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from messages.codes import Code
from services.errors import CreateUnknown, VendorDown, VendorFull, VendorRefused
from services.vendors.ark.codes import meaning_of
from services.vendors.coded import CodedAnswer, Meaning
from services.vendors.http import ApiResponse
from services.vendors.on_create import OnCreate
from services.vendors.port import JobFile, Results
from services.vendors.reading import as_list, as_map, as_number, as_text, decode_object
from services.vendors.usage import Usage

__all__ = ["account_fault", "check_key", "results_of"]

_OK: Final = 200


class _Answer(CodedAnswer[Meaning], frozen=True, kw_only=True):
    """An answer whose error may come with its first picture."""

    items: Sequence[Mapping[str, object]]


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
    if answer.outcome is OnCreate.UNKNOWN and reply.status == _OK and _counts_no_picture(answer.body):
        # Pictures are charged for when they are returned, and the vendor itself counts none.
        raise VendorRefused(answer.say("create"), code=Code.VENDOR_FAILED)
    raise answer.create_error()


def account_fault(reply: ApiResponse) -> str:
    """Return the code of an error that only a person can mend: key, funds, spend cap, model; empty for any other.

    Without a code in the answer it is the HTTP status, if that refuses the key.
    """
    return _read(reply).account_fault


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
    return _Answer(reply, body, code, message, meaning_of(code, message) if code else None, items=items)


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
