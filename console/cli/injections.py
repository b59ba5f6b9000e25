"""Injected faults of a demo, by name: each is armed in a stand-in before the first task is sold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from console.cli.arguments import BadUsage
from sandbox.environment import Sandbox

__all__ = ["INJECTIONS", "Injected", "Injection", "read_injections"]

_LONGEST_S: Final = 600.0
_ALWAYS: Final = 1_000_000
"""Times of a fault that lasts as long as the demo."""


class Injection(NamedTuple):
    """An injected fault of a demo."""

    help: str
    arm: Callable[[Sandbox, float], None]
    """Arms the fault; the number is its duration in seconds, if it has one."""
    seconds: float = 0.0
    """Default duration in seconds; 0 if it lasts as long as the demo."""


class Injected(NamedTuple):
    """A requested fault of a demo."""

    name: str
    seconds: float

    def arm(self, sandbox: Sandbox) -> None:
        """Arm the fault."""
        INJECTIONS[self.name].arm(sandbox, self.seconds)


def _files_down(sandbox: Sandbox, seconds: float) -> None:
    sandbox.arm("runninghub", {"on": "file", "kind": "error", "status": 503, "seconds": seconds})


def _audit_block(sandbox: Sandbox, _: float) -> None:
    sandbox.set_audit({"violating_words": ["/input_"]})


def _prompt_down(sandbox: Sandbox, _: float) -> None:
    sandbox.arm("tokenhub", {"kind": "error", "code": "502001", "times": _ALWAYS})


INJECTIONS: Final[Mapping[str, Injection]] = {
    "audit-block": Injection(
        "the audit finds a violation in every cleaned input: failed, and nothing paid", _audit_block
    ),
    "files-down": Injection(
        "the vendor's files answer 503 from the first download on: success, only later", _files_down, 60.0
    ),
    "prompt-down": Injection(
        "the chat model answers 502: success with the template as the prompt, and `degraded` says so", _prompt_down
    ),
}
"""Name -> fault."""


def read_injections(values: Sequence[str]) -> tuple[Injected, ...]:
    """Parse requests of the form `NAME` or `NAME:SECONDS`.

    Raises:
        BadUsage: an unknown name, or invalid seconds.
    """
    return tuple(map(_read, values))


def _read(value: str) -> Injected:
    name, _, duration = value.partition(":")
    injection = INJECTIONS.get(name)
    if injection is None:
        known = "\n".join(f"  {name}  {one.help}" for name, one in INJECTIONS.items())
        raise BadUsage(f"--inject knows:\n{known}")
    try:
        seconds = float(duration) if duration else injection.seconds
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_S or (duration and not injection.seconds):
        raise BadUsage(
            f"--inject {name} takes seconds, at most {_LONGEST_S:g}"
            if injection.seconds
            else f"--inject {name} takes no seconds"
        )
    return Injected(name, seconds)
