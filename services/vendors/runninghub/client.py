"""RunningHub: ComfyUI workflows run by job, over its v2 interface or over v1.

Source of every outside fact: docs/reference/vendors.md. `answers` and `codes` interpret the answers, `v1` and `v2` have
the paths of the calls; this module only sends.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from messages.codes import Code
from messages.reasons import reason_of
from services.errors import VendorDown, VendorRefused
from services.objects.port import Source
from services.vendors.http import ApiResponse, VendorHttp
from services.vendors.port import Created, Find, JobRequest, JobStatus
from services.vendors.runninghub import answers
from services.vendors.runninghub.calls import ApiCall, Generation, cancel, webhook_detail
from services.vendors.runninghub.multipart import Multipart
from services.vendors.runninghub.v1 import V1
from services.vendors.runninghub.v2 import V2
from telemetry.secrets import Secret

if TYPE_CHECKING:
    import httpx

__all__ = ["RESULT_HOSTS", "Node", "RunningHub", "Workflow"]

RESULT_HOSTS: Final = frozenset(
    {
        "rh-images.xiaoyaoyou.com",
        "rh-images-1252422369.cos.ap-beijing.myqcloud.com",
        "rh-images-1252422369.cos.ap-hongkong.myqcloud.com",
        "rhart.ai",
        "*.rhart.ai",
    }
)
"""Hosts of results (docs/reference/vendors.md). A pattern over all of COS would allow the buckets of others."""

_UPLOAD_LIMIT: Final = 30 * 1024 * 1024
"""30 MB a file, else code 809 (docs/reference/vendors.md)."""


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field of a node of a workflow's API export."""

    node_id: str
    field: str


class Workflow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Configuration of a kind's workflow, decoded from its JSON file."""

    workflow_id: str
    inputs: Mapping[str, Node]
    """Input name -> node that gets the reference to the uploaded input. Every job needs all inputs."""
    params: Mapping[str, Node] = {}
    """Parameter name -> node that gets its text. A missing parameter keeps the value saved in the workflow."""
    url_inputs: Mapping[str, Node] = {}
    """Input name -> node that gets a URL instead, if the input is too large to upload."""
    outputs: tuple[str, ...] = ()
    """Ids of the nodes whose files are results; empty for all."""
    types: tuple[str, ...] = ()
    """File types of results, such as `mp4`; empty for all. A node that saves a video may list a preview of it too."""
    with_video: Workflow | None = None
    """The workflow that is run instead where an input is a video: a node loads either pictures or videos."""
    instance_type: str = "default"
    """`default` 24 GB, `plus` 48 GB, `ultra` 84 GB."""

    def __post_init__(self) -> None:
        if not self.workflow_id:
            raise ValueError("workflow_id is empty")
        twice = self.inputs.keys() & self.params.keys()
        if twice:
            raise ValueError(f"both an input and a parameter: {', '.join(sorted(twice))}")
        strange = self.url_inputs.keys() - self.inputs.keys()
        if strange:
            raise ValueError(f"in url_inputs, but no input: {', '.join(sorted(strange))}")
        other = self.with_video
        if other is not None and (other.with_video or (other.outputs, other.types) != (self.outputs, self.types)):
            # A look at a job does not show which of the two it runs.
            raise ValueError("with_video must have the same outputs and types, and no with_video of its own")


