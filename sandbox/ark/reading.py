"""Reading of requests for a picture, as strict as the vendor (docs/reference/ark.md). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, cast

from sandbox.ark.model import ImageRequest, Model, Refusal
from sandbox.json_body import json_object

__all__ = ["body_of", "image_request_of"]

_FIELDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "model": str,
    "prompt": str,
    "image": (str, list),
    "size": str,
    "response_format": str,
    "output_format": str,
    "watermark": bool,
    "sequential_image_generation": str,
    "stream": bool,
}
_MODES: Final = frozenset({"sequential_image_generation", "stream"})
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_SIDES: Final = {"1K": 1024, "2K": 2048, "3K": 3072, "4K": 4096}
_MOST_RATIO: Final = 16
_SQUARE: Final = "2048x2048"


def body_of(content: bytes) -> Mapping[str, object]:
    """Return the JSON object of a request.

    Raises:
        Refusal: there is none.
    """
    body = json_object(content)
    if body is None:
        raise Refusal("InvalidParameter", "The request body is not a JSON object.")
    return body


def image_request_of(body: Mapping[str, object], models: Mapping[str, Model]) -> ImageRequest:
    """Return the picture that a request asks for.

    Raises:
        Refusal: the vendor does not take it.
    """
    for name in ("model", "prompt"):
        if not body.get(name):
            raise Refusal("MissingParameter", f"The required parameter `{name}` is missing.")
    for name, value in body.items():
        if name not in _FIELDS:
            raise Refusal("InvalidParameter.UnsupportedParameter", f"The parameter `{name}` is not supported.")
        if not isinstance(value, _FIELDS[name]):
            raise Refusal("InvalidParameter", f"The parameter `{name}` has a wrong type.")
    name = cast("str", body["model"])
    model = _model(name, models)
    _check_modes(body, model, name)
    return ImageRequest(
        model=name,
        prompt=cast("str", body["prompt"]),
        size=_size(cast("str", body.get("size", _SQUARE)), model),
        references=_references(body.get("image"), model),
        format=_format(body, model),
        watermark=cast("bool", body.get("watermark", True)),
        base64=_one_of(body, "response_format", "url", "b64_json") == "b64_json",
    )


def _model(name: str, models: Mapping[str, Model]) -> Model:
    model = models.get(name)
    if model is None:
        words = f"The model or endpoint {name} does not exist or you do not have access to it."
        raise Refusal("InvalidEndpointOrModel.NotFound", words)
    if not model.open:
        raise Refusal("ModelNotOpen", f"Your account has not activated the model {name}.")
    return model


def _check_modes(body: Mapping[str, object], model: Model, name: str) -> None:
    if not model.has_modes and (given := sorted(_MODES & body.keys())):
        words = f"The parameter `{given[0]}` is not supported by {name}."
        raise Refusal("InvalidParameter.UnsupportedParameter", words)
    if _one_of(body, "sequential_image_generation", "disabled", "auto") == "auto" or body.get("stream"):
        raise Refusal("InvalidParameter.UnsupportedParameter", "The stand-in makes one picture, and no stream.")


def _format(body: Mapping[str, object], model: Model) -> Literal["jpeg", "png"]:
    if "output_format" in body and not model.has_format:
        raise Refusal("InvalidParameter.UnsupportedParameter", "The parameter `output_format` is not supported.")
    return "png" if _one_of(body, "output_format", "jpeg", "png") == "png" else "jpeg"


def _one_of(body: Mapping[str, object], name: str, *allowed: str) -> str:
    value = cast("str", body.get(name, allowed[0]))
    if value not in allowed:
        raise Refusal("InvalidParameter", f"The parameter `{name}` must be one of {', '.join(allowed)}.")
    return value


def _size(size: str, model: Model) -> tuple[int, int]:
    if size in model.names:
        return _SIDES[size], _SIDES[size]
    found = _SIZE.fullmatch(size)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not found or not model.least <= width * height <= model.most:
        words = f"The parameter `size` specified in the request is not valid: image size must be at least {model.least}"
        raise Refusal("InvalidParameter", f"{words} and at most {model.most} pixels.")
    if max(width, height) > _MOST_RATIO * min(width, height):
        raise Refusal("InvalidParameter", "The parameter `size` is not valid: the aspect ratio is out of range.")
    return width, height


def _references(image: object, model: Model) -> tuple[str, ...]:
    listed = cast("list[object]", image if isinstance(image, list) else [] if image is None else [image])
    if len(listed) > model.references:
        raise Refusal("InvalidParameter", f"The parameter `image` has more than {model.references} images.")
    for value in listed:
        if not isinstance(value, str) or not value:
            raise Refusal("InvalidImageURL.EmptyURL", "The image URL is empty.")
        if not value.startswith(("http://", "https://", "data:image/")):
            raise Refusal("InvalidImageURL.InvalidFormat", "The image is neither a URL nor a data URI.")
    return tuple(cast("list[str]", listed))
