"""A vendor that guards its creates by the call's identity, behind the product's own client of VOD."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec

from services.errors import CreateUnknown, VendorDown
from services.objects.credentials import Credentials
from services.vendors.port import JobState
from services.vendors.vod.client import Vod
from telemetry.secrets import Secret
from tests.engine.standins import FILES_HOST, Plan, ScriptedJob
from tests.engine.virtual import wall
from tests.simulation.machines import Machine
from tests.simulation.standins import EVER, Slot, Vendor, slot_of

__all__ = ["GuardedVendor", "client_of"]

_KEYS: Final = Credentials(Secret("AKIDrole0123456789"), Secret("secret-of-the-role"), Secret("sts-token"))
_KNOWN: Final = 40
"""Characters of an identity by which its call is known here: a planted defect changes the others."""


class GuardedVendor(Vendor):
    """State of such a vendor besides its jobs."""

    def __init__(self, name: str, room: int) -> None:
        super().__init__(name, 1, room)
        self.calls: dict[str, str] = {}
        """Identity of each call that there may be -> its webhook URL, which names its slot."""
        self.sessions: dict[str, str] = {}
        """Identity -> job that was accepted with it."""
        self.lags: dict[Slot, float] = {}
        """Slot -> seconds until the list shows its job."""
        self.seen: set[str] = set()
        """Identities that arrived."""

    def webhook_of(self, session: str) -> str:
        """The URL of the call with an identity."""
        return next((url for known, url in self.calls.items() if known[:_KNOWN] == session[:_KNOWN]), "")

    def listed_at(self, job: ScriptedJob) -> float:
        """When the list shows a job, seconds since the epoch."""
        return job.since + self.lags.get(slot_of(job.webhook), 0.0)


def client_of(machine: Machine, vendor: GuardedVendor) -> Vod:
    """The product's client, on one machine."""
    server = _Server(machine, vendor)
    return Vod(
        base_url="https://vod.example",
        credentials=lambda: _KEYS,
        sub_app_id=7,
        model="GG-3.1",
        result_hosts=frozenset({FILES_HOST}),
        clock=machine.now,
        transport=lambda: httpx.MockTransport(server.answer),
    )


class _Server:
    """The vendor's transport for the requests of one machine."""

    def __init__(self, machine: Machine, vendor: GuardedVendor) -> None:
        self._machine = machine
        self._vendor = vendor

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or lose it or its answer."""
        body = msgspec.json.decode(request.content)
        try:
            answer = await self._answer(request.headers["X-TC-Action"], body)
        except (CreateUnknown, VendorDown) as error:
            raise httpx.ReadError(str(error)) from error
        return httpx.Response(200, json={"Response": {**answer, "RequestId": "1"}})

    async def _answer(self, action: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        match action:
            case "DescribeTasks":
                place = "vendor.room" if body.get("Limit") == 1 else "vendor.list"
                return await self._passed(place, self._list)
            case "DescribeTaskDetail":
                return await self._passed(f"vendor.query {body['TaskId']}", lambda: self._detail(body["TaskId"]))
            case "ManageTask":
                return await self._passed(f"vendor.cancel {body['TaskId']}", lambda: self._abort(body["TaskId"]))
            case _:
                return await self._create(body["SessionId"])

    async def _passed(self, place: str, act: Any) -> Mapping[str, Any]:
        await self._machine.pass_by(place, done=False)
        answer: Mapping[str, Any] = act()
        await self._machine.pass_by(place, done=True)
        return answer

    async def _create(self, session: str) -> Mapping[str, Any]:
        vendor, webhook = self._vendor, self._vendor.webhook_of(session)
        slot = slot_of(webhook)
        place = f"vendor.create {slot}"
        await self._machine.pass_by(place, done=False)
        # The same create once more is no further call.
        vendor.posts[slot] += session not in vendor.seen
        vendor.seen.add(session)
        answers = vendor.answers.get(slot)
        answer = answers.pop(0) if answers else ""
        if session in vendor.sessions:
            said = _error("InvalidParameterValue.SessionId")
        elif answer == "full" or vendor.busy >= vendor.room:
            said = _error("RequestLimitExceeded")
        elif answer == "refused":
            said = _error("InvalidParameterValue")
        elif answer == "unheard":
            said = {}
        else:
            said = {"TaskId": self._accept(session, webhook)}
        await self._machine.pass_by(place, done=True)
        if answer in {"lost", "unheard"}:
            await asyncio.sleep(3600.0)
        return said

    def _accept(self, session: str, webhook: str) -> str:
        vendor, slot = self._vendor, slot_of(webhook)
        number = len(vendor.paid(slot)) + 1
        plan = vendor.plans.get(slot) or Plan(looks=EVER, within=60.0)
        job = ScriptedJob(f"job-{slot.task}-{slot.number}-{number}", plan, wall(), webhook)
        vendor.jobs[job.id] = job
        vendor.sessions[session] = job.id
        vendor.on_accept(job)
        return job.id

    def _list(self) -> Mapping[str, Any]:
        vendor = self._vendor
        shown = {session: job for session, job in vendor.sessions.items() if self._is_listed(vendor.jobs[job])}
        return {"TaskSet": [{"TaskId": job, "SessionId": session} for session, job in shown.items()]}

    def _is_listed(self, job: ScriptedJob) -> bool:
        return self._vendor.listed_at(job) <= wall()

    def _detail(self, name: str) -> Mapping[str, Any]:
        forgets = self._vendor.forgets_until > asyncio.get_running_loop().time()
        job = None if forgets else self._vendor.jobs.get(name)
        if job is None:
            return _error("ResourceNotFound")
        if job.working:
            return {"Status": "PROCESSING"}
        failed = job.cancelled or job.plan.end is JobState.FAILED
        count = 1 if job.plan.files is None else job.plan.files
        files = [{"FileUrl": f"https://{FILES_HOST}/{name}/{n}.jpg"} for n in range(1, count + 1)]
        block = {"Status": "FINISH", "ErrCode": 70000 if failed else 0, "Output": {"FileInfos": files}}
        return {"Status": "ABORTED" if job.cancelled else "FINISH", "AigcImageTask": block}

    def _abort(self, name: str) -> Mapping[str, Any]:
        self._vendor.jobs[name].cancelled = True
        return {}


def _error(code: str) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": "scripted"}}
