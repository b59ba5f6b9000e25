"""The content audit: only results that pass it are shown, and only inputs that pass it are paid for.

Pictures and texts are answered at once; videos take their time (`tasks.video_audits`), so that a run whose
results are videos goes on as messages of stage `audit`. Their visible label is drawn before (`tasks.video_labels`).

`staged` comes first: exactly these files are audited and shown, and nothing else of the run counts any more. A result
that the audit blocks is lost, and with it its slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from consumers.engine.outcomes import Done, Finish, Next, Outcome, Reject, Snooze, dead_lettered
from consumers.engine.retry import OUTAGE_DELAY, jittered, outage_delay
from consumers.stages.schedule import next_audit
from messages.bodies import Audit, Reason, Stage
from messages.codec import Header
from messages.codes import Code
from messages.errors import Permanent, Rejected
from messages.keys import output_key
from services.errors import AuditDown, BadPicture, BadVideo, LabelDown, NotFound
from services.objects.port import PictureRule, Result
from services.repeat import repeated
from tasks.accepting.inputs import is_video
from tasks.context import Services
from tasks.errors import VendorFailed
from tasks.ledger.records import ManifestItem, Staged, StagedResult
from tasks.run import Task, load_task
from tasks.video_audits import find_videos
from tasks.video_labels import label_videos
from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import SpanName
from telemetry.points import reached
from telemetry.tracing import span

__all__ = [
    "FEWER_RESULTS",
    "audit",
    "audit_staged",
    "audited",
    "audited_text",
    "blocked_slots",
    "end_of",
    "is_blocked",
    "is_picture",
]

FEWER_RESULTS: Final = "fewer_results"
"""In `degraded`: some slots ended badly, or their results were blocked."""

log = logs.get(__name__)


def is_blocked(result: Result, *, block_suspect: bool) -> bool:
    """Return True if a picture or text with this finding must not be shown or paid for."""
    return result.violation or (result.suspect and block_suspect)


async def audited(keys: Sequence[str], services: Services, *, block_suspect: bool) -> None:
    """Audit inputs, in one batch.

    Args:
        keys: keys of the pictures.
        services: the bundle of services.
        block_suspect: whether a suspect picture is blocked.

    Raises:
        messages.errors.Rejected: one of them is blocked (内容违规).
    """
    if not keys:
        return
    with span(SpanName.AUDIT, pictures=len(keys)):
        audits = await repeated(lambda: services.objects.audit(keys), services.rng)
    for found in audits:
        if is_blocked(found.result, block_suspect=block_suspect):
            raise Rejected(f"the audit found {found.result.label} in {found.key}", code=Code.CONTENT_VIOLATION)


async def audited_text(text: str, services: Services, *, block_suspect: bool | None = None) -> None:
    """Audit a text; a blank one passes: the service takes none.

    Args:
        text: the text.
        services: the bundle of services.
        block_suspect: whether a suspect text is blocked; None: as the deployment decides for results.

    Raises:
        messages.errors.Rejected: it is blocked (内容违规).
        services.errors.AuditDown: the audit gave no finding.
    """
    if not text.strip():
        return
    block = services.policy.block_suspect if block_suspect is None else block_suspect
    with span(SpanName.AUDIT, texts=1):
        found = await repeated(lambda: services.objects.audit_text(text), services.rng)
    if is_blocked(found, block_suspect=block):
        raise Rejected(f"the audit found {found.label} in a text", code=Code.CONTENT_VIOLATION)


async def audit(header: Header, _body: Audit, task: Task | None, services: Services) -> Outcome:
    """Audit the results in staging; repeated after an outage of the audit, and while it works on videos."""
    if task is None:
        if await services.ledger.verdict(header.run_id):
            return Finish()
        task = await load_task(header.run_id, services)
    staged = await services.ledger.read(task.run, Staged.at())
    if staged is None:
        raise Permanent(f"{task.run.stem} has no record `staged`")
    found = await _judge(task, staged.record, services)
    if not isinstance(found, _Unfinished):
        return found
    if found.down:
        return Snooze(jittered(outage_delay(header.seq), services.rng), why=found.down)
    return Snooze(jittered(next_audit(header.seq), services.rng))


async def audit_staged(task: Task, staged: Staged, services: Services) -> Outcome:
    """Audit the run's set of results, and return its end: success with those that may be seen, or failed.

    An audit that is down is an outage: a later message of stage `audit` goes on, as it does while videos are audited.
    """
    found = await _judge(task, staged, services)
    if not isinstance(found, _Unfinished):
        return found
    return Next(Stage.AUDIT, Audit(), jittered(OUTAGE_DELAY if found.down else next_audit(0), services.rng))


class _Unfinished(msgspec.Struct, frozen=True):
    """There is no finding yet."""

    down: str = ""
    """Class of the error if the audit or the labelling is down; empty while they are running."""


async def _judge(task: Task, staged: Staged, services: Services) -> Outcome | _Unfinished:
    """Audit the run's set of results once; pictures only after the videos, whose looks are free."""
    try:
        labelled = await _labelled(task, staged, services)
        if labelled is None:
            return _Unfinished()
        staged, unusable = labelled
        videos = {file.key: file.slot for file in staged.files if is_video(file.key) and file.slot not in unusable}
        findings = await find_videos(task.run, Stage.AUDIT, [*videos], services) if videos else {}
    except LabelDown as down:
        log.warning(Event.LABEL_LATE, error=down)
        return _Unfinished(LabelDown.__name__)
    except AuditDown as down:
        log.warning(Event.AUDIT_LATE, error=down)
        return _Unfinished(AuditDown.__name__)
    if findings is None:
        return _Unfinished()
    seen = {key: found for key, found in findings.items() if not isinstance(found, BadVideo)}
    lost = dict.fromkeys(unusable, Code.VENDOR_FAILED)
    lost |= {slot: Code.VENDOR_FAILED for key, slot in videos.items() if key not in seen}
    lost |= _blocked(seen, videos, services)
    pictures = [file for file in staged.files if not is_video(file.key)]
    while left := [file for file in pictures if file.slot not in lost]:
        try:
            lost |= await blocked_slots(left, services)
            break
        except AuditDown as down:
            broken = next((file for file in left if file.key == down.key), None)
            if broken is None or await is_picture(broken.key, services):
                log.warning(Event.AUDIT_LATE, error=down)
                return _Unfinished(AuditDown.__name__)
            # Only this file has no finding, because it is no picture.
            lost[broken.slot] = Code.VENDOR_FAILED
    return end_of(task, staged, lost)


