"""Spans in a local file, one line of JSON each, for `scf-workers trace`. For development machines.

The file grows without bound. Several processes may append to it; each line is one write, so lines never mix.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, final

from telemetry import logs
from telemetry.events import Event
from telemetry.printable import json_safe
from telemetry.tracing import Finished

__all__ = ["TraceFile"]

_MODE: Final = 0o600

log = logs.get(__name__)


@final
class TraceFile:
    """Appends spans to a file.

    Args:
        path: the file; created if need be.
        service: name of the function or process.

    Raises:
        OSError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path, service: str) -> None:
        self._service = service
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _MODE)

    def ended(self, span: Finished) -> None:
        """Write one line. If it cannot be written, it is lost, and the loss is logged."""
        try:
            os.write(self._file, _line(span, self._service))
        except OSError as error:
            log.warning(Event.TELEMETRY_LOST, error=error, spans=1)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _line(span: Finished, service: str) -> bytes:
    row: dict[str, Any] = {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent": span.parent_id,
        "name": span.name,
        "service": service,
        "kind": span.kind,
        "start": span.start_ns / 1e9,
        "duration": span.duration_ns / 1e9,
        "failed": span.failed,
        "link": span.link,
        "attributes": dict(span.attributes),
    }
    text = json_safe(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    return text.encode("utf-8", "backslashreplace") + b"\n"
