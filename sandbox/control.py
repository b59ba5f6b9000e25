"""The interface for tests of a vendor's stand-in: faults that it arms, and its counts."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["Controlled", "control_routes"]

F_contra = TypeVar("F_contra", contravariant=True)
T = TypeVar("T")


class Controlled(Protocol[F_contra]):
    """State of a stand-in that arms faults and counts."""

    def arm(self, fault: F_contra) -> None:
        """Arm a fault."""
        ...

    def disarm(self) -> None:
        """Disarm all faults."""
        ...

    def stats(self) -> dict[str, Any]:
        """Return the counts."""
        ...


def control_routes(core: Controlled[T], fault: type[T]) -> list[Route]:
    """Return the routes `/_sandbox/faults` (POST arms one, DELETE disarms all) and `/_sandbox/stats`.

    Args:
        core: state of the stand-in.
        fault: shape of its faults.
    """

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            core.disarm()
            return Response(status_code=204)
        try:
            core.arm(msgspec.json.decode(await request.body(), type=fault))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _json({"error": str(error)}, 422)
        return Response(status_code=204)

    async def stats(_: Request) -> Response:
        return _json(core.stats())

    return [
        Route("/_sandbox/faults", faults, methods=["POST", "DELETE"]),
        Route("/_sandbox/stats", stats),
    ]


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
