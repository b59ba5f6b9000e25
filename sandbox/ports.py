"""Ports of the servers of a sandbox, kept in its folder: after a restart its clients still find it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sandbox.whole_files import write_whole

__all__ = ["KeptPorts"]


class KeptPorts:
    """Ports by the name of their server. A port that another program has taken meanwhile is replaced.

    Args:
        path: file that keeps them; created if need be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._ports = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.MsgspecError):
            self._ports = {}

    def of(self, name: str) -> int:
        """Return the port that a server had last; 0 for none."""
        return self._ports.get(name, 0)

    def keep(self, name: str, port: int) -> None:
        """Keep the port of a server."""
        if self._ports.get(name) != port:
            self._ports[name] = port
            write_whole(self._path, msgspec.json.encode(self._ports))
