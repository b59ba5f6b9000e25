"""The drawing of the media service's stand-in, for stores in memory."""

from __future__ import annotations

import io

from sandbox.cos.ci.media_jobs import TimedText, draw_texts
from sandbox.cos.ci.watermarks import Watermark
from sandbox.video import NoVideo
from services.errors import BadVideo
from services.objects.port import VideoLabel


def labelled(body: bytes, label: VideoLabel) -> bytes:
    """A video with words over its first seconds, and without its metadata."""
    mark = Watermark(text=label.text, size=label.letters, fill="#FFFFFF", dissolve=100, gravity="northwest", dx=4, dy=4)
    try:
        return draw_texts(io.BytesIO(body), (TimedText(mark, 0.0, label.seconds),))
    except NoVideo as error:
        raise BadVideo(str(error)) from error
