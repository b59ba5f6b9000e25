"""Volcengine Ark: one picture a call by a Seedream model; the answer is the result.

Source of every outside fact: docs/reference/ark.md. `request_body` makes the requests, `answers` and `codes` interpret
the answers; this module only sends.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from messages.codes import Code
from services.errors import UploadFailed, VendorDown, VendorFull, VendorRefused
from services.objects.port import Source
from services.vendors.ark import answers
from services.vendors.ark.request_body import IMAGE_TYPES, MOST_UPLOAD_BYTES, request_body
from services.vendors.http import VendorHttp
from services.vendors.port import Find, JobRequest, JobStatus, Results
from telemetry import logs
from telemetry.events import Event
from telemetry.secrets import Secret

if TYPE_CHECKING:
    import httpx

__all__ = ["RESULT_HOSTS", "Ark"]

RESULT_HOSTS: Final = frozenset(
    {
        "ark-content-generation-v2-cn-beijing.tos-cn-beijing.volces.com",
        "ark-acg-cn-beijing.tos-cn-beijing.volces.com",
        "ark-content-generation-ap-southeast-1.tos-ap-southeast-1.volces.com",
        "ark-acg-ap-southeast-1.tos-ap-southeast-1.volces.com",
    }
)
"""Hosts of results (docs/reference/ark.md). A pattern over all of TOS would allow the buckets of others."""

_PATH: Final = "/api/v3/images/generations"

log = logs.get(__name__)


class Ark:
    """A client with one Ark key. Implements `services.vendors.port.Vendor`.

    Args:
        base_url: `https://ark.cn-beijing.volces.com`, or another region's host: keys are valid in their region only.
        api_key: the key.
        model: id of the model, or of an endpoint (`ep-…`), for requests that name none.
        label: of the account that the key belongs to.
        watermark: put Ark's own watermark on pictures.
        inputs: `url` sends reference pictures as URLs, `base64` inside the request (up to 10 MB each).
        timeout: seconds for a call that is not paid.
        result_hosts: where results may be downloaded from.
        transport: makes the transport of a new client; by default one over the network, without proxy or retry.

    Raises:
        messages.errors.Permanent: no header can carry the key, or the base URL is malformed.
    """

    def __init__(  # noqa: PLR0913 - each is an independent setting
        self,
        *,
        base_url: str,
        api_key: Secret,
        model: str,
        label: str = "main",
        watermark: bool = False,
        inputs: Literal["url", "base64"] = "url",
        timeout: float = 15.0,
        result_hosts: frozenset[str] = RESULT_HOSTS,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._http = VendorHttp(base_url=base_url, api_key=api_key, timeout=timeout, transport=transport)
        self.result_hosts: Final = result_hosts
        self.label: Final = label
        self._model = model
        self._watermark = watermark
        self._inputs = inputs
        self._key_taken = False
        self._full_until = 0.0
        """By the loop's clock."""

    @property
    def find(self) -> Find | None:
        """Return None: it lists no calls, and a create carries nothing to find it by."""
        return None

    @property
    def name(self) -> str:
        """See the port."""
        return "ark"

    @property
    def upload_limit(self) -> int:
        """See the port. With inputs as URLs nothing is uploaded."""
        return MOST_UPLOAD_BYTES if self._inputs == "base64" else 0

    async def check_room(self) -> None:
        """See the port. There is room unless the last answer said how long there would be none.

        Before the first paid call, and after one that was refused with the key, an empty request shows that the key is
        taken: it costs nothing, since it names no model.
        """
        if (left := self._full_until - asyncio.get_running_loop().time()) > 0:
            raise VendorFull("room: the wait that the vendor asked for is not over", retry_after=left)
        if not self._key_taken:
            answers.check_key(await self._http.ask("POST", _PATH, b"{}"))
            self._key_taken = True

    async def upload(self, source: Source, *, filename: str, content_type: str) -> str:  # noqa: ARG002 - the port's
        """See the port. Nothing is sent: the reference is the picture itself, as a data URI."""
        if source.size > MOST_UPLOAD_BYTES:
            raise VendorRefused(f"input of {source.size} bytes: too big", code=Code.PICTURE_TOO_LARGE)
        if content_type not in IMAGE_TYPES:
            raise VendorRefused("input is neither jpeg nor png", code=Code.BAD_PICTURE)
        content = bytearray()
        async for piece in source:
            content += piece
            if len(content) > source.size:
                break
        if len(content) != source.size:
            raise UploadFailed("the source of an upload is not as long as it said")
        encoded = await asyncio.to_thread(base64.b64encode, content)
        return f"data:{content_type};base64,{encoded.decode('ascii')}"

    async def create(self, request: JobRequest, *, timeout: float) -> Results:  # noqa: ASYNC109 - the port's own word
        """See the port. A caller that hangs up pays all the same, so `timeout` covers the drawing of the picture."""
        content = request_body(request, model=self._model, watermark=self._watermark)
        # With pictures inside it is large.
        encode = partial(msgspec.json.encode, content)
        body = await asyncio.to_thread(encode) if self.upload_limit else encode()
        reply = await self._http.pay(_PATH, body, timeout=timeout)
        if code := answers.account_fault(reply):
            self._key_taken = False
            log.error(Event.VENDOR_ACCOUNT, vendor=self.name, label=self.label, vendor_code=code)
        try:
            return answers.results_of(reply)
        except VendorFull as full:
            self._full_until = asyncio.get_running_loop().time() + (full.retry_after or 0.0)
            raise

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:  # noqa: ARG002 - the port's
        """See the port: there is never a job to look at.

        Raises:
            services.errors.VendorDown: always.
        """
        raise VendorDown("ark answers a create with the results: it has no jobs to look at")

    async def made_for(self, job_id: str) -> str:  # noqa: ARG002 - the port's
        """See the port: there are no jobs."""
        return ""

    async def cancel(self, job_id: str) -> None:
        """See the port: a call cannot be stopped, and is paid for even if the caller hangs up."""

    async def close(self) -> None:
        """See the port."""
        await self._http.close()
