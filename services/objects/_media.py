"""Requests to CI's media jobs. Pure.

Sources: Tencent CI, "Submitting transcoding job" (document 436/85032: up to three watermarks) and "Creating watermark
template" (436/84985: places, times, sizes). The font `simhei.ttf` has Chinese and Latin letters.
Width, height, frame rate and sound stay as they are where the job does not name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.objects.port import VideoLabel

__all__ = ["label_job"]

_FONT: Final = "simhei.ttf"
_CRF: Final = "20"
_BLACK: Final = "0x000000"
_WHITE: Final = "0xFFFFFF"


def label_job(key: str, output: Mapping[str, str], label: VideoLabel) -> dict[str, Any]:
    """Return the body of a job that draws words over a video.

    White letters over a dark copy, which makes them readable on any ground.

    Args:
        key: the video.
        output: region, bucket and key of the result.
        label: the words.
    """
    margin, edge = label.letters // 2, max(1, label.letters // 16)
    return {
        "Tag": "Transcode",
        "Input": {"Object": key},
        "Operation": {
            "Transcode": {
                "Container": {"Format": "mp4"},
                "Video": {"Codec": "H.264", "Profile": "high", "Crf": _CRF},
                "Audio": {"Codec": "aac"},
            },
            "Watermark": [_words(label, margin + edge, _BLACK), _words(label, margin, _WHITE)],
            "Output": dict(output),
        },
    }


def _words(label: VideoLabel, offset: int, color: str) -> dict[str, Any]:
    return {
        "Type": "Text",
        "Pos": "TopLeft",
        "LocMode": "Absolute",
        "Dx": str(offset),
        "Dy": str(offset),
        "StartTime": "0",
        "EndTime": f"{label.seconds:g}",
        "Text": {
            "Text": label.text,
            "FontSize": str(label.letters),
            "FontType": _FONT,
            "FontColor": color,
            "Transparency": "100",
        },
    }
