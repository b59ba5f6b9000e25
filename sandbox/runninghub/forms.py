"""Parser for `multipart/form-data` read as a whole: enough for one file and a few fields, without another library."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["Part", "boundary_of", "parse_form"]

_BOUNDARY: Final = re.compile(r'multipart/form-data;.*boundary="?([^";,]{1,70})"?', re.IGNORECASE)
_NAME: Final = re.compile(r'(?:^|[;\s])name="([^"]*)"')
_FILENAME: Final = re.compile(r'filename="([^"]*)"')


class Part(NamedTuple):
    """Part of a form; `filename` is empty for a plain field."""

    name: str
    filename: str
    body: bytes


def boundary_of(content_type: str) -> str:
    """Return the boundary in a Content-Type; empty if it is no form."""
    found = _BOUNDARY.match(content_type)
    return found.group(1).strip() if found else ""


def parse_form(body: bytes, boundary: str) -> list[Part] | None:
    """Return the parts of a form (RFC 7578); None if the body is not a complete form."""
    mark = b"--" + boundary.encode("ascii", "replace")
    sections = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(sections) < 2 or sections[0].strip() or not sections[-1].startswith(b"--"):  # noqa: PLR2004 - preamble and end
        return None
    parts: list[Part] = []
    for section in sections[1:-1]:
        head, gap, content = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        disposition = next((x for x in head.decode("utf-8", "replace").splitlines() if "form-data" in x), "")
        name = _NAME.search(disposition)
        if not gap or name is None:
            return None
        filename = _FILENAME.search(disposition)
        parts.append(Part(name.group(1), filename.group(1) if filename else "", content))
    return parts
