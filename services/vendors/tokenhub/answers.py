"""Interpretation of a chat endpoint's answers. Pure: bytes in, the model's words or an error of the tree out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from messages.codes import Code
from messages.errors import ScfWorkersError
from services.errors import AnswerUnfit, VendorDown, VendorFull, VendorRefused
from services.vendors.http import ApiResponse
from services.vendors.reading import as_list, as_map, as_text, decode_object, redacted
from services.vendors.tokenhub.codes import CONTENT_ENDS, OnAsk, meaning_of
from services.vendors.usage import Usage

__all__ = ["Words", "account_fault", "fitting", "models_of", "words_of"]

A = TypeVar("A", bound=msgspec.Struct)

_OK: Final = 200
_MOST_TRIES: Final = 64
"""Braces of an answer that are tried as the beginning of its JSON."""

_decoder: Final = json.JSONDecoder()


class Words(NamedTuple):
    """The words of a model."""

    text: str
    usage: Usage
    model: str


def account_fault(reply: ApiResponse) -> str:
    """Return the code of an answer about our key, its rights or our funds; empty for any other."""
    answer = decode_object(reply.body)
    if reply.status == _OK and not answer.get("error"):
        return ""
    code, kind = _names(answer)
    about_us = meaning_of(reply.status, code, kind) is OnAsk.ACCOUNT
    return redacted(code or kind or str(reply.status)) if about_us else ""


def words_of(reply: ApiResponse) -> Words:
    """Return the model's words in an answer; empty where it says nothing.

    Raises:
        services.errors.VendorDown: the vendor or our key as such fails; also an answer that is not the endpoint's.
        services.errors.VendorFull: over a limit of our key.
        services.errors.VendorRefused: the question is refused, with `CONTENT_VIOLATION` where its contents are.
    """
    answer = decode_object(reply.body)
    if reply.status != _OK or answer.get("error"):
        raise _error(reply, answer)
    choice = as_map(next(iter(as_list(answer.get("choices"))), None))
    if not choice:
        raise VendorDown(f"chat: HTTP {reply.status}, no choice in the answer", retry_after=reply.retry_after)
    message, end = as_map(choice.get("message")), as_text(choice.get("finish_reason")).lower()
    if end in CONTENT_ENDS:
        raise VendorRefused(f"chat: the answer ended as {end}", code=Code.CONTENT_VIOLATION)
    if refusal := as_text(message.get("refusal")):
        raise VendorRefused(f"chat: the model refuses: {redacted(refusal)}", code=Code.CONTENT_VIOLATION)
    return Words(_content(message.get("content")), _usage(answer), redacted(as_text(answer.get("model"))))


def fitting(text: str, form: type[A]) -> A:
    """Return the JSON object in a model's words that fits a schema: bare, in a code fence, or with text around it.

    Raises:
        services.errors.AnswerUnfit: there is none.
    """
    why = "no JSON object"
    for found in _objects(text):
        try:
            # Read again: the escape of half a surrogate pair makes a text that cannot be written anywhere.
            return msgspec.json.decode(found, type=form)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            why = redacted(str(error))
    raise AnswerUnfit(f"chat: the answer does not fit its schema: {why}")


def models_of(reply: ApiResponse) -> frozenset[str]:
    """Return the ids in a list of models.

    Raises:
        services.errors.VendorDown: the vendor or our key as such fails; also an answer that is not the endpoint's.
        services.errors.VendorFull: over a limit of our key.
        services.errors.VendorRefused: the question is refused.
    """
    answer = decode_object(reply.body)
    if reply.status != _OK or answer.get("error"):
        raise _error(reply, answer)
    if not isinstance(answer.get("data"), list):
        raise VendorDown(f"models: HTTP {reply.status}, no list in the answer")
    return frozenset(as_text(as_map(row).get("id")) for row in as_list(answer.get("data"))) - {""}


def _objects(text: str) -> Iterator[str]:
    """Yield the outermost JSON objects in a text, in their order."""
    start, tries = text.find("{"), 0
    while start >= 0 and tries < _MOST_TRIES:
        tries += 1
        try:
            _, end = _decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield text[start:end]
        start = text.find("{", end)


def _content(content: object) -> str:
    """Return the text of a message's content, which some endpoints write as a list of parts."""
    if isinstance(content, str):
        return content
    texts = (as_map(part).get("text") for part in as_list(content))
    return "".join(text for text in texts if isinstance(text, str))


def _usage(answer: Mapping[str, object]) -> Usage:
    usage = as_map(answer.get("usage"))
    return Usage(tokens_in=_count(usage.get("prompt_tokens")), tokens_out=_count(usage.get("completion_tokens")))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else 0


def _names(answer: Mapping[str, object]) -> tuple[str, str]:
    """Return code and type of an error."""
    error = as_map(answer.get("error"))
    return as_text(error.get("code")), as_text(error.get("type"))


def _error(reply: ApiResponse, answer: Mapping[str, object]) -> ScfWorkersError:
    error = as_map(answer.get("error"))
    code, kind = _names(answer)
    words = as_text(error.get("message")) or as_text(answer.get("error")) or as_text(answer.get("message"))
    named = ", ".join(redacted(part) for part in (code, kind) if part)
    text = f"chat: HTTP {reply.status}{f' ({named})' if named else ''}: {redacted(words) or 'no words'}"
    match meaning_of(reply.status, code, kind):
        case OnAsk.FULL:
            return VendorFull(text, retry_after=reply.retry_after)
        case OnAsk.CONTENT:
            return VendorRefused(text, code=Code.CONTENT_VIOLATION)
        case OnAsk.REFUSED:
            return VendorRefused(text)
        case OnAsk.DOWN | OnAsk.ACCOUNT:
            return VendorDown(text, retry_after=reply.retry_after)
