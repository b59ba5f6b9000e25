"""Object-key rules: which uploads are inputs, and the keys of everything this product writes.

input/{user}/{task}/original.{extension}             one picture             (data bucket, written by clients)
input/{user}/{task}/task.json                        several inputs          (data bucket, written by clients)
source/{user}/{task}/[step_{n}/]task.json            a task of the API       (data bucket, closed to clients)
source/{user}/{task}/[step_{n}/]{nonce}/input_01.jpg an input that was fetched (data bucket, closed to clients)
staging/{user}/{task}/{step}-{run}/{nonce}/…         results before a verdict (data bucket, ages out in 7 days)
output/{user}/{task}/[step_{n}/]frame_01.jpg …       results of a success    (data bucket)
ledger/{user}/{task}/{step}-{run}/{record}           state                   (ledger bucket)
index/user/{user}/{reverse-time}/{task}              a user's tasks          (ledger bucket; empty objects)
index/day/{day}/{reverse-time}/{user}/{task}         a day's tasks           (ledger bucket; empty objects)
index/task/{task}/{user}                             a task by its id alone  (ledger bucket; empty objects)
done/{day}/{reverse-time}/{user}/{task}/…            delivered runs          (ledger bucket; see `done_key`)
dead/{day}/{fingerprint}/{id}                        dead letters            (ledger bucket)
dead/{day}/{fingerprint}/{id}/replayed-{n}, …/purged operators' acts on them (ledger bucket)
erased/{user}/{n}                                    operators' erasures  (ledger bucket)
status/{process}                                     a process's state       (ledger bucket; overwritten)
cache/prompt/{digest}                                texts of the chat model (ledger bucket; overwritten, ages out)
control/paused/{vendor|kind}/{name}                  an operator's pause     (ledger bucket; deleted when it ends)
control/changes/{reverse-time}/{nonce}               pauses and resumptions  (ledger bucket)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from messages.errors import InvalidKey

__all__ = [
    "CHANGES_PREFIX",
    "ID_PATTERN",
    "INPUT_EXTENSIONS",
    "INPUT_PREFIX",
    "OUTPUT_PREFIX",
    "PAUSES_PREFIX",
    "PICTURE_STEM",
    "SOURCE_PREFIX",
    "STAGING_PREFIX",
    "STATUS_PREFIX",
    "VIDEO_EXTENSIONS",
    "Facts",
    "IndexEntry",
    "InputKey",
    "RunId",
    "change_key",
    "check_id",
    "day_index_prefix",
    "dead_key",
    "dead_prefix",
    "done_key",
    "done_prefix",
    "erasure_key",
    "index_keys",
    "index_keys_of",
    "output_key",
    "parse_done_key",
    "parse_index_key",
    "parse_input_key",
    "pause_key",
    "prompt_cache_key",
    "record_key",
    "runs_prefix",
    "spend_key",
    "spend_prefix",
    "staging_prefix",
    "status_key",
    "task_index_prefix",
    "user_index_prefix",
    "user_records_prefix",
]

STATUS_PREFIX: Final = "status/"
"""Folder of the processes' statuses."""

PAUSES_PREFIX: Final = "control/paused/"
"""Folder of the operators' pauses."""

CHANGES_PREFIX: Final = "control/changes/"
"""Folder of the records of pauses and resumptions, the newest first."""

INPUT_PREFIX: Final = "input/"
"""Folder of clients' uploads, on which the COS trigger listens; the product writes nothing there."""

OUTPUT_PREFIX: Final = "output/"
"""Folder of the results of successes."""

STAGING_PREFIX: Final = "staging/"
"""Folder of results before their verdict."""

SOURCE_PREFIX: Final = "source/"
"""Folder of tasks that the API has sold and of inputs fetched for them; no trigger listens there."""

INPUT_EXTENSIONS: Final = ("jpg", "jpeg", "jfif", "png", "webp", "bmp")
"""Extensions, in any case, of pictures that are accepted: picture service and audit support their formats."""

VIDEO_EXTENSIONS: Final = ("mp4", "mov")
"""Extensions, in any case, of videos, where a kind takes one."""

PICTURE_STEM: Final = "original."
"""First part of a single picture's name. Any extension may follow: an unsupported format then ends its task at once."""

ID_PATTERN: Final = r"[A-Za-z0-9_-]{1,64}"
"""Form of an id in keys, messages and webhook paths; a single dash means no id (`messages.codec.NO_ID`)."""

_ID: Final = re.compile(rf"(?!-\Z){ID_PATTERN}\Z")
_NAME: Final = re.compile(rf"{re.escape(PICTURE_STEM)}[A-Za-z0-9]{{1,10}}\Z|task\.json\Z")
_REVERSE: Final = 10**13
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


