"""Adapter to the cloud function platform: one event loop for the process, and services that stay open while warm.

Nothing runs on after a handler's return, because the platform freezes the instance: the loop does not run between
calls, and spans and metrics are sent, or dropped, before the return.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, Generic, TypeVar

import msgspec

from messages.errors import ScfWorkersError
from runtime.credentials import forbid_core_dumps
from runtime.errors import BadSettings
from runtime.settings import Settings, load_settings, mask_secrets
from runtime.wiring import Environ, open_telemetry, set_up_logs
from telemetry import logs
from telemetry.events import Event
from telemetry.exporters import Exporters
from telemetry.instruments import SpanName
from telemetry.redaction import redact_text
from telemetry.tracing import span

__all__ = [
    "FunctionEvent",
    "Instance",
    "Opener",
    "close_instance",
    "current_loop",
    "instance",
    "parse_request",
    "time_limit_s",
]

T = TypeVar("T")
Opened = TypeVar("Opened")
Asked = TypeVar("Asked", bound=msgspec.Struct)

log = logs.get(__name__)

FunctionEvent = Mapping[str, Any]

Opener = Callable[[Settings, Environ], AbstractAsyncContextManager[Opened]]
"""Opener of a function's services, and no others (`runtime.wiring`)."""

_TIME_LIMIT_S: Final = 60.0
"""Time limit in seconds if the platform does not pass one."""

_TIMER: Final = frozenset({"Type", "TriggerName", "Time", "Message"})
"""Fields of a timer's event."""


class Instance(Generic[Opened]):
    """Instance of a function: opened at its first call, kept while it is warm.

    Args:
        service: name of the function in its logs.
        opener: opens its services.
    """

    def __init__(self, service: str, opener: Opener[Opened]) -> None:
        self._service = service
        self._opener = opener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack = AsyncExitStack()
        self._settings: Settings | None = None
        self._services: Opened | None = None
        self._exporters: Exporters | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop; None before the first call."""
        return self._loop

    @property
    def settings(self) -> Settings:
        """The settings during a call."""
        if self._settings is None:
            raise RuntimeError("the settings are read when the first call begins")
        return self._settings

    def call(self, work: Callable[[Opened], Awaitable[T]]) -> T:
        """Run the work of one call to its end.

        Raises:
            messages.errors.ScfWorkersError: it failed. The platform prints exceptions without our redaction, so it has
                no causes: their texts may hold signed values.
        """
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        try:
            return self._loop.run_until_complete(self._call(work))
        except Exception as error:  # noqa: BLE001 - logged whole, and raised again for the platform
            # Bad settings are logged without a traceback: the place where they were read does not help.
            log.error(Event.CALL_FAILED, error=BadSettings(str(error)) if isinstance(error, BadSettings) else error)
            raise _redacted(error) from None
        finally:
            if self._exporters is not None:
                self._exporters.flush()

    def close(self) -> None:
        """Close everything; the next call opens it again."""
        if self._loop is not None:
            self._loop.run_until_complete(self._stack.aclose())
            self._loop.close()
        if self._exporters is not None:
            self._exporters.close()
        self._loop, self._services, self._exporters = None, None, None

    async def disconnect(self, limit_s: float) -> None:
        """Drop the services from within a call that must end now; the next call opens them again.

        Args:
            limit_s: seconds to wait for the services to close. A broker that is down may take longer; then the closing
            continues when the instance is called again.
        """
        stack, self._stack, self._services = self._stack, AsyncExitStack(), None
        self._closing = asyncio.create_task(stack.aclose(), name="disconnect")
        done, _ = await asyncio.wait([self._closing], timeout=limit_s)
        for task in done:
            task.result()

    async def _call(self, work: Callable[[Opened], Awaitable[T]]) -> T:
        if self._settings is None or self._exporters is None:
            forbid_core_dumps()
            mask_secrets(os.environ)
            logs.setup(sys.stdout, "INFO", self._service)
            self._settings = load_settings(os.environ)
            set_up_logs(sys.stdout, self._settings, self._service, os.environ)
            self._exporters = open_telemetry(self._settings, self._service)
        with span(SpanName.HANDLE, "", of=self._service, function=self._service):
            if self._services is None:
                services = self._opener(self._settings, lambda: os.environ)
                self._services = await self._stack.enter_async_context(services)
            return await work(self._services)


def _redacted(error: Exception) -> ScfWorkersError:
    """Return the error as it may leave the process: class and redacted text."""
    if not isinstance(error, ScfWorkersError):
        return ScfWorkersError(redact_text(f"{type(error).__name__}: {error}"))
    error.args = (redact_text(str(error)),)
    return error


class _Process:
    """The instance of a process: it serves one function."""

    instance: Instance[Any] | None = None
    opened: tuple[str, Opener[Any] | None] = ("", None)
    """Service and opener of the instance."""


_process: Final = _Process()


def instance(service: str, opener: Opener[Opened]) -> Instance[Opened]:
    """Return this process's instance of its function, made at the first call.

    Args:
        service: name of the function in its logs.
        opener: opens its services.

    Raises:
        RuntimeError: the process serves another function already, or the same one opened otherwise.
    """
    asked = (service, opener)
    if _process.instance is None:
        _process.instance, _process.opened = Instance(service, opener), asked
    if asked != _process.opened:
        raise RuntimeError(
            f"this process serves {_name(*_process.opened)} and cannot serve {_name(*asked)}: each has its own process"
        )
    return _process.instance


def _name(service: str, opener: Opener[Any] | None) -> str:
    return f"{service} ({getattr(opener, '__name__', opener)})"


def current_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop of this process's instance, if it has been called."""
    return _process.instance.loop if _process.instance else None


def close_instance() -> None:
    """Close this process's instance, if it has been called."""
    if _process.instance is not None:
        _process.instance.close()


def time_limit_s(context: Mapping[str, Any]) -> float:
    """Return the time limit of a call in seconds, from its context."""
    return float(context.get("time_limit_in_ms") or _TIME_LIMIT_S * 1000) / 1000


def parse_request(event: FunctionEvent, kind: type[Asked]) -> Asked:
    """Return the request of a call by timer or by hand: the event's fields, over those of a timer's `Message`.

    A timer's `Message` may be any text (SCF, timer trigger), and is a request if it begins as a JSON object. Other
    fields of a trigger's event belong to the platform; an event by hand holds the request and nothing else.

    Args:
        event: of the call.
        kind: a struct of the allowed fields, each with a default.

    Raises:
        runtime.errors.BadSettings: a field is unknown or malformed. A request is followed as a whole or refused: an
        unknown part may limit the call to its own topics or tasks.
    """
    names = tuple(field.encode_name for field in msgspec.structs.fields(kind))
    by_hand = not _TIMER & event.keys()
    fields = {name: value for name, value in event.items() if by_hand or name in names}
    asked = {**_message(event.get("Message")), **fields}
    if unknown := sorted(map(repr, asked.keys() - set(names))):
        raise BadSettings(f"the call asks for {', '.join(unknown)}, but may ask only for {', '.join(names)}")
    try:
        return msgspec.convert(asked, kind)
    except msgspec.ValidationError as error:
        raise BadSettings(f"what the call asks for cannot be used: {error}") from error


def _message(text: object) -> Mapping[str, Any]:
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadSettings(f"the timer's Message begins with a brace, but is no JSON object: {error}") from error
