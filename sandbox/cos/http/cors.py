"""Requests of pages of other origins (CORS): the headers by which a bucket's rules allow one. Pure.

Source: Tencent COS, "OPTIONS Object" (document 436/8288), "PUT Bucket cors" (436/8279). Undocumented, so chosen here:
the first rule that fits counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sandbox.cos.http.xml import Element, parse, text_of

__all__ = ["allowing_headers"]


def allowing_headers(document: bytes, origin: str, method: str, names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return the headers of an answer that let a page of another origin make a request; empty if no rule allows it.

    Args:
        document: the bucket's CORS rules, as they are stored.
        origin: of the page.
        method: of the request.
        names: its headers that must be allowed, as a preflight lists them.
    """
    root = parse(document, "CORSConfiguration")
    for rule in root.findall("CORSRule"):
        allowed = [pattern for pattern in _texts(rule, "AllowedOrigin") if _fits(pattern, origin)]
        known = list(_texts(rule, "AllowedHeader"))
        has_all = all(any(_fits(pattern.lower(), name.lower()) for pattern in known) for name in names)
        if allowed and method in _texts(rule, "AllowedMethod") and has_all:
            return list(_headers(rule, "*" if "*" in allowed else origin, names, vary=text_of(root, "ResponseVary")))
    return []


def _headers(rule: Element, origin: str, names: Sequence[str], *, vary: str) -> Iterator[tuple[str, str]]:
    yield "Access-Control-Allow-Origin", origin
    yield "Access-Control-Allow-Methods", ",".join(_texts(rule, "AllowedMethod"))
    if names:
        yield "Access-Control-Allow-Headers", ",".join(names)
    if exposed := ",".join(_texts(rule, "ExposeHeader")):
        yield "Access-Control-Expose-Headers", exposed
    if age := text_of(rule, "MaxAgeSeconds"):
        yield "Access-Control-Max-Age", age
    if vary == "true":
        yield "Vary", "Origin"


def _texts(rule: Element, name: str) -> Iterator[str]:
    return ((element.text or "").strip() for element in rule.findall(name))


def _fits(pattern: str, text: str) -> bool:
    """Return True if a text has the form of a pattern, in which one `*` stands for any characters."""
    before, star, after = pattern.partition("*")
    if not star:
        return text == pattern
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)