class RunId(msgspec.Struct, frozen=True, order=True):
    """A run of a step of a task. Each run gets one verdict."""

    user: str
    task: str
    step: int = 0
    run: int = 0

    @property
    def stem(self) -> str:
        """`{user}/{task}/{step}-{run}`."""
        return f"{self.user}/{self.task}/{self.step}-{self.run}"


class InputKey(msgspec.Struct, frozen=True):
    """Key of an upload that starts a task."""

    user: str
    task: str
    name: str
    root: str = INPUT_PREFIX
    """`SOURCE_PREFIX` for a task of the API."""
    step: int = 0
    """Above 0 only for a task of the API."""

    @property
    def folder(self) -> str:
        """The task's folder, with a trailing slash."""
        step = f"step_{self.step}/" if self.step else ""
        return f"{self.root}{self.user}/{self.task}/{step}"

    @property
    def run(self) -> RunId:
        """First run of the step that it starts."""
        return RunId(self.user, self.task, self.step)


def check_id(value: str, field: str) -> str:
    """Return a task or user id that is safe in keys and URLs: 1 to 64 of `A-Z a-z 0-9 _ -`, not `-` alone.

    Raises:
        InvalidKey: it is not safe; the message names `field`.
    """
    if not _ID.match(value):
        raise InvalidKey(f"{field} must be 1 to 64 characters of A-Z a-z 0-9 _ - (not - alone), got {value[:80]!r}")
    return value


def parse_input_key(key: str) -> InputKey | None:
    """Return the task of an upload; None if the key starts no task (another file or folder).

    Raises:
        InvalidKey: the key has the shape of an input, but its ids are not safe.
    """
    parts = key.split("/")
    if len(parts) != 4 or f"{parts[0]}/" != INPUT_PREFIX or not _NAME.match(parts[3]):  # noqa: PLR2004 - the rule above
        return None
    return InputKey(check_id(parts[1], "userId"), check_id(parts[2], "taskId"), parts[3])


def record_key(run: RunId, name: str) -> str:
    """Return the key of a ledger record."""
    return f"ledger/{run.stem}/{name}"


def runs_prefix(run: RunId) -> str:
    """Return the common prefix of all runs of the same step; `{run}/{record}` follows it."""
    return f"ledger/{run.user}/{run.task}/{run.step}-"


def user_records_prefix(user: str) -> str:
    """Return the folder of all records of a user; `{task}/{step}-{run}/{record}` follows it."""
    return f"ledger/{user}/"


def erasure_key(user: str, number: int) -> str:
    """Return the key of the record of a user's n-th erasure, from 1."""
    return f"erased/{user}/{number}"


def staging_prefix(run: RunId, nonce: str = "") -> str:
    """Return the folder of results before the verdict, with a trailing slash: of one writer, or of the whole run."""
    folder = f"{STAGING_PREFIX}{run.stem}/"
    return f"{folder}{nonce}/" if nonce else folder


def output_key(run: RunId, name: str) -> str:
    """Return the key of a success's result; later steps of a pipeline have folders of their own."""
    step = f"step_{run.step}/" if run.step else ""
    return f"{OUTPUT_PREFIX}{run.user}/{run.task}/{step}{name}"


def index_keys(user: str, task: str, created: float) -> tuple[str, str, str]:
    """Return the keys of a task's index entries: by user, by day and by task; newest first in key order.

    Args:
        user: user of the task.
        task: id of the task.
        created: time of acceptance, in seconds since the epoch.
    """
    reverse = _reverse(created)
    return (
        f"{user_index_prefix(user)}{reverse}/{task}",
        f"{day_index_prefix(created)}{reverse}/{user}/{task}",
        f"{task_index_prefix(task)}{user}",
    )


class IndexEntry(msgspec.Struct, frozen=True):
    """An entry of the index by user or by day."""

    key: str
    user: str
    task: str
    created: float
    """Time of acceptance, in seconds since the epoch."""


def parse_index_key(key: str) -> IndexEntry | None:
    """Read the key of an entry by user or by day back; None for a key of another form."""
    match key.split("/"):
        case ["index", "user", user, reverse, task]:
            pass
        case ["index", "day", _, reverse, user, task]:
            pass
        case _:
            return None
    if not (re.fullmatch("[0-9]{13}", reverse) and _ID.match(user) and _ID.match(task)):
        return None
    return IndexEntry(key, user, task, (_REVERSE - int(reverse)) / 1000)


