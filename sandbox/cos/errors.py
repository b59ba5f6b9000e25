"""Errors of the COS stand-in.

    CosStandInError
    ├── BadPicture         not a picture, or over the limits of the picture service
    ├── UnknownOperation   a picture rule that the stand-in does not know: refused, never ignored
    └── Refused            an answer with an error status and COS's four-element error body

The stand-in is not part of the product, so these do not descend from the product's tree.
"""

from __future__ import annotations

__all__ = ["BadPicture", "CosStandInError", "Refused", "UnknownOperation"]


class CosStandInError(Exception):
    """Root of the stand-in's errors."""


class BadPicture(CosStandInError):
    """Not a picture, or over the limits of the picture service.

    Args:
        reason: the fault.
        code: code of the picture service (CI, "Error Codes").
    """

    def __init__(self, reason: str, code: str = "InvalidImageFormat") -> None:
        super().__init__(reason)
        self.code = code


class UnknownOperation(CosStandInError):
    """A picture rule that the stand-in does not know."""


class Refused(CosStandInError):
    """Error answer of COS.

    Args:
        status: the HTTP status.
        code: COS's error code, such as `NoSuchKey`.
        message: COS's text.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
