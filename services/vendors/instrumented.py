"""Instrumentation of the vendors' clients: a span and counts around each call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, final

import msgspec

from messages.errors import ScfWorkersError
from services.errors import AnswerUnfit, CreateUnknown, UploadFailed, VendorDown, VendorFull, VendorRefused
from services.objects.port import Source
from services.vendors.chat import ChatAnswer, ChatRequest, ChatWrapper
from services.vendors.port import Created, Find, JobRequest, JobStatus, Results, Vendor
from telemetry import metrics
from telemetry.instruments import Metric, SpanName
from telemetry.tracing import note, span

__all__ = ["InstrumentedChat", "InstrumentedVendor"]

T = TypeVar("T")
A = TypeVar("A", bound=msgspec.Struct)

_OUTCOMES: Final = (
    (VendorFull, "full"),
    (VendorRefused, "refused"),
    (VendorDown, "down"),
    (CreateUnknown, "unknown"),
    (UploadFailed, "failed"),
    (AnswerUnfit, "unfit"),
)


@final
class InstrumentedVendor:
    """A client with a span and counts around each call. Implements `services.vendors.port.Vendor`.

    Args:
        vendor: the client.
    """

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor

    @property
    def name(self) -> str:
        """See the port."""
        return self._vendor.name

    @property
    def label(self) -> str:
        """See the port."""
        return self._vendor.label

    @property
    def result_hosts(self) -> frozenset[str]:
        """See the port."""
        return self._vendor.result_hosts

    @property
    def upload_limit(self) -> int:
        """See the port."""
        return self._vendor.upload_limit

    @property
    def find(self) -> Find | None:
        """See the port."""
        find = self._vendor.find
        if find is None:
            return None

        async def watched(identity: str) -> str:
            return await self._watch("find", find(identity), lambda job: "ok" if job else "none")

        return watched

    async def check_room(self) -> None:
        """See the port."""
        await self._watch("room", self._vendor.check_room())

    async def upload(self, source: Source, *, filename: str, content_type: str) -> str:
        """See the port."""
        return await self._watch("upload", self._vendor.upload(source, filename=filename, content_type=content_type))

    async def create(self, request: JobRequest, *, timeout: float) -> Created | Results:  # noqa: ASYNC109 - the port's own word
        """See the port."""
        try:
            return await self._watch("create", self._vendor.create(request, timeout=timeout))
        except CreateUnknown:
            metrics.count(Metric.PAID_UNKNOWN, vendor=self.name)
            raise

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:
        """See the port."""
        asked = self._vendor.query(job_id, kind=kind)
        return await self._watch("query", asked, lambda status: status.state.value)

    async def made_for(self, job_id: str) -> str:
        """See the port."""
        return await self._watch("made_for", self._vendor.made_for(job_id))

    async def cancel(self, job_id: str) -> None:
        """See the port."""
        await self._watch("cancel", self._vendor.cancel(job_id))

    async def close(self) -> None:
        """See the port."""
        await self._vendor.close()

    async def _watch(self, call: str, work: Awaitable[T], outcome_of: Callable[[T], str] = lambda _: "ok") -> T:
        return await _watch(self.name, call, work, outcome_of)


@final
class InstrumentedChat(ChatWrapper):
    """A chat model with a span and counts around each question. Implements `services.vendors.chat.ChatModel`.

    Args:
        model: the client.
    """

    async def ask(self, request: ChatRequest[A], *, timeout: float) -> ChatAnswer[A]:  # noqa: ASYNC109 - the port's own word
        """See the port."""
        return await _watch(self.name, "ask", self._model.ask(request, timeout=timeout))

    async def check(self) -> None:
        """See the port."""
        await _watch(self.name, "check", self._model.check())


async def _watch(vendor: str, call: str, work: Awaitable[T], outcome_of: Callable[[T], str] = lambda _: "ok") -> T:
    started = asyncio.get_running_loop().time()
    outcome = "cut"
    with span(SpanName.VENDOR, of=call, vendor=vendor):
        try:
            result = await work
            outcome = outcome_of(result)
        except ScfWorkersError as error:
            outcome = _outcome(error)
            raise
        finally:
            note(outcome=outcome)
            metrics.count(Metric.VENDOR_CALLS, vendor=vendor, call=call, outcome=outcome)
            took = asyncio.get_running_loop().time() - started
            metrics.observe(Metric.VENDOR_DURATION, took, vendor=vendor, call=call)
    return result


def _outcome(error: ScfWorkersError) -> str:
    return next((outcome for kind, outcome in _OUTCOMES if isinstance(error, kind)), "failed")
