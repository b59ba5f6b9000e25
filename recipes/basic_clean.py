"""Basic retouching: background removal, size, format and compression, all done by the picture service.

Pixels never pass through the worker; each input becomes one `result_NN`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from recipes.recipe import BadParameters, Params, Plan, Recipe

__all__ = ["BASIC_CLEAN", "Background", "BasicCleanParams", "Format"]

Format = Literal["", "jpg", "png", "webp"]
Background = Literal["keep", "goods", "portrait", "general"]

_MATTING: Final[dict[str, str]] = {
    "goods": "ci-process=GoodsMatting",
    "portrait": "ci-process=AIPortraitMatting",
    "general": "ci-process=AIPicMatting",
}


_KEPT_AS: Final[dict[str, str]] = {"jpeg": "jpg", "jfif": "jpg", "bmp": "png"}
"""Extension of an input -> format of a result that keeps it; a BMP keeps its pixels."""


class BasicCleanParams(Params, frozen=True):
    """Parameters of `basic_clean`."""

    format: Format = ""
    """Format of the result; empty keeps the input's (png for bmp), or png if the background is removed."""
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 85
    """Compression quality of jpg and webp."""
    max_side: Annotated[int, msgspec.Meta(ge=64, le=10_000)] = 4096
    """Longest side in pixels; larger pictures are scaled down, smaller ones stay as they are."""
    background: Background = "keep"
    """Subject to cut out of the background; `keep` cuts out nothing."""


def _clean(params: BasicCleanParams, extension: str) -> Plan:
    cut = params.background != "keep"
    source = extension.lower()
    target = params.format or ("png" if cut else _KEPT_AS.get(source, source))
    if cut and target == "jpg":
        raise BadParameters("parameters of basic_clean: `format` must be png or webp when `background` is removed")
    shape = f"imageMogr2/auto-orient/thumbnail/{params.max_side}x{params.max_side}>"
    finish = f"/format/{target}" + ("" if target == "png" else f"/quality/{params.quality}") + "/strip"
    if not cut:
        return Plan((shape + finish,), target)
    return Plan((f"{shape}/format/png", _MATTING[params.background], f"imageMogr2{finish}"), target)


BASIC_CLEAN: Final = Recipe(
    kind="basic_clean",
    params=BasicCleanParams,
    deadline_s=600,
    most_inputs=12,
    clean=_clean,
)
"""The recipe."""
