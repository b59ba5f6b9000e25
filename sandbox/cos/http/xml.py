"""The subset of XML that COS needs, parsed and rendered.

A node is a text, a number, or a sequence of (name, node) pairs; a repeated name makes a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from sandbox.cos.errors import Refused

__all__ = ["Element", "Node", "parse", "render", "text_of"]

Element: TypeAlias = ET.Element
"""Element of a parsed document."""

Node: TypeAlias = "str | int | Sequence[tuple[str, Node]]"
"""Document to be rendered."""

_QUOTES = {'"': "&quot;"}


def render(name: str, node: Node) -> bytes:
    """Render a document with the root element `name`."""
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + _render(name, node).encode()


def _render(name: str, node: Node) -> str:
    if isinstance(node, str | int):
        return f"<{name}>{escape(str(node), _QUOTES)}</{name}>"
    return f"<{name}>{''.join(_render(child, value) for child, value in node)}</{name}>"


def parse(body: bytes, root: str) -> Element:
    """Parse a request's document and return its root element.

    Raises:
        Refused: 400 MalformedXML: no document, another root, or a declaration.
    """
    if b"<!" in body:
        raise Refused(400, "MalformedXML", "Declarations are not taken.")
    try:
        element = ET.fromstring(body)  # noqa: S314 - declarations, and thus entities, were refused above
    except ET.ParseError as error:
        raise Refused(400, "MalformedXML", "The XML you provided was not well-formed.") from error
    if element.tag != root:
        raise Refused(400, "MalformedXML", f"The root element must be {root}.")
    return element


def text_of(element: Element, name: str) -> str:
    """Return the text of a child; empty if there is no such child or it is empty."""
    return (element.findtext(name) or "").strip()
