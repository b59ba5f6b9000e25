from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import telemetry, telemetry.events, telemetry.fields, telemetry.instruments, telemetry.logs, telemetry.metrics
import telemetry.exporters, telemetry.points, telemetry.redaction, telemetry.secrets, telemetry.sending
import telemetry.trace_file, telemetry.tracing
foreign = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"telemetry", "__main__"}
print(*sorted(name for name in foreign if not name.startswith("_")))
"""


def test_telemetry_needs_the_standard_library_only() -> None:
    # -S leaves out site-packages and their start-up files, so every import is telemetry's own.
    done = subprocess.run([sys.executable, "-S", "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
