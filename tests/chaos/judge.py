"""The judgement of a run of chaos: the promise, by the quota account, the ledger, the vendors and what is shown."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from console.cli.client import Sold
from messages.keys import RunId
from sandbox.environment import Sandbox
from tasks.context import Services
from tasks.ledger.records import Delivered, Verdict
from tasks.ledger.snapshot import PaidCall

if TYPE_CHECKING:
    from tests.chaos.run import Report

__all__ = ["judge"]

_SHOWS: Final = frozenset({"success"})


async def judge(report: Report, sold: Sequence[Sold], sandbox: Sandbox, services: Services) -> None:
    """Add to a report the result of every task, and each broken promise."""
    account = await asyncio.to_thread(sandbox.quota_account)
    rows = {row["task_id"]: row for row in account["tasks"]}
    report.charged, report.refunded = account["charged"], account["refunded"]
    report.violations += [f"a callback for a step that was never sold: {stray}" for stray in account["strays"]]
    calls = 0
    for one in sold:
        row = rows[one.task_id]
        report.callbacks += len(row["callbacks"])
        report.duplicates += max(0, len(row["callbacks"]) - 1 - row["run"])
        report.verdicts[f"{one.kind}: {row['status']} {row['error_code']}".strip()] += 1
        report.violations += [f"{one.task_id} ({one.kind}): {text}" for text in await _judge_task(one, row, services)]
        calls += await _paid_calls(one, services, report)
    stats = await asyncio.to_thread(sandbox.vendor_stats)
    report.paid = len(stats["jobs"])
    if report.paid > calls:
        report.violations.append(f"the vendor made {report.paid} jobs for {calls} calls")


async def _judge_task(sold: Sold, row: Mapping[str, Any], services: Services) -> list[str]:
    """Check for one delivered verdict of one effect, one charge, a refund of a failure, results only of a success."""
    found: list[str] = []
    ledger, run = services.ledger, RunId(sold.user_id, sold.task_id)
    verdict = await ledger.read(run, Verdict.at())
    if verdict is None:
        return [f"no verdict; the backend has {row['status']}"]
    status = "success" if verdict.record.status == "success" else "failed"
    if row["status"] != status:
        found.append(f"the verdict is {status}, the backend has {row['status']}")
    if await ledger.read(run, Delivered.at()) is None:
        found.append("its verdict is not delivered")
    said = Counter(call["status"] for call in row["callbacks"] if call["signature_ok"])
    if set(said) != {status} or not all(call["signature_ok"] for call in row["callbacks"]):
        found.append(f"callbacks say {dict(said)}")
    if (row["charges"], row["refunds"]) != (1, 0 if status == "success" else 1):
        found.append(f"charged {row['charges']}, refunded {row['refunds']}, {status}")
    shown = (await services.objects.list(f"output/{sold.user_id}/{sold.task_id}/")).items
    wanted = {item.target: item.etag for item in verdict.record.manifest} if status in _SHOWS else {}
    if {item.key: item.etag for item in shown} != wanted:
        found.append(f"{len(shown)} results are shown, {len(wanted)} are in the verdict")
    if status in _SHOWS and not wanted:
        found.append("a success without results")
    return found


async def _paid_calls(sold: Sold, services: Services, report: Report) -> int:
    """Count the calls of RunningHub that may have made a job; a slot may have one that was accepted or is unknown."""
    run, count = RunId(sold.user_id, sold.task_id), 0
    accepted = await services.ledger.accepted(run)
    for slot in range(1, (accepted.slots if accepted else 1) + 1):
        calls = await services.ledger.calls(run, slot)
        sent = [call for call in calls if not _is_refused(call)]
        if len(sent) > 1:
            report.violations.append(f"{sold.task_id}: slot {slot} has {len(sent)} paid calls")
        count += sum(call.vendor == "runninghub" for call in sent)
    return count


def _is_refused(call: PaidCall) -> bool:
    return call.end is not None and call.end.how == "not_accepted"
