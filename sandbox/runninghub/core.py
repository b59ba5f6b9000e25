"""State and rules of the stand-in, without any I/O; v1 and v2 are two interfaces to it."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sandbox.armed import ArmedFaults
from sandbox.runninghub.model import Failure, Fault, Job, KeyLimits, Refusal, Shape, Upload

__all__ = ["Core", "Node", "ResultFile"]

_LATE: Final = 5.0
_URLS: Final = frozenset({"url", "video_url"})
_MEDIA: Final = {"upload": "image", "url": "image", "video": "video", "video_url": "video"}
"""Type of a field -> media of its value."""


_LOADERS: Final = {
    "image": ("LoadImage", "UnidentifiedImageError", "cannot identify image file"),
    "video": ("VHS_LoadVideo", "ValueError", "could not be loaded with cv"),
}
"""Media -> name of the node that loads it, with its error for anything else."""


class Node(NamedTuple):
    """Entry of a nodeInfoList."""

    node: str
    field: str
    value: str


class ResultFile(NamedTuple):
    """Result of a job."""

    url: str
    node: str
    type: str
    """png or mp4."""


class Core:
    """Keys, uploads, jobs and faults.

    Args:
        api_keys: key -> its limits.
        workflows: id -> its inputs and outputs.
        clock: seconds, for durations and expiries.
        duration_s: duration of a job in seconds, varied by up to a fifth.
        url_ttl_s: seconds until a result's URL expires.
        seed: the same seed and calls give the same durations, ids, tokens and pictures.
    """

    def __init__(
        self,
        *,
        api_keys: Mapping[str, KeyLimits],
        workflows: Mapping[str, Shape],
        clock: Callable[[], float],
        duration_s: float,
        url_ttl_s: float,
        seed: int,
    ) -> None:
        self.api_keys: Final = api_keys
        self.clock: Final = clock
        self.seed: Final = seed
        self._workflows = workflows
        self._duration = duration_s
        self._ttl = url_ttl_s
        self._faults = ArmedFaults[Fault](clock)
        self._jobs: dict[str, Job] = {}
        self._uploads: dict[tuple[str, str], Upload] = {}
        self._tokens: dict[str, tuple[Job, int]] = {}
        self._counts: dict[str, int] = dict.fromkeys(
            ("creates", "refused", "uploads", "queries", "cancels", "files"), 0
        )

    def arm(self, fault: Fault) -> None:
        """Arm a fault; callable from any thread."""
        self._faults.arm(fault)

    def disarm(self) -> None:
        """Disarm all faults."""
        self._faults.clear()

    def take(self, on: str) -> Fault | None:
        """Use up and return the oldest fault for this call, if there is one."""
        return self._faults.take(on)

    def count(self, what: str) -> None:
        """Count a call for the statistics."""
        self._counts[what] += 1

    def urls(self, workflow: str, nodes: Sequence[Node]) -> list[str]:
        """Return the URLs among the values that the vendor downloads."""
        fields = self._workflows[workflow].fields if workflow in self._workflows else {}
        values = [node.value for node in nodes if fields.get(node.node, {}).get(node.field) in _URLS]
        return [url for url in values if url.startswith(("http://", "https://"))]

    def add_upload(self, name: str, upload: Upload) -> None:
        """Store an uploaded file under its fileName, or a downloaded one under its URL."""
        self._uploads[upload.key, name] = upload

    def create(self, key: str, workflow: str, nodes: Sequence[Node], *, webhook: str, base_url: str) -> Job:
        """Accept a job: from here on it is paid.

        Raises:
            Refusal: 380, 803, 301 or 421; nothing was accepted.
        """
        try:
            job = self._accept(key, workflow, nodes, webhook, base_url)
        except Refusal:
            self.count("refused")
            raise
        self._jobs[job.id] = job
        self.count("creates")
        return job

    def job(self, key: str, job_id: str) -> Job:
        """Return a job of this key.

        Raises:
            Refusal: 807.
        """
        found = self._jobs.get(job_id)
        if found is None or found.key != key:
            raise Refusal("807")
        return found

    def look(self, key: str, job_id: str) -> Job:
        """Return a job of this key, and count the query."""
        found = self.job(key, job_id)
        found.queries += 1
        return found

    def cancel(self, job: Job) -> None:
        """Cancel a job; one that has ended stays as it is."""
        now = self.clock()
        if now < job.ends:
            job.cancelled = now
            job.stopped.set()

    def queue(self, key: str) -> tuple[int, int]:
        """Return the numbers of running and queued jobs of a key."""
        now = self.clock()
        states = [job.state(now) for job in self._jobs.values() if job.key == key]
        return states.count("RUNNING"), states.count("QUEUED")

    def results(self, job: Job, base_url: str, *, expired: bool = False) -> list[ResultFile]:
        """Return a finished job's files, the preview first, each with a URL that expires later."""
        expires = int((self.clock() + (-1.0 if expired else self._ttl)) * 1000)
        return [
            ResultFile(
                self._url(job, index, base_url, expires),
                job.shape.output if index else job.shape.preview,
                _type(job, index),
            )
            for index in range(job.count + 1)
        ]

    def file(self, token: str, expires: str, signature: str) -> tuple[Job, int]:
        """Return the job and the number of the result that a URL names.

        Raises:
            KeyError: the URL names no result.
            PermissionError: its signature is wrong, or it has expired.
        """
        found = self._tokens[token]
        if not hmac.compare_digest(signature, self._sign(token, expires)):
            raise PermissionError("signature")
        if int(expires) < self.clock() * 1000:
            raise PermissionError("expired")
        self.count("files")
        return found

    def stats(self) -> dict[str, Any]:
        """Return counts, and all jobs ever accepted, in order."""
        now = self.clock()
        jobs = [
            {
                "id": job.id,
                "workflow": job.workflow,
                "state": job.state(now),
                "created": job.created,
                "ends": job.ends,
                "values": dict(job.values),
                "queries": job.queries,
                "webhook": bool(job.webhook),
            }
            for job in list(self._jobs.values())
        ]
        return {**self._counts, "jobs": jobs}

    def _accept(self, key: str, workflow: str, nodes: Sequence[Node], webhook: str, base_url: str) -> Job:
        shape = self._workflows.get(workflow)
        if shape is None:
            raise Refusal("380")
        photos = tuple(photo for node in nodes if (photo := self._check_node(key, shape, node)))
        if webhook and not webhook.startswith(("http://", "https://")):
            raise Refusal("301")
        if sum(self.queue(key)) >= self.api_keys[key].concurrent:
            raise Refusal("421")
        return self._build(key, workflow, shape, nodes, photos, webhook, base_url)

    def _check_node(self, key: str, shape: Shape, node: Node) -> Upload | None:
        kind = shape.fields.get(node.node, {}).get(node.field)
        if kind == "text":
            return None
        upload = self._uploads.get((key, node.value))
        if kind is not None and upload is not None:
            return upload
        reason = "node_not_found_in_workflow" if kind is None else "file_not_found"
        raise Refusal("803", f"NODE_INFO_MISMATCH(nodeId={node.node}, fieldName={node.field}, reason={reason})")

    def _build(
        self,
        key: str,
        workflow: str,
        shape: Shape,
        nodes: Sequence[Node],
        photos: tuple[Upload, ...],
        webhook: str,
        base_url: str,
    ) -> Job:
        number = len(self._jobs) + 1
        now = self.clock()
        fault = self.take("job")
        kind = fault.kind if fault else ""
        share = random.Random(f"{self.seed} {number}").uniform(0.8, 1.2)  # noqa: S311 - no secret, and repeatable
        return Job(
            # As long as the vendor's ids, and never repeated after a restart.
            id=str(int(now * 1000) * 1_000_000 + number),
            number=number,
            key=key,
            workflow=workflow,
            shape=shape,
            values={f"{node.node}.{node.field}": node.value for node in nodes},
            photos=photos,
            created=now,
            duration=self._duration * share * (_LATE if kind == "late" else 1.0),
            webhook=webhook,
            base_url=base_url,
            failure=_failure(fault, shape, nodes, photos),
            count=shape.count - (kind == "short"),
        )

    def _url(self, job: Job, index: int, base_url: str, expires: int) -> str:
        token = hashlib.sha256(f"{self.seed} {job.id} {index}".encode()).hexdigest()[:32]
        self._tokens[token] = (job, index)
        return f"{base_url}/files/{token}.{_type(job, index)}?expires={expires}&sign={self._sign(token, str(expires))}"

    def _sign(self, token: str, expires: str) -> str:
        return hmac.new(f"stand-in {self.seed}".encode(), f"{token} {expires}".encode(), hashlib.sha256).hexdigest()


def _type(job: Job, index: int) -> str:
    return "mp4" if index and job.shape.media == "video" else "png"


def _failure(fault: Fault | None, shape: Shape, nodes: Sequence[Node], photos: Sequence[Upload]) -> Failure | None:
    wanted = [(node.node, kind) for node in nodes if (kind := _MEDIA.get(shape.fields[node.node][node.field]))]
    if fault is not None and fault.kind == "violate":
        return Failure("1501", _reason(shape.output, "SaveImage", "ContentRejected", "the result was not passed"))
    if fault is not None and fault.kind == "fail":
        return Failure(fault.code or "805", _reason(shape.output, "KSampler", "RuntimeError", "CUDA out of memory"))
    for (loader, media), photo in zip(wanted, photos, strict=True):
        if photo.media != media:
            return Failure("805", _reason(loader, *_LOADERS[media]))
    return None


def _reason(node: str, name: str, kind: str, message: str) -> dict[str, Any]:
    return {
        "node_id": node,
        "node_name": name,
        "exception_type": kind,
        "exception_message": message,
        "traceback": '["in execute"]',
        "current_inputs": "{}",
        "current_outputs": "{}",
    }
