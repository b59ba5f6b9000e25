"""The body of a question. An unknown field is refused, so that a misspelt one cannot pass unnoticed. Pure."""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from sandbox.tokenhub.model import Refused

__all__ = ["Question", "read_question"]

_MOST_IMAGES: Final = 20


class Question(NamedTuple):
    """A question."""

    model: str
    system: str
    text: str
    """The first text of the user."""
    images: tuple[str, ...]
    turns: int
    """Messages after the instructions: above 1 for a repeated question."""


class _Url(msgspec.Struct, forbid_unknown_fields=True):
    url: Annotated[str, msgspec.Meta(pattern=r"^https?://")]


class _Text(msgspec.Struct, forbid_unknown_fields=True, tag="text", tag_field="type"):
    text: str


class _Image(msgspec.Struct, forbid_unknown_fields=True, tag="image_url", tag_field="type"):
    image_url: _Url


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: str | list[_Text | _Image]


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1, max_length=40)]
    max_tokens: Annotated[int, msgspec.Meta(gt=0, le=32_000)] = 2000
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 1.0
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    stream: Literal[False] = False


def read_question(body: bytes, models: tuple[str, ...]) -> Question:
    """Return the question in a body.

    Raises:
        Refused: 400001 for a body of another form, 400002 for roles that do not alternate or too many pictures, 400004
            for an unknown model.
    """
    try:
        read = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("400001", str(error)[:200]) from error
    if read.model not in models:
        raise Refused("400004")
    first, rest = read.messages[0], read.messages
    system = ""
    if first.role == "system":
        if not isinstance(first.content, str):
            raise Refused("400002", "instructions are text")
        system, rest = first.content, rest[1:]
    turns = [("user", "assistant")[n % 2] for n in range(len(rest))]
    if [message.role for message in rest] != turns or turns[-1:] != ["user"]:
        raise Refused("400002", "user and assistant must alternate, and the user must come last")
    parts = rest[0].content
    if isinstance(parts, str):
        return Question(read.model, system, parts, (), len(rest))
    images = tuple(part.image_url.url for part in parts if isinstance(part, _Image))
    if len(images) > _MOST_IMAGES:
        raise Refused("400002", f"more than {_MOST_IMAGES} pictures")
    text = "\n".join(part.text for part in parts if isinstance(part, _Text))
    return Question(read.model, system, text, images, len(rest))
