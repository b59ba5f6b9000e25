"""State of the stand-in, without any I/O: keys, charges, links to results, faults."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.ark.model import Fault, ImageRequest, KeyLimits, Model, Refusal
from sandbox.armed import ArmedFaults

__all__ = ["Core", "Drawing"]

_MINUTE: Final = 60.0
_PIXELS_A_TOKEN: Final = 256
"""16280 tokens of a picture of 1760x2368 (docs/reference/ark.md)."""


@dataclass(kw_only=True)
class Drawing:
    """An accepted request, which is charged."""

    number: int
    key: str
    wanted: ImageRequest
    references: tuple[str, ...]
    """Paths of the reference pictures."""
    created: float
    duration: float
    pictures: int = 1

    @property
    def tokens(self) -> int:
        """Tokens that the vendor counts."""
        width, height = self.wanted.size
        return self.pictures * width * height // _PIXELS_A_TOKEN


class Core:
    """Keys, drawings and faults.

    Args:
        api_keys: key -> its limits.
        models: models and endpoints of every account.
        clock: seconds, for limits by the minute and lives of links.
        duration_s: seconds that a picture takes, varied by up to a fifth.
        url_ttl_s: seconds until the link to a result expires.
        seed: the same seed and calls give the same durations, links and pictures.
    """

    def __init__(
        self,
        *,
        api_keys: Mapping[str, KeyLimits],
        models: Mapping[str, Model],
        clock: Callable[[], float],
        duration_s: float,
        url_ttl_s: float,
        seed: int,
    ) -> None:
        self.clock: Final = clock
        self.models: Final = models
        self.seed: Final = seed
        self.faults: Final = ArmedFaults[Fault](clock)
        self._keys = api_keys
        self._duration = duration_s
        self._ttl = url_ttl_s
        self._drawings: list[Drawing] = []
        self._latest: dict[tuple[str, str], deque[float]] = {}
        self._tokens: dict[str, tuple[Drawing, int]] = {}
        self._counts: dict[str, int] = dict.fromkeys(("creates", "keys", "refused", "references", "files"), 0)

    def arm(self, fault: Fault) -> None:
        """Arm a fault; callable from any thread."""
        self.faults.arm(fault)

    def disarm(self) -> None:
        """Disarm all faults."""
        self.faults.clear()

    def knows(self, key: str) -> bool:
        """Return True for a valid key."""
        return key in self._keys

    def count(self, what: str) -> None:
        """Count for the statistics."""
        self._counts[what] += 1

    def check_rate(self, key: str, model: str) -> None:
        """Check that a key may have another picture of a model in this minute.

        Raises:
            Refusal: it may not.
        """
        latest, now = self._latest.setdefault((key, model), deque()), self.clock()
        while latest and latest[0] <= now - _MINUTE:
            latest.popleft()
        if len(latest) >= self._keys[key].per_minute:
            words = "The images-per-minute (IPM) limit of the model is exceeded."
            raise Refusal("ModelAccountIpmRateLimitExceeded", words, latest[0] + _MINUTE - now)

    def accept(self, key: str, wanted: ImageRequest, references: tuple[str, ...], pictures: int = 1) -> Drawing:
        """Accept a request: from here on it is charged, whether the caller waits for the picture or not."""
        number, now = len(self._drawings) + 1, self.clock()
        share = random.Random(f"{self.seed} {number}").uniform(0.8, 1.2)  # noqa: S311 - no secret, and repeatable
        drawing = Drawing(
            number=number,
            key=key,
            wanted=wanted,
            references=references,
            created=now,
            duration=self._duration * share,
            pictures=pictures,
        )
        self._drawings.append(drawing)
        self._latest.setdefault((key, wanted.model), deque()).append(now)
        return drawing

    def link(self, drawing: Drawing, index: int, base_url: str) -> str:
        """Return the link to a picture, which answers GET alone and expires."""
        token = hashlib.sha256(f"{self.seed} {drawing.number} {index}".encode()).hexdigest()[:32]
        self._tokens[token] = (drawing, index)
        date = str(int(self.clock() * 1000))
        query = f"X-Tos-Date={date}&X-Tos-Expires={self._ttl:g}&X-Tos-Signature={self._sign(token, date)}"
        return f"{base_url}/{drawing.wanted.model}/{token}.{drawing.wanted.format}?{query}"

    def file(self, method: str, token: str, date: str, signature: str) -> tuple[Drawing, int]:
        """Return the drawing and the number of the picture that a link names.

        Raises:
            KeyError: the link names no picture.
            PermissionError: another method than GET, a wrong signature, or an expired link.
        """
        found = self._tokens[token]
        if method != "GET" or not hmac.compare_digest(signature, self._sign(token, date)):
            raise PermissionError("SignatureDoesNotMatch")
        if int(date) + self._ttl * 1000 < self.clock() * 1000:
            raise PermissionError("AccessDenied")
        self.count("files")
        return found

    def stats(self) -> dict[str, Any]:
        """Return counts, and every request ever accepted, which is every paid one."""
        pictures = [
            {
                "number": drawing.number,
                "model": drawing.wanted.model,
                "prompt": drawing.wanted.prompt,
                "size": "x".join(map(str, drawing.wanted.size)),
                "references": len(drawing.references),
                "watermark": drawing.wanted.watermark,
                "format": drawing.wanted.format,
                "created": drawing.created,
                "charged": drawing.pictures,
            }
            for drawing in list(self._drawings)
        ]
        return {**self._counts, "charged": sum(drawing.pictures for drawing in self._drawings), "pictures": pictures}

    def _sign(self, token: str, date: str) -> str:
        return hmac.new(f"stand-in {self.seed}".encode(), f"GET {token} {date}".encode(), hashlib.sha256).hexdigest()