class RunningHub:
    """A client with one RunningHub key. Implements `services.vendors.port.Vendor`.

    Args:
        base_url: `https://www.runninghub.cn` or `https://www.runninghub.ai`: accounts, keys and workflows differ.
        api_key: the key.
        label: of the account that the key belongs to.
        workflows: kind -> its workflow.
        api: the generation of the interface to use, v1 or v2.
        timeout: seconds for one call; an upload has them for connecting and for each piece.
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
        label: str = "main",
        workflows: Mapping[str, Workflow],
        api: Literal["v1", "v2"] = "v2",
        timeout: float = 15.0,
        result_hosts: frozenset[str] = RESULT_HOSTS,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._http = VendorHttp(base_url=base_url, api_key=api_key, timeout=timeout, transport=transport)
        self.result_hosts: Final = result_hosts
        self.label: Final = label
        self._key = api_key
        self._api: Generation = V1(api_key) if api == "v1" else V2()
        self._workflows = workflows

    @property
    def find(self) -> Find | None:
        """Return None: it lists no jobs, and a create carries nothing to find it by."""
        return None

    @property
    def name(self) -> str:
        """See the port."""
        return "runninghub"

    @property
    def upload_limit(self) -> int:
        """See the port."""
        return _UPLOAD_LIMIT

    async def check_room(self) -> None:
        """See the port. An answer without figures counts as room: the create itself shows it."""
        answers.check_room(await self._ask(self._api.room()))

    async def upload(self, source: Source, *, filename: str, content_type: str) -> str:
        """See the port. The reference is a `fileName`, good as a node's value; upload again for another attempt."""
        if source.size > self.upload_limit:
            raise VendorRefused(f"upload of {source.size} bytes: too big", code=Code.PICTURE_TOO_LARGE)
        path, fields = self._api.upload()
        body = Multipart(
            source,
            field="file",
            filename=filename,
            content_type=content_type,
            boundary=secrets.token_hex(16),
            fields=fields,
        )
        import httpx

        client = await self._http.pooled()
        try:
            reply = await self._http.send(client, "POST", path, content=body, headers=body.headers)
        except httpx.HTTPError as error:
            # Without the cause: its text may quote the server's answer, which may quote our key.
            raise VendorDown(f"upload to {self._http.base}: {reason_of(error)}") from None
        return answers.uploaded_name(reply)

    async def create(self, request: JobRequest, *, timeout: float) -> Created:  # noqa: ASYNC109 - the port's own word
        """See the port."""
        call = self._order(request)
        reply = await self._http.pay(call.path, msgspec.json.encode(call.body), timeout=timeout)
        return Created(answers.accepted_id(reply))

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:
        """See the port.

        Args:
            job_id: the vendor's id.
            kind: the kind whose output nodes select the results; without it those of all kinds do, which is wrong
                where one kind's output node has the id of another's preview.
        """
        status = await self._api.query(self._ask, job_id, self._outputs(kind))
        types = self._workflows[kind].types if kind in self._workflows else ()
        files = tuple(file for file in status.files if not types or file.type in types)
        return msgspec.structs.replace(status, files=files)

    async def made_for(self, job_id: str) -> str:
        """See the port. RunningHub shows it once the webhook's first delivery has begun."""
        return answers.webhook_url(await self._ask(webhook_detail(self._key, job_id)))

    async def cancel(self, job_id: str) -> None:
        """See the port."""
        answers.check_stopped(await self._ask(cancel(self._key, job_id)))

    async def close(self) -> None:
        """See the port."""
        await self._http.close()

    def _order(self, request: JobRequest) -> ApiCall:
        """Return the call of a create.

        Raises:
            services.errors.VendorRefused: the configuration has no place for what is asked, or an input is missing: the
                workflow would run, and be paid for, with the picture that it was saved with.
        """
        workflow = self._workflows.get(request.kind)
        if workflow is not None and request.videos:
            workflow = workflow.with_video
        if workflow is None:
            which = " with a video" if request.videos else ""
            raise VendorRefused(f"no workflow is configured for {request.kind!r}{which}")
        missing = sorted(workflow.inputs.keys() - request.inputs.keys())
        if missing:
            raise VendorRefused(f"workflow {request.kind!r} was given no {', '.join(missing)}")
        nodes: list[dict[str, str]] = []
        for name, value in ({**request.values, **request.inputs}).items():
            node = _node(request.kind, workflow, name, value, video=name in request.videos)
            nodes.append({"nodeId": node.node_id, "fieldName": node.field, "fieldValue": value})
        body: dict[str, object] = {
            "nodeInfoList": nodes,
            # Metadata in a result would show prompt and workflow to the end user.
            "addMetadata": False,
            "instanceType": workflow.instance_type,
            "usePersonalQueue": "false",
        }
        if request.webhook:
            body["webhookUrl"] = request.webhook
        return self._api.create(workflow.workflow_id, body)

    def _outputs(self, kind: str) -> frozenset[str]:
        known = self._workflows.get(kind)
        if known is not None:
            return frozenset(known.outputs)
        if any(not each.outputs for each in self._workflows.values()):
            return frozenset()
        return frozenset(node for each in self._workflows.values() for node in each.outputs)

    async def _ask(self, call: ApiCall) -> ApiResponse:
        method, content = ("GET", b"") if call.body is None else ("POST", msgspec.json.encode(call.body))
        return await self._http.ask(method, call.path, content)


def _node(kind: str, workflow: Workflow, name: str, value: str, *, video: bool) -> Node:
    """Return the node field of a value.

    Raises:
        services.errors.VendorRefused: the workflow's file has no place for it.
    """
    # References to uploads are bare names, so only an input that was too large for one is a URL.
    if name in workflow.inputs and "://" in value:
        node = workflow.url_inputs.get(name)
        if node is None:
            text = (
                f"input {name!r} is too large for an upload, and the workflow file of {kind!r} has no url_inputs.{name}"
            )
            raise VendorRefused(text, code=Code.VIDEO_TOO_LARGE if video else Code.PICTURE_TOO_LARGE)
        return node
    node = workflow.inputs.get(name) or workflow.params.get(name)
    if node is None:
        raise VendorRefused(f"workflow {kind!r} has no node for the value {name!r}")
    return node
