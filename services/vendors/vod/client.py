"""Tencent VOD AIGC: pictures by models of several makers, signed with the function's own role.

A create carries the identity of its call as SessionId. The vendor refuses a second create with the same one, and lists
its jobs with it: so a call whose answer was lost is found again, or sent once more without a second payment.

Source of every outside fact: docs/reference/vod.md. `request_body` makes the requests, `answers` and `codes` interpret
the answers; this module only sends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from services.errors import CreateUnknown, VendorDown, VendorFull, VendorRefused
from services.objects.credentials import Credentials
from services.objects.port import Source
from services.vendors.http import ApiResponse, VendorHttp
from services.vendors.port import Created, Find, JobRequest, JobStatus
from services.vendors.tc3 import signed_headers
from services.vendors.vod import answers
from services.vendors.vod.request_body import PaidRequest, list_body, paid_request_of
from telemetry import logs
from telemetry.events import Event

if TYPE_CHECKING:
    import httpx

__all__ = ["RESULT_HOSTS", "Vod"]

RESULT_HOSTS: Final = frozenset({"*.vod2.myqcloud.com", "*.vod-qcloud.com"})
"""Hosts of results: a name for each account below two domains of VOD (docs/reference/vod.md)."""

_SERVICE: Final = "vod"
_VERSION: Final = "2018-07-17"
_PATH: Final = "/"
_MOST_PAGES: Final = 20
_RESEND_AFTER_S: Final = 2.0
"""Seconds between a create without an answer and the same create again: the first may still be on its way."""

log = logs.get(__name__)


class Vod:
    """A client with the credentials of one account. Implements `services.vendors.port.Vendor`.

    Args:
        base_url: `https://vod.tencentcloudapi.com`.
        credentials: returns the current credentials; a role's change.
        sub_app_id: application of VOD; 0 for the default one of an old account.
        model: code of the model for requests that name none.
        label: of the account.
        timeout: seconds for a call that is not paid.
        result_hosts: where results may be downloaded from.
        clock: seconds since the epoch.
        resend_after: seconds between a create without an answer and the same create again.
        transport: makes the transport of a new client; by default one over the network, without proxy or retry.

    Raises:
        messages.errors.Permanent: the base URL is malformed.
    """

    def __init__(  # noqa: PLR0913 - each is an independent setting
        self,
        *,
        base_url: str,
        credentials: Callable[[], Credentials],
        sub_app_id: int,
        model: str,
        label: str = "main",
        timeout: float = 15.0,
        result_hosts: frozenset[str] = RESULT_HOSTS,
        clock: Callable[[], float] = time.time,
        resend_after: float = _RESEND_AFTER_S,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._http = VendorHttp(base_url=base_url, api_key=None, timeout=timeout, transport=transport)
        self.result_hosts: Final = result_hosts
        self.label: Final = label
        self._host = urlsplit(self._http.base).netloc
        self._credentials = credentials
        self._application = {"SubAppId": sub_app_id} if sub_app_id else {}
        self._model = model
        self._clock = clock
        self._resend_after = resend_after
        self._key_taken = False
        self._full_until = 0.0
        """By the loop's clock."""

    @property
    def find(self) -> Find | None:
        """Return the search by SessionId in the vendor's list, which lags: an empty answer proves nothing."""
        return self._find

    @property
    def name(self) -> str:
        """See the port."""
        return "vod"

    @property
    def upload_limit(self) -> int:
        """Return 0: inputs go as URLs."""
        return 0

    async def check_room(self) -> None:
        """See the port. The vendor has no call for room: the last create's answer counts, until its time is over."""
        if (left := self._full_until - asyncio.get_running_loop().time()) > 0:
            raise VendorFull("the last call found no room, and its time is not over", retry_after=left)
        if not self._key_taken:
            answers.check_key(await self._ask("DescribeTasks", {"Limit": 1}))
            self._key_taken = True

    async def upload(self, source: Source, *, filename: str, content_type: str) -> str:  # noqa: ARG002 - the port's
        """See the port: nothing is uploaded.

        Raises:
            services.errors.VendorRefused: always.
        """
        raise VendorRefused("vod takes inputs by URL alone")

    async def create(self, request: JobRequest, *, timeout: float) -> Created:  # noqa: ASYNC109 - the port's own word
        """See the port. Half of `timeout` is for the call; a lost answer is followed up in the other half."""
        order = paid_request_of(request, model=self._model)
        body = msgspec.json.encode({**order.body, **self._application})
        over = _Over(self._clock, timeout)
        try:
            return await self._pay(order, body, timeout / 2)
        except CreateUnknown as unknown:
            if not request.identity:
                raise
            return await self._recover(order, body, request.identity, over, unknown)

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:  # noqa: ARG002 - the port's
        """See the port."""
        return answers.status_of(await self._ask("DescribeTaskDetail", {"TaskId": job_id}))

    async def made_for(self, job_id: str) -> str:  # noqa: ARG002 - the port's
        """See the port. VOD calls no webhook of a job: its events go to one address of the account."""
        return ""

    async def cancel(self, job_id: str) -> None:
        """See the port. Only a job that still waits is stopped; of any other the vendor refuses it, which is fine."""
        answers.check_answered(await self._ask("ManageTask", {"TaskId": job_id, "OperationType": "Abort"}))

    async def close(self) -> None:
        """See the port."""
        await self._http.close()

    async def _pay(self, order: PaidRequest, body: bytes, limit: float) -> Created:
        reply = await self._http.pay(_PATH, body, timeout=limit, headers=self._signed(order.action.value, body))
        if code := answers.account_fault(reply):
            self._key_taken = False
            log.error(Event.VENDOR_ACCOUNT, vendor=self.name, label=self.label, vendor_code=code)
        try:
            return Created(answers.job_of(reply))
        except VendorFull as full:
            self._full_until = asyncio.get_running_loop().time() + (full.retry_after or 0.0)
            raise

    async def _recover(
        self, order: PaidRequest, body: bytes, identity: str, over: _Over, unknown: CreateUnknown
    ) -> Created:
        """Return the job of a create without a usable answer: listed, or made by the same create once more.

        Raises:
            services.errors.CreateUnknown: neither shows it now; the call stays open.
        """
        await asyncio.sleep(min(self._resend_after, over.left))
        if found := await self._found(identity, over):
            return found
        # A process that froze must not send it: the run may have ended meanwhile.
        if isinstance(unknown, answers.AlreadyAccepted) or not over.left:
            raise unknown
        try:
            created = await self._pay(order, body, over.left)
        except (VendorFull, VendorRefused) as error:
            # It shows why the second create was not accepted, which proves nothing about the first.
            raise CreateUnknown(f"{unknown}; sent once more: {error}") from None
        except answers.AlreadyAccepted as error:
            if found := await self._found(identity, over):
                return found
            raise CreateUnknown(f"{unknown}; sent once more: {error}") from None
        log.info(Event.PAID_RECOVERED, vendor=self.name, job=created.id)
        return created

    async def _found(self, identity: str, over: _Over) -> Created | None:
        try:
            async with asyncio.timeout(over.left):
                job = await self._find(identity)
        except (VendorDown, TimeoutError):
            return None
        if job:
            log.info(Event.PAID_RECOVERED, vendor=self.name, job=job)
        return Created(job) if job else None

    async def _find(self, identity: str) -> str:
        token = ""
        for _ in range(_MOST_PAGES):
            page = answers.page_of(await self._ask("DescribeTasks", list_body(self._clock(), token)))
            if job := page.jobs.get(identity):
                return job
            token = page.next
            if not token:
                break
        return ""

    async def _ask(self, action: str, body: Mapping[str, object]) -> ApiResponse:
        content = msgspec.json.encode({**body, **self._application})
        return await self._http.ask("POST", _PATH, content, headers=self._signed(action, content))

    def _signed(self, action: str, body: bytes) -> Mapping[str, str]:
        """Return the headers of a request, signed with the credentials of this moment."""
        return signed_headers(
            self._credentials(),
            host=self._host,
            service=_SERVICE,
            action=action,
            version=_VERSION,
            body=body,
            now=self._clock(),
        )


class _Over:
    """Time that is left, by wall clock and the loop's clock, the smaller counts: a freeze shows in one of them."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._wall, self._steady = clock, asyncio.get_running_loop().time
        self._ends = (clock() + seconds, self._steady() + seconds)

    @property
    def left(self) -> float:
        """Seconds until the end, not below 0."""
        return max(0.0, min(self._ends[0] - self._wall(), self._ends[1] - self._steady()))
