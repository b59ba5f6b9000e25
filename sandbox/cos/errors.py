"""Errors of the COS stand-in.

    CosStandInError
    ├── BadPicture         not a picture the picture service can process, or beyond its limits
    ├── UnknownOperation   a picture rule the stand-in does not know: refused, never silently ignored
    └── Refused            an answer with an error status and COS's four-element error body

The stand-in stands outside the product, so these do not descend from the product's tree.
"""

from __future__ import annotations

__all__ = ["BadPicture", "CosStandInError", "Refused", "UnknownOperation"]


class CosStandInError(Exception):
    """Root of the stand-in's errors."""


class BadPicture(CosStandInError):
    """Not a picture the picture service can process, or beyond its limits.

    Args:
        reason: what is wrong with it.
        code: of the picture service (CI, "Error Codes").
    """

    def __init__(self, reason: str, code: str = "InvalidImageFormat") -> None:
        super().__init__(reason)
        self.code = code


class UnknownOperation(CosStandInError):
    """A picture rule the stand-in does not know."""


class Refused(CosStandInError):
    """An error answer of COS.

    Args:
        status: the HTTP status.
        code: COS's error code, such as `NoSuchKey`.
        message: COS's sentence.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
