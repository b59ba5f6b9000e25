"""The object store on COS and CI, over cos-python-sdk-v5.

The SDK blocks, so each call runs in a thread of this store's own. Uploads that stream have separate threads: they wait
for their source, which may be a download of this same store and needs a thread too.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from contextvars import copy_context
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from messages.errors import Permanent
from services.errors import AuditDown, LabelDown, NotFound
from services.objects import _answers as answers
from services.objects import _checks as checks
from services.objects._failures import error_of_code
from services.objects._media import label_job
from services.objects._streams import Incoming, Outgoing, pieces_of
from services.objects.credentials import Credentials
from services.objects.port import (
    Audit,
    Content,
    Download,
    ObjectInfo,
    Objects,
    Page,
    PictureRule,
    Processed,
    Result,
    Source,
    VideoInfo,
    VideoLabel,
)
from services.objects.sdk import Address, Sdk, SdkResponse, drop, with_alarm

__all__ = ["CosObjects", "Credentials"]

P = ParamSpec("P")
T = TypeVar("T")

_IDLE: Final = 16  # connections kept for each thread: downloads hold connections, but no threads
_AUDITED_FRAMES: Final = 30  # of a video of a minute at most: one in two seconds; each is billed
_BATCH: Final = 1000  # keys of one batch delete (COS, "DELETE Multiple Objects")


class CosObjects(Objects):
    """A bucket of COS. Nothing is imported or opened before the first call.

    Args:
        bucket: with the account's number, such as `pictures-1250000000`.
        region: such as `ap-guangzhou`.
        credentials: called before each request, in a thread.
        endpoint: a stand-in's URL; the bucket is then addressed by path.
        scheme: `https` or `http`, where no endpoint is given.
        pool: concurrent calls, and as many streaming uploads beside them.
        timeout: seconds for each read or write of a socket; connecting takes at most 5.
        audit_biz_type: the audit policy of pictures; empty for the bucket's default.
        audit_text_biz_type: the audit policy of texts; likewise.
        audit_video_biz_type: the audit policy of videos; likewise.

    Raises:
        ValueError: bucket, region or endpoint is malformed.
    """

    def __init__(  # noqa: PLR0913 - every setting of a bucket, by keyword
        self,
        *,
        bucket: str,
        region: str,
        credentials: Callable[[], Credentials],
        endpoint: str = "",
        scheme: str = "https",
        pool: int = 16,
        timeout: float = 30.0,
        audit_biz_type: str = "",
        audit_text_biz_type: str = "",
        audit_video_biz_type: str = "",
    ) -> None:
        address = Address(bucket, region, endpoint, scheme)
        self._sdk = Sdk(address, credentials, connections=_IDLE * pool, timeout=timeout)
        self._bucket = bucket
        self._region = region
        self._audit_biz_type = audit_biz_type
        self._audit_text_biz_type = audit_text_biz_type
        self._audit_video_biz_type = audit_video_biz_type
        self._calls = ThreadPoolExecutor(pool, thread_name_prefix="cos-call")
        self._uploads = ThreadPoolExecutor(pool, thread_name_prefix="cos-upload")

    async def put(
        self, key: str, body: bytes | Source, *, content_type: str = "", meta: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """Store an object; see the port."""
        checks.check_key(key)
        given = checks.check_meta(meta)
        checks.check_size(key, len(body) if isinstance(body, bytes) else body.size)
        send = functools.partial(
            self._put, "put", key, headers={f"x-cos-meta-{name}": value for name, value in given.items()}
        )
        if isinstance(body, bytes):
            info = await self._run(send, body, content_type=content_type)
        else:
            info = await self._put_stream(key, body, functools.partial(send, content_type=content_type))
        return msgspec.structs.replace(info, meta=given)

    async def put_new(self, key: str, body: bytes, *, content_type: str = "") -> ObjectInfo:
        """Store an object only if none is there; see the port."""
        checks.check_key(key)
        checks.check_size(key, len(body))
        headers = {"x-cos-forbid-overwrite": "true"}
        return await self._run(self._put, "put_new", key, body, headers=headers, content_type=content_type)

    async def get(self, key: str, *, if_match: str = "", limit: int = 1 << 20) -> Content:
        """Return a whole small object; see the port."""
        arguments = self._reading(checks.check_key(key), if_match)

        def read(client: Any) -> bytes:  # noqa: ANN401 - the SDK has no types
            body = bytearray()
            for piece in pieces_of(client.get_object(**arguments)["Body"]):
                body += piece
                if len(body) > limit:
                    raise Permanent(f"get {key!r}: it has more than {limit} bytes")
            return bytes(body)

        def understood(reply: SdkResponse) -> Content:
            info = answers.info_of(key, reply.headers)
            return Content(msgspec.structs.replace(info, size=len(reply.result)), reply.result)

        return await self._call("get", key, read, understood)

    def open(self, key: str, *, if_match: str = "") -> AbstractAsyncContextManager[Download]:
        """Read a large object piece by piece; see the port."""
        return self._open(checks.check_key(key), if_match)

    async def head(self, key: str) -> ObjectInfo:
        """Return the object's size, time and metadata; see the port."""
        arguments = {"Bucket": self._bucket, "Key": checks.check_key(key)}
        return await self._call(
            "head",
            key,
            lambda client: client.head_object(**arguments),
            lambda reply: answers.info_of(key, reply.headers),
        )

    async def copy(self, source: str, target: str, *, if_match: str = "") -> ObjectInfo:
        """Copy inside the bucket; see the port."""
        arguments: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": checks.check_key(target),
            "CopySource": {"Bucket": self._bucket, "Region": self._region, "Key": checks.check_key(source)},
        }
        if if_match:
            arguments["CopySourceIfMatch"] = f'"{if_match}"'
        return await self._call(
            "copy",
            source,
            lambda client: client.copy_object(**arguments),
            lambda reply: answers.copied_of(target, reply.result, reply.headers),
        )

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; see the port."""
        safe = [checks.check_key(key) for key in keys]
        if len(safe) == 1:
            await self._delete_one(safe[0])
            return
        for first in range(0, len(safe), _BATCH):
            await self._delete_many(safe[first : first + _BATCH])

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Page:
        """Return one page of a listing; see the port."""
        arguments = {
            "Bucket": self._bucket,
            "Prefix": checks.check_prefix(prefix),
            "Marker": checks.check_prefix(after),
            "MaxKeys": str(checks.check_limit(limit)),
        }
        return await self._call(
            "list",
            prefix,
            lambda client: client.list_objects(**arguments),
            lambda reply: answers.page_of(reply.result, reply.headers),
        )

    async def presign(self, key: str, *, expires: int, method: str = "GET") -> str:
        """Return a presigned URL; see the port. It is a secret while it lives: do not log it."""
        return await self._run(self._presign, checks.check_key(key), checks.check_expires(expires), method)

    async def process(self, key: str, rules: Sequence[PictureRule]) -> Processed:
        """Let CI write one new object a rule; see the port."""
        wanted = [{"fileid": f"/{rule.key}", "rule": rule.rule} for rule in checks.check_rules(rules)]
        operations = json.dumps({"is_pic_info": 1, "rules": wanted})
        arguments = {"Bucket": self._bucket, "Key": checks.check_key(key), "PicOperations": operations}
        return await self._call(
            "process",
            key,
            lambda client: client.ci_image_process(**arguments)[1],
            lambda reply: answers.processed_of(key, rules, reply.result),
        )

    async def audit(self, keys: Sequence[str]) -> tuple[Audit, ...]:
        """Ask the content audit about stored pictures; see the port."""
        safe = checks.check_audit(keys)
        if not safe:
            return ()
        # Above 5 MB a picture is only looked at when the service may shrink it (CI, "Batch image moderation").
        pictures = [{"Object": key, "DataId": str(place), "LargeImageDetect": "1"} for place, key in enumerate(safe)]
        arguments = {"Bucket": self._bucket, "Input": pictures, "BizType": self._audit_biz_type or None, "Async": 0}
        with _refusals_as(AuditDown):
            return await self._call(
                "audit",
                safe[0],
                lambda client: client.ci_auditing_image_batch(**arguments),
                lambda reply: answers.audits_of(safe, reply.result),
            )

    async def audit_text(self, text: str) -> Result:
        """Ask the content audit about a text; see the port."""
        if not checks.check_text(text):
            return checks.CLEAN
        # Bytes: the SDK's docs say text, on which its base64 fails. Half of a surrogate pair has no bytes.
        content = text.encode("utf-8", "replace")
        arguments = {"Bucket": self._bucket, "Content": content, "BizType": self._audit_text_biz_type or None}
        return await self._call(
            "audit_text",
            "",
            lambda client: client.ci_auditing_text_submit(**arguments),
            lambda reply: answers.audited_text_of(reply.result),
        )

    async def video_info(self, key: str) -> VideoInfo:
        """Let CI read a stored video's head; see the port."""
        arguments = {"Bucket": self._bucket, "Key": checks.check_key(key)}
        return await self._call(
            "video_info",
            key,
            lambda client: client.get_media_info(**arguments),
            lambda reply: answers.video_info_of(key, reply.result),
        )

    async def snapshot(self, key: str, target: str, *, at_s: float = 0.0) -> ObjectInfo:
        """Store a still of a stored video; see the port."""
        arguments = {
            "Bucket": self._bucket,
            "Key": checks.check_key(key),
            "Time": f"{at_s:.3f}",
            "Format": "jpg",
            "Rotate": "auto",
            "Mode": "exactframe",
        }

        def read(client: Any) -> bytes:  # noqa: ANN401 - the SDK has no types
            return b"".join(pieces_of(client.get_snapshot(**arguments)["Body"]))

        still = await self._call("snapshot", key, read, lambda reply: bytes(reply.result))
        return await self.put(target, still, content_type="image/jpeg")

    async def submit_video_audit(self, key: str) -> str:
        """Ask the content audit about a stored video; see the port."""
        # Sound is audited too: a workflow may keep that of an uploaded video.
        arguments = {
            "Bucket": self._bucket,
            "Key": checks.check_key(key),
            "BizType": self._audit_video_biz_type or None,
            "DetectContent": 1,
            "Mode": "Average",
            "Count": _AUDITED_FRAMES,
        }
        with _refusals_as(AuditDown):
            return await self._call(
                "submit_video_audit",
                key,
                lambda client: client.ci_auditing_video_submit(**arguments),
                lambda reply: answers.video_job_of(key, reply.result),
            )

    async def video_audit(self, job: str) -> Result | None:
        """Return the finding of an audit of a video; see the port."""
        arguments = {"Bucket": self._bucket, "JobID": checks.check_job(job)}
        with _refusals_as(AuditDown):
            return await self._call(
                "video_audit",
                job,
                lambda client: client.ci_auditing_video_query(**arguments),
                lambda reply: answers.video_audit_of(job, reply.result),
            )

    async def submit_video_label(self, key: str, target: str, label: VideoLabel) -> str:
        """Let CI draw words over a stored video; see the port."""
        output = {"Region": self._region, "Bucket": self._bucket, "Object": checks.check_key(target)}
        job = label_job(checks.check_key(key), output, label)
        arguments = {"Bucket": self._bucket, "Jobs": job, "ContentType": "application/xml"}
        with _refusals_as(LabelDown):
            return await self._call(
                "submit_video_label",
                key,
                lambda client: client.ci_create_media_jobs(**arguments),
                lambda reply: answers.media_job_of(key, reply.result),
            )

    async def video_label(self, job: str) -> bool:
        """Return True if a job has stored its result; see the port."""
        arguments = {"Bucket": self._bucket, "JobIDs": checks.check_job(job)}
        with _refusals_as(LabelDown):
            return await self._call(
                "video_label",
                job,
                lambda client: client.ci_get_media_jobs(**arguments),
                lambda reply: answers.media_ended_of(job, reply.result),
            )

    async def versioned(self) -> bool:
        """Return True if the bucket keeps or ever kept versions; see the port."""
        return await self._call(
            "versioned",
            "",
            lambda client: client.get_bucket_versioning(Bucket=self._bucket),
            lambda reply: answers.versioned_of(reply.result),
        )

    async def close(self) -> None:
        """Drop connections and threads; waits for the calls under way. A later call raises RuntimeError."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for executor in (self._uploads, self._calls):
            executor.shutdown(cancel_futures=True)
        self._sdk.close()

    async def _delete_one(self, key: str) -> None:
        arguments = {"Bucket": self._bucket, "Key": key}
        try:
            await self._run(self._sdk.call, "delete", key, lambda client: client.delete_object(**arguments))
        except NotFound:
            return

    async def _delete_many(self, keys: Sequence[str]) -> None:
        doomed = {"Quiet": "true", "Object": [{"Key": key} for key in keys]}
        failed = await self._call(
            "delete",
            keys[0],
            lambda client: client.delete_objects(Bucket=self._bucket, Delete=doomed),
            lambda reply: answers.failed_keys(reply.result),
        )
        for key, code in failed:
            error = error_of_code("delete", key, code)
            if error is not None:
                raise with_alarm(error)

    async def _put_stream(self, key: str, source: Source, send: Callable[[bytes | Outgoing], ObjectInfo]) -> ObjectInfo:
        async with aclosing(checks.exact(key, source)) as pieces:
            if not source.size:
                async for _ in pieces:
                    pass
                return await self._run(send, b"")
            body = Outgoing(source.size)
            sent = asyncio.wrap_future(self._submit(self._uploads, send, body))
            sent.add_done_callback(functools.partial(_settle, body))
            try:
                await body.feed(pieces)
                return await sent
            except asyncio.CancelledError:
                body.stop()
                sent.cancel()
                raise
            except BaseException:
                body.stop()
                # Only when the request has ended is it sure that nothing was stored.
                await asyncio.wait([sent])
                raise

    def _put(
        self, operation: str, key: str, body: bytes | Outgoing, *, headers: Mapping[str, str], content_type: str
    ) -> ObjectInfo:
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Key": key, "Body": body, "Metadata": headers}
        if content_type:
            arguments["ContentType"] = content_type
        reply = self._sdk.call(operation, key, lambda client: client.put_object(**arguments))
        return self._sdk.guard(
            operation, key, lambda: answers.stored_of(key, reply.headers, size=len(body), content_type=content_type)
        )

    def _reading(self, key: str, if_match: str) -> dict[str, Any]:
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Key": key, "KeySimplifyCheck": False}
        if if_match:
            arguments["IfMatch"] = f'"{if_match}"'
        return arguments

    @asynccontextmanager
    async def _open(self, key: str, if_match: str) -> AsyncGenerator[Download, None]:
        arguments = self._reading(key, if_match)
        opening = self._submit(self._calls, self._sdk.call, "open", key, lambda client: client.get_object(**arguments))
        try:
            reply = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_drop_late)
            raise
        pieces = pieces_of(reply.result["Body"])

        async def read() -> bytes:
            return await self._run(self._sdk.guard, "read", key, lambda: next(pieces, b""))

        try:
            yield Incoming(self._sdk.guard("open", key, lambda: answers.info_of(key, reply.headers)), read)
        finally:
            await asyncio.shield(asyncio.wrap_future(self._submit(self._calls, drop, reply.response)))

    def _presign(self, key: str, expires: int, method: str) -> str:
        client, credentials = self._sdk.signed()
        token = credentials.token.reveal()
        # The SDK signs a token only as a header, which the user of a presigned URL would not send; as a parameter it is
        # signed too.
        parameters = {"x-cos-security-token": token} if token else {}
        url: str = client.get_presigned_url(
            Bucket=self._bucket, Key=key, Method=method, Expired=expires, Params=parameters
        )
        return url

    async def _call(
        self, operation: str, key: str, work: Callable[[Any], Any], understood: Callable[[SdkResponse], T]
    ) -> T:
        def both() -> T:
            reply = self._sdk.call(operation, key, work)
            return self._sdk.guard(operation, key, lambda: understood(reply))

        return await self._run(both)

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._submit(self._calls, work, *args, **kwargs))

    def _submit(
        self, executor: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        # The context is copied, so that the call appears in the right trace.
        return executor.submit(functools.partial(copy_context().run, work, *args, **kwargs))


@contextmanager
def _refusals_as(down: type[AuditDown | LabelDown]) -> Generator[None]:
    """Raise a refused call as an outage.

    Results that are paid for wait for a person who mends policy, bucket or role, until the deadline.
    """
    try:
        yield
    except Permanent as error:
        raise down(str(error)) from error


def _settle(body: Outgoing, sent: asyncio.Future[ObjectInfo]) -> None:
    body.abandon()
    if not sent.cancelled():
        sent.exception()  # retrieved, so that a put whose source failed is not reported as unhandled later


def _drop_late(opening: Future[SdkResponse]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        drop(opening.result().response)