def index_keys_of(entry: IndexEntry) -> tuple[str, str, str]:
    """Return the keys of a task's entries by day, by task and by user, from that by user; this one is the last."""
    reverse = entry.key.split("/")[3]
    return (
        f"{day_index_prefix(entry.created)}{reverse}/{entry.user}/{entry.task}",
        f"{task_index_prefix(entry.task)}{entry.user}",
        f"{user_index_prefix(entry.user)}{reverse}/{entry.task}",
    )


class Facts(msgspec.Struct, frozen=True):
    """Facts in the key of a delivered run, so that a listing alone is enough for statistics."""

    ended: float
    """Time of its verdict, in seconds since the epoch."""
    kind: str
    state: str
    """success, failed or cancelled."""
    code: str
    """Code of the catalogue; empty for a success."""
    wait_s: int
    """Seconds from acceptance until work began."""
    run_s: int
    """Seconds from the begin of work until the verdict."""
    cost: str
    """Cost as the vendors count it, `{number}_{unit}` joined by `_`, such as `17_coins`; empty if unknown."""


def done_key(run: RunId, facts: Facts) -> str:
    """Return the key of a delivered run's entry: newest first within its day (UTC); `-` stands for an empty part."""
    said = (facts.kind, facts.state, facts.code, facts.wait_s, facts.run_s, facts.cost)
    tail = "/".join(_UNSAFE.sub("_", str(part)) or "-" for part in said)
    return f"{done_prefix(facts.ended)}{_reverse(facts.ended)}/{run.stem}/{tail}"


def parse_done_key(key: str) -> tuple[RunId, Facts] | None:
    """Read the key of a delivered run's entry back; None for a key of another form."""
    parts = key.split("/")
    try:
        _, _, reverse, user, task, run, kind, state, code, wait_s, run_s, cost = parts
        step, _, number = run.partition("-")
        ended = (_REVERSE - int(reverse)) / 1000
        named = ["" if part == "-" else part for part in (kind, state, code, cost)]
        facts = Facts(ended, named[0], named[1], named[2], int(wait_s), int(run_s), named[3])
        return RunId(user, task, int(step), int(number)), facts
    except ValueError:
        return None


def done_prefix(when: float) -> str:
    """Return the folder of the runs that were delivered on the day (UTC) of a moment, in seconds since the epoch."""
    return f"done/{_day(when)}/"


def user_index_prefix(user: str) -> str:
    """Return the folder of a user's index entries; `{reverse-time}/{task}` follows it."""
    return f"index/user/{user}/"


def day_index_prefix(when: float) -> str:
    """Return the folder of the index entries of the day (UTC) of a moment, in seconds since the epoch."""
    return f"index/day/{_day(when)}/"


def task_index_prefix(task: str) -> str:
    """Return the folder of a task's index entry; its user follows it."""
    return f"index/task/{task}/"


def dead_key(day: str, fingerprint: str, identity: str) -> str:
    """Return the key of a dead letter's record; `day` is `YYYY-MM-DD`, UTC."""
    return f"dead/{day}/{fingerprint}/{identity}"


def dead_prefix(day: str = "", fingerprint: str = "") -> str:
    """Return the common prefix of the dead letters of a day (of all days without one), or of one fingerprint in it."""
    folder = f"dead/{day}/" if day else "dead/"
    return f"{folder}{fingerprint}/" if day and fingerprint else folder


def spend_prefix(vendor: str, day: str) -> str:
    """Return the folder of the paid calls of a vendor on a day (`YYYY-MM-DD`, UTC); their numbers follow it."""
    return f"spend/{vendor}/{day}/"


def spend_key(vendor: str, day: str, number: int) -> str:
    """Return the key of a paid call of a day, by its number from 1; key order is number order."""
    return f"{spend_prefix(vendor, day)}{number:07d}"


def status_key(process: str) -> str:
    """Return the key of a process's status, which is overwritten, unlike every record; unsafe characters become `_`."""
    return f"{STATUS_PREFIX}{_UNSAFE.sub('_', process)}"


def pause_key(of: str, name: str) -> str:
    """Return the key of an operator's pause; `of` is `vendor` or `kind`."""
    return f"{PAUSES_PREFIX}{of}/{name}"


def change_key(when: float, nonce: str) -> str:
    """Return the key of the record of a pause or resumption at a moment, in seconds since the epoch."""
    return f"{CHANGES_PREFIX}{_reverse(when)}/{nonce}"


def prompt_cache_key(digest: str) -> str:
    """Return the key of a text that may be used again, which is overwritten, unlike every record."""
    return f"cache/prompt/{digest}"


def _day(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).date().isoformat()


def _reverse(when: float) -> str:
    return f"{_REVERSE - int(when * 1000):013d}"
