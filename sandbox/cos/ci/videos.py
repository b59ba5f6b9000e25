"""Videos as CI sees them: facts of a stored file, a still of it, and the verdict of the audit. The calls block."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from sandbox.cos.ci.audit import AuditRules, Verdict, judge_colours
from sandbox.cos.errors import BadPicture
from sandbox.video import NoVideo, Probe, frame_at, probe, tags_of

__all__ = ["MediaJob", "VideoJob", "describe", "judge_video", "label_of", "still"]

_LOOKS: Final = (0.0, 0.5, 0.95)
"""Shares of a video's length at which the audit takes its frames."""


@dataclass(slots=True)
class VideoJob:
    """Audit of a video."""

    id: str
    bucket: str
    key: str
    created: float
    ends: float
    """When it has its finding, by the store's clock."""
    data_id: str
    verdict: Verdict | None
    """None for a job that fails."""

    def state(self, now: float) -> str:
        """Return its state at a time."""
        if now < self.created + (self.ends - self.created) / 3:
            return "Submitted"
        if now < self.ends:
            return "Auditing"
        return "Failed" if self.verdict is None else "Success"


@dataclass(frozen=True, slots=True)
class MediaJob:
    """Transcoding of a video."""

    id: str
    bucket: str
    key: str
    target: str
    """Key of the result."""
    created: float
    ends: float
    """When it says that it has ended, by the store's clock."""
    failed: bool = False

    def state(self, now: float) -> str:
        """Return its state at a time."""
        if now < self.created + (self.ends - self.created) / 3:
            return "Submitted"
        if now < self.ends:
            return "Running"
        return "Failed" if self.failed else "Success"


def describe(file: BinaryIO) -> Probe:
    """Return the facts of a stored file, and close it.

    Raises:
        BadPicture: it is no video.
    """
    with file:
        try:
            return probe(file)
        except NoVideo as error:
            raise BadPicture(str(error), "InvalidVideoFormat") from error


def label_of(file: BinaryIO) -> dict[str, str]:
    """Return the metadata label of AI-made content of a stored file, empty for none, and close it.

    Raises:
        BadPicture: it is no video.
    """
    with file:
        try:
            label: object = json.loads(tags_of(file).get("AIGC", "{}"))
        except NoVideo as error:
            raise BadPicture(str(error), "InvalidVideoFormat") from error
        except ValueError:
            return {}
    return {str(name): str(value) for name, value in label.items()} if isinstance(label, dict) else {}


def still(file: BinaryIO, at_s: float, size: tuple[int, int], image_format: str) -> bytes:
    """Return the picture of a time, and close the file.

    Args:
        file: the stored video.
        at_s: seconds from the beginning.
        size: width and height in pixels; 0 for the video's own, or to keep its shape.
        image_format: jpg or png.

    Raises:
        BadPicture: it is no video.
    """
    with file:
        try:
            picture = frame_at(file, at_s)
        except NoVideo as error:
            raise BadPicture(str(error), "InvalidVideoFormat") from error
    width, height = size
    if width or height:
        width = width or round(picture.width * height / picture.height)
        picture = picture.resize((width, height or round(picture.height * width / picture.width)))
    out = io.BytesIO()
    picture.save(out, "PNG" if image_format == "png" else "JPEG", quality=90)
    return out.getvalue()


def judge_video(
    file: BinaryIO, rules: AuditRules, *, key: str, etag: str, headers: Mapping[str, str]
) -> Verdict | None:
    """Return the verdict on a video by its name and a few of its frames, and close the file; None for no video."""
    with file:
        try:
            seconds = probe(file).seconds
            colours = [_colour(file, share * seconds) for share in _LOOKS]
        except NoVideo:
            return None
    return judge_colours(rules, key=key, etag=etag, headers=headers, colours=colours)


def _colour(file: BinaryIO, at_s: float) -> str:
    file.seek(0)
    red, green, blue = frame_at(file, at_s).resize((1, 1)).convert("RGB").tobytes()
    return f"0x{red:02x}{green:02x}{blue:02x}"
