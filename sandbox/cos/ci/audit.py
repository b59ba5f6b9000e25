"""Verdicts of the content audit, by rules that a test or a demo sets.

Source: Tencent CI, "Image auditing" (document 460/37318): Result 0 normal, 1 violation, 2 suspected; scores up to 60
are normal, 61 to 90 suspected, above that a violation; above 5 MB a picture needs large-image-detect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.cos.ci.pictures import Examined

__all__ = ["LARGE_IMAGE_BYTES", "AuditRules", "Verdict", "judge", "judge_colours", "judge_text"]

LARGE_IMAGE_BYTES = 5 << 20
"""Larger pictures need large-image-detect."""

_TOLERANCE = 12


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of the audit."""

    result: int
    """0 normal, 1 violation, 2 suspected."""
    label: str
    score: int


@dataclass(slots=True)
class AuditRules:
    """Rules of the audit.

    Words are searched case-insensitively, in the key and the user metadata of a picture or video, or in a text.
    """

    violating_words: tuple[str, ...] = ("violation",)
    suspect_words: tuple[str, ...] = ("suspect",)
    violating_etags: set[str] = field(default_factory=set[str])
    """Without quotes."""
    violating_colour: str = ""
    """A mean colour such as `0xff00ff`, matched within 12 in each channel; empty for none."""
    label: str = "Porn"
    video_s: float = 0.5
    """Seconds that the audit of a video takes."""
    video_failures: int = 0
    """Next audits of videos that fail, and so have no finding."""
    label_s: float = 0.5
    """Seconds that a transcoding takes."""
    label_failures: int = 0
    """Next transcodings that fail."""


def judge(rules: AuditRules, *, key: str, etag: str, headers: Mapping[str, str], picture: Examined) -> Verdict:
    """Return the verdict on one stored picture."""
    return judge_colours(rules, key=key, etag=etag, headers=headers, colours=(picture.average,))


def judge_colours(
    rules: AuditRules, *, key: str, etag: str, headers: Mapping[str, str], colours: Sequence[str]
) -> Verdict:
    """Return the verdict on a stored object by the mean colours of its picture."""
    meta = (value for name, value in headers.items() if name.startswith("x-cos-meta-"))
    text = "\n".join((key, *meta))
    violates = etag in rules.violating_etags or (
        rules.violating_colour and any(_near(rules.violating_colour, colour) for colour in colours)
    )
    return Verdict(1, rules.label, 95) if violates else judge_text(rules, text)


def judge_text(rules: AuditRules, text: str) -> Verdict:
    """Return the verdict on a text."""
    text = text.lower()
    if any(word.lower() in text for word in rules.violating_words):
        return Verdict(1, rules.label, 95)
    if any(word.lower() in text for word in rules.suspect_words):
        return Verdict(2, rules.label, 75)
    return Verdict(0, "Normal", 0)


def _near(colour: str, other: str) -> bool:
    return all(
        abs(ours - theirs) <= _TOLERANCE for ours, theirs in zip(_channels(colour), _channels(other), strict=True)
    )


def _channels(colour: str) -> bytes:
    return bytes.fromhex(colour.removeprefix("0x").zfill(6))