async def _labelled(task: Task, staged: Staged, services: Services) -> tuple[Staged, frozenset[int]] | None:
    """Return the results with their visible labels, and the slots whose video cannot be played; None while at work.

    Raises:
        services.errors.LabelDown: a video could not be submitted.
    """
    labels = services.labels
    videos = [file.key for file in staged.files if is_video(file.key)]
    if not videos or labels is None or not labels.visible:
        return staged, frozenset()
    found = await label_videos(task.run, videos, labels, services)
    if found is None:
        return None
    made = {key: file for key, file in found.items() if not isinstance(file, BadVideo)}
    files = tuple(
        msgspec.structs.replace(file, key=to.key, etag=to.etag, size=to.size) if (to := made.get(file.key)) else file
        for file in staged.files
    )
    unusable = frozenset(file.slot for file in staged.files if file.key in found and file.key not in made)
    return msgspec.structs.replace(staged, files=files), unusable


async def blocked_slots(files: Sequence[StagedResult], services: Services) -> dict[int, Code]:
    """Audit results that are pictures in one batch, and return the slots of those that are blocked.

    Raises:
        services.errors.AuditDown: there is no finding; its `key` names the file at fault, if there is one.
    """
    slots = {file.key: file.slot for file in files}
    with span(SpanName.AUDIT, pictures=len(files)):
        audits = await repeated(lambda: services.objects.audit([*slots]), services.rng)
    reached("results.audited")
    return _blocked({found.key: found.result for found in audits}, slots, services)


def _blocked(findings: Mapping[str, Result], slots: Mapping[str, int], services: Services) -> dict[int, Code]:
    """Return the slots with a result that must not be shown.

    Args:
        findings: key -> finding of the audit.
        slots: key -> its slot.
        services: the bundle of services.
    """
    block = services.policy.block_suspect
    blocked = {key: found for key, found in findings.items() if is_blocked(found, block_suspect=block)}
    for key, found in blocked.items():
        log.warning(Event.RESULT_BLOCKED, key=key, label=found.label)
    return {slots[key]: Code.CONTENT_VIOLATION for key in blocked}


def end_of(task: Task, staged: Staged, lost: Mapping[int, Code]) -> Outcome:
    """Return the end of a run whose results are audited.

    Args:
        task: the task.
        staged: its set of results.
        lost: slot -> why its results cannot be shown.
    """
    left = [file for file in staged.files if file.slot not in lost]
    slots = len({file.slot for file in left})
    if slots < task.accepted.enough:
        return _too_few(task, lost)
    fewer = (FEWER_RESULTS,) if slots < task.accepted.slots else ()
    return Done(tuple(_manifest(task, left)), staged.job, staged.degraded + fewer)


async def is_picture(key: str, services: Services) -> bool:
    """Return True if the picture service can read a staged file, for which the audit has no finding."""
    folder, _, name = key.rpartition("/")
    rule = PictureRule(f"{folder}/check_{name}", "imageMogr2/thumbnail/64x64>/format/jpg")
    try:
        await repeated(lambda: services.objects.process(key, [rule]), services.rng)
    except (BadPicture, NotFound):
        return False
    return True


def _too_few(task: Task, lost: Mapping[int, Code]) -> Outcome:
    """Return the end of a run that keeps too few slots; a blocked result is the reason that its user must see."""
    found = f"{len(lost)} of {task.accepted.slots} slots are lost, and {task.accepted.enough} are sold"
    if Code.CONTENT_VIOLATION not in lost.values():
        return dead_lettered(Reason.VENDOR, VendorFailed(found))
    log.warning(Event.TASK_REJECTED, error=Rejected(found, code=Code.CONTENT_VIOLATION))
    return Reject(Code.CONTENT_VIOLATION)


def _manifest(task: Task, files: Sequence[StagedResult]) -> Iterator[ManifestItem]:
    """Yield the results with their names; a still has the number of its video."""
    n = 0
    for file in files:
        n += not file.still
        name = (task.recipe.still if file.still else task.recipe.result).format(n, file.extension)
        yield ManifestItem(file.key, output_key(task.run, name), file.etag, file.size)
