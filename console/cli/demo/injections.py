"""Injected faults of a demo, by name: each is armed in the stand-ins before the first task is sold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from console.cli.arguments import BadUsage
from sandbox.environment import VENDORS, Sandbox

__all__ = ["HELP", "INJECTIONS", "Injected", "Injection", "describe_injections", "read_injections"]

HELP: Final = "help"
"""The name that asks for the list."""

_LONGEST_S: Final = 600.0
_LOOK_AT_THE_KEY: Final = 1
"""Lists of VOD that a process asks for before its first paid call."""
_ALWAYS: Final = 1_000_000
"""Times of a fault that lasts as long as the demo."""


def _nothing(_: Sandbox, __: float) -> None:
    pass


class Injection(NamedTuple):
    """An injected fault of a demo."""

    help: str
    arm: Callable[[Sandbox, float], None] = _nothing
    """Arms the fault; the number is its duration in seconds, if it has one."""
    seconds: float = 0.0
    """Default duration in seconds; 0 if it lasts as long as the demo."""
    kind: str = ""
    """Kind of work that shows it, where the command names none; empty for the demo's default."""
    params: Mapping[str, Any] = MappingProxyType({})
    """Parameters of that kind."""
    environ: Mapping[str, str] = MappingProxyType({})
    """Settings of the product that shorten the wait for its end."""
    vendor_s: float = 0.0
    """Duration of a vendor's job; 0 for the demo's default."""
    more_s: float = 0.0
    """Seconds that the demo may take longer."""
    kills_workers: bool = False
    """True if the worker processes are killed after the paid calls of a task are answered, and replaced."""


class Injected(NamedTuple):
    """A requested fault of a demo."""

    name: str
    seconds: float

    @property
    def injection(self) -> Injection:
        """The fault."""
        return INJECTIONS[self.name]

    def arm(self, sandbox: Sandbox) -> None:
        """Arm the fault."""
        self.injection.arm(sandbox, self.seconds)


def _files_down(sandbox: Sandbox, seconds: float) -> None:
    for vendor in VENDORS:
        sandbox.arm(vendor, {"on": "file", "kind": "error", "status": 503, "seconds": seconds})


def _audit_block(sandbox: Sandbox, _: float) -> None:
    sandbox.set_audit({"violating_words": ["/input_"]})


def _prompt_down(sandbox: Sandbox, _: float) -> None:
    sandbox.arm("tokenhub", {"kind": "error", "code": "502001", "times": _ALWAYS})


def _audit_down(sandbox: Sandbox, _: float) -> None:
    sandbox.arm("cos", {"kind": "unavailable", "method": "POST", "key": "auditing", "times": 4})


def _backend_down(sandbox: Sandbox, _: float) -> None:
    sandbox.arm("backend", {"on": "callback", "kind": "answer", "status": 503, "times": 2})


def _duplicate_events(sandbox: Sandbox, _: float) -> None:
    sandbox.arm("cos", {"kind": "duplicate_event", "times": _ALWAYS})


def _vendor_busy(sandbox: Sandbox, seconds: float) -> None:
    sandbox.arm("runninghub", {"on": "create", "code": "421", "seconds": seconds})
    sandbox.arm("ark", {"on": "create", "code": "ModelAccountIpmRateLimitExceeded", "seconds": seconds})
    sandbox.arm("vod", {"on": "create", "code": "RequestLimitExceeded", "seconds": seconds})


def _vendor_cut(sandbox: Sandbox, _: float) -> None:
    for vendor in VENDORS:
        sandbox.arm(vendor, {"on": "create", "kind": "cut", "accepted": True})


def _vendor_duplicate(sandbox: Sandbox, _: float) -> None:
    _vendor_cut(sandbox, 0.0)
    sandbox.arm("vod", {"on": "list", "kind": "lags", "times": _LOOK_AT_THE_KEY + 1})


def _vendor_list_lags(sandbox: Sandbox, _: float) -> None:
    _vendor_cut(sandbox, 0.0)
    sandbox.arm("vod", {"on": "list", "kind": "lags", "times": _LOOK_AT_THE_KEY + 3})


def _vendor_fail(sandbox: Sandbox, _: float) -> None:
    sandbox.arm("runninghub", {"on": "job", "kind": "fail", "times": _ALWAYS})
    sandbox.arm("ark", {"on": "create", "code": "InvalidParameter", "times": _ALWAYS})
    sandbox.arm("vod", {"on": "create", "kind": "job_fails", "code": "ModelGenerateFailed", "times": _ALWAYS})


def _slot_fails(sandbox: Sandbox, _: float) -> None:
    sandbox.arm("ark", {"on": "create", "code": "OutputImageSensitiveContentDetected"})


_FOUR: Final = MappingProxyType({"count": 4})

INJECTIONS: Final[Mapping[str, Injection]] = {
    "audit-block": Injection(
        "the audit finds a violation in every cleaned input: failed, and nothing paid", _audit_block
    ),
    "audit-down": Injection("the audit answers 503 at first: success, only later", _audit_down, more_s=120.0),
    "backend-down": Injection("the backend answers 503 to two callbacks: success, delivered later", _backend_down),
    "duplicate-events": Injection("every upload's event comes twice: success, paid once", _duplicate_events),
    "files-down": Injection(
        "the vendor's files answer 503 from the first download on: success, only later", _files_down, 60.0
    ),
    "prompt-down": Injection(
        "the chat model answers 502: success with the template as the prompt, and `degraded` says so",
        _prompt_down,
        kind="photography",
        more_s=180.0,
    ),
    "slot-fails": Injection(
        "one of four pictures is refused: success with three, `degraded` says so",
        _slot_fails,
        kind="photography",
        params=_FOUR,
    ),
    "vendor-busy": Injection("the vendor is full at first: success, only later", _vendor_busy, 10.0),
    "vendor-cut": Injection(
        "the answer to a paid call is lost: of photography one of four pictures stays unknown, success with three after"
        " minutes; of fitting the job is found, success at once",
        _vendor_cut,
        kind="photography",
        params=_FOUR,
        more_s=420.0,
    ),
    "vendor-duplicate": Injection(
        "vendor-cut, and the vendor's list lags: sent once more, refused as a duplicate, then found",
        _vendor_duplicate,
        kind="fitting",
    ),
    "vendor-fail": Injection("every job of the vendor fails: failed, and refunded", _vendor_fail),
    "vendor-list-lags": Injection(
        "vendor-cut, and the vendor's list lags for longer: the job is found half a minute later",
        _vendor_list_lags,
        kind="fitting",
        more_s=120.0,
    ),
    "vendor-never": Injection(
        "no job of the vendor ends: failed at the deadline, and refunded",
        environ=MappingProxyType({"DEADLINE_LIMIT_S": "20", "VENDOR_EXPECTED_S": "2"}),
        vendor_s=3600.0,
        more_s=180.0,
    ),
    "worker-kill": Injection(
        "every worker is killed after a task's paid calls are answered: success, paid once",
        kills_workers=True,
        more_s=120.0,
    ),
}
"""Name -> fault."""


def describe_injections() -> str:
    """Return a line for each fault."""
    width = max(map(len, INJECTIONS))
    return "\n".join(f"  {name:{width}}  {one.help}" for name, one in INJECTIONS.items())


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
        raise BadUsage(f"--inject {name!r} is not one of these faults:\n{describe_injections()}")
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
