"""A bucket's rules on COS, over cos-python-sdk-v5.

Source of CAM's actions: COS, "Working with COS API authorization policies" (document 436/30580).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from services.errors import Forbidden, NotFound
from services.objects.bucket.difference import Document, Section
from services.objects.bucket.port import BucketRules
from services.objects.credentials import Credentials
from services.objects.sdk import Address, Sdk, SdkResponse

__all__ = ["CosBucketRules"]

_TIMEOUT_S: Final = 30.0
_NAMES: Final[Mapping[Section, tuple[str, str]]] = {
    Section.LIFECYCLE: ("lifecycle", "BucketLifecycle"),
    Section.CORS: ("cors", "BucketCORS"),
}
"""Section -> its name in the SDK's methods, and in CAM's actions."""


class CosBucketRules(BucketRules):
    """Rules of a bucket of COS.

    Args:
        bucket: with the account's number, such as `pictures-1250000000`.
        region: such as `ap-guangzhou`.
        credentials: called before each request, in a thread.
        endpoint: a stand-in's URL; empty for the real COS.

    Raises:
        ValueError: bucket, region or endpoint is malformed.
    """

    def __init__(self, *, bucket: str, region: str, credentials: Callable[[], Credentials], endpoint: str = "") -> None:
        self._bucket = bucket
        self._sdk = Sdk(Address(bucket, region, endpoint), credentials, connections=1, timeout=_TIMEOUT_S)

    async def read(self, section: Section) -> Document:
        """Return the stored rules; see the port."""
        name, _ = _NAMES[section]
        try:
            reply = await self._call("Get", section, lambda client: getattr(client, f"get_bucket_{name}"), {})
        except NotFound:
            return {}
        # The SDK gives the namespace of the document too.
        return {key: value for key, value in dict(reply.result or {}).items() if not key.startswith("@")}

    async def write(self, section: Section, document: Document) -> None:
        """Replace the stored rules; see the port."""
        name, _ = _NAMES[section]
        if not document.get(section.value):
            await self._call("Delete", section, lambda client: getattr(client, f"delete_bucket_{name}"), {})
            return
        argument = {"LifecycleConfiguration" if section is Section.LIFECYCLE else "CORSConfiguration": document}
        await self._call("Put", section, lambda client: getattr(client, f"put_bucket_{name}"), argument)

    async def close(self) -> None:
        """Drop the connections."""
        await asyncio.to_thread(self._sdk.close)

    async def _call(
        self, verb: str, section: Section, method: Callable[[Any], Any], arguments: Mapping[str, Any]
    ) -> SdkResponse:
        action = f"{verb}{_NAMES[section][1]}"

        def work(client: Any) -> Any:  # noqa: ANN401 - the SDK has no types
            return method(client)(Bucket=self._bucket, **arguments)

        try:
            return await asyncio.to_thread(self._sdk.call, action, "", work)
        except Forbidden as error:
            text = f"{error}; {self._bucket}: allow this key the action name/cos:{action}"
            raise Forbidden(text, date=error.date) from None
