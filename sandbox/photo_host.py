"""Web server of a shop: the bundled photos, for inputs that are given to the API as URLs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

__all__ = ["create_app"]

_PHOTOS: Final = Path(__file__).parent / "photos"


def create_app() -> Starlette:
    """Create the web server as an ASGI app: `GET /portrait.jpg`."""
    return Starlette(routes=[Mount("/", StaticFiles(directory=_PHOTOS))])
