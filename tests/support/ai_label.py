"""An independent reader of metadata labels: Pillow finds the XMP packet, an XML parser the label;
FFmpeg's libraries that of a video.
"""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree as ET

import av
from PIL import Image

_NAME = "{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"


def label_in(body: bytes) -> dict[str, str]:
    """The label of a picture or video; empty for none."""
    if body[4:8] == b"ftyp":
        with av.open(io.BytesIO(body)) as video:
            written: dict[str, str] = json.loads(video.metadata.get("AIGC", "{}"))
            return written
    with Image.open(io.BytesIO(body)) as picture:
        packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp", b"")
    text = packet.decode() if isinstance(packet, bytes) else packet
    if not text:
        return {}
    inner = text[text.index("<x:xmpmeta") : text.index("</x:xmpmeta>") + len("</x:xmpmeta>")]
    found = [node.text if node.tag == _NAME else node.get(_NAME) for node in ET.fromstring(inner).iter()]  # noqa: S314
    label: dict[str, str] = json.loads(next(filter(None, found), "{}"))
    return label
