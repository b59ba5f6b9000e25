"""What a kind of work is, as data: one `Recipe` a kind, one small module each, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from messages.codes import Code
from messages.errors import Rejected

__all__ = ["BadParameters", "Params", "Plan", "Recipe", "parse_params"]


_SAID: Final = 200
"""Characters that are told of what is wrong with parameters."""


class BadParameters(Rejected):
    """Parameters that the recipe does not take; the message names the field."""

    default_code = Code.BAD_PARAMETERS


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every recipe's parameters: unknown names are refused."""


class Plan(msgspec.Struct, frozen=True):
    """What the picture service does to one input: each pass reads what the pass before it stored."""

    passes: tuple[str, ...]
    """Rules in the language of `services.objects.port.PictureRule`."""
    extension: str
    """Of the last product, without a dot: jpg, png or webp."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work."""

    kind: str
    params: type[Params]
    deadline_s: int
    """From acceptance to the verdict, queueing included."""
    max_inputs: int = 1
    clean: Callable[[Any, str], Plan]
    """(parameters, extension of the input) -> what the picture service does. Raises `BadParameters`."""
    vendor: str = ""
    """Name of the vendor; empty when the clean product is the result."""
    values: Callable[[Any], Mapping[str, str]] = lambda _: {}
    """Parameters -> values of the vendor's workflow, besides its inputs."""
    inputs: tuple[str, ...] = ("photo",)
    """Names of the workflow's inputs, in the order of the task's inputs."""
    count: int = 1
    """Results that a vendor's job must bring; fewer or more is a failure."""
    result: str = "result_{:02d}.{}"
    """Name of the n-th result (from 1), by its number and extension."""
    extension: str = "jpg"
    """Format of a vendor's results as they are sold."""
    expected_s: float = 60.0
    """How long the vendor usually takes."""
    create_limit_s: float = 90.0
    """How long the create call may take."""
    collect_limit_s: float = 180.0
    """How long bringing the results home may take."""
    unknown: Literal["fail", "resend"] = "fail"
    """What becomes of a paid call whose outcome stayed unknown."""


def parse_params(recipe: Recipe, values: Mapping[str, Any]) -> Params:
    """The recipe's parameters, validated.

    Raises:
        BadParameters: a name it does not know, or a value of the wrong type or range; the message names the field.
    """
    try:
        return msgspec.convert(dict(values), recipe.params)
    except msgspec.ValidationError as error:
        # It quotes names that it does not know, and an uploader may make them as long as he likes.
        raise BadParameters(f"parameters of {recipe.kind}: {str(error)[:_SAID]}") from error
