"""State of the stand-in, without any I/O: jobs, their lists, links to results, faults."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sandbox.armed import ArmedFaults
from sandbox.vod.model import Account, Fault, Job, Refusal, Wanted

__all__ = ["Core"]

_GUARDED_S: Final = 3 * 86_400.0
"""Seconds for which a SessionId is refused, and a job is listed and found."""
_MOST_ROWS: Final = 100
_ROWS: Final = 10


class Core:
    """Jobs and faults.

    Args:
        accounts: SecretId -> account.
        clock: seconds since the epoch.
        duration_s: seconds that a job takes, varied by up to a fifth.
        lag_s: seconds until a job is in the list.
        url_ttl_s: seconds until the link to a result expires.
        seed: the same seed and calls give the same durations, ids and pictures.
    """

    def __init__(
        self,
        *,
        accounts: Mapping[str, Account],
        clock: Callable[[], float],
        duration_s: float,
        lag_s: float,
        url_ttl_s: float,
        seed: int,
    ) -> None:
        self.accounts: Final = accounts
        self.clock: Final = clock
        self.seed: Final = seed
        self.faults: Final = ArmedFaults[Fault](clock)
        self._duration = duration_s
        self._lag = lag_s
        self._ttl = url_ttl_s
        self._jobs: dict[str, Job] = {}
        self._counts: dict[str, int] = dict.fromkeys(
            ("creates", "lists", "queries", "cancels", "refused", "duplicates", "files"), 0
        )

    def arm(self, fault: Fault) -> None:
        """Arm a fault; callable from any thread."""
        self.faults.arm(fault)

    def disarm(self) -> None:
        """Disarm all faults."""
        self.faults.clear()

    def count(self, what: str) -> None:
        """Count for the statistics."""
        self._counts[what] += 1

    def accept(self, account: str, wanted: Wanted) -> Job:
        """Accept a create.

        Raises:
            Refusal: its SessionId was used before, or the account has as many jobs as it may have.
        """
        now = self.clock()
        if wanted.session and any(job.wanted.session == wanted.session for job in self._recent(account)):
            self.count("duplicates")
            raise Refusal("InvalidParameterValue.SessionId", "The SessionId was used before.")
        working = [job for job in self._recent(account) if job.state(now) in {"WAITING", "PROCESSING"}]
        if len(working) >= self.accounts[account].concurrent:
            raise Refusal("RequestLimitExceeded", "The concurrency of the model is exceeded.")
        number = len(self._jobs) + 1
        share = random.Random(f"{self.seed} {number}").uniform(0.8, 1.2)  # noqa: S311 - no secret, and repeatable
        token = hashlib.sha256(f"{self.seed} job {number}".encode()).hexdigest()[:32]
        job = Job(
            id=f"{self.accounts[account].application}-{wanted.type}-{token}t",
            number=number,
            account=account,
            wanted=wanted,
            created=now,
            duration=self._duration * share,
            files=wanted.count,
        )
        self._jobs[job.id] = job
        return job

    def job(self, account: str, job_id: str) -> Job:
        """Return a job.

        Raises:
            Refusal: the account has no such job.
        """
        found = self._jobs.get(job_id)
        if found is None or found not in self._recent(account):
            raise Refusal("ResourceNotFound", "The task does not exist.")
        return found

    def abort(self, account: str, job_id: str) -> None:
        """Stop a job that waits.

        Raises:
            Refusal: there is none, or it works or has ended.
        """
        job = self.job(account, job_id)
        if job.state(self.clock()) != "WAITING":
            raise Refusal("FailedOperation", "Only a waiting task can be aborted.")
        job.aborted = True

    def page(self, account: str, body: Mapping[str, Any], *, lags: bool = False) -> dict[str, Any]:
        """Return a page of the list of jobs, which lags.

        Raises:
            Refusal: the filter is not valid.
        """
        limit = int(body.get("Limit", _ROWS))
        if not 1 <= limit <= _MOST_ROWS:
            raise Refusal("InvalidParameterValue.LimitTooLarge", "The Limit is not valid.")
        now, span = self.clock(), body.get("CreateTime", {})
        newest = now - (3600.0 if lags else self._lag)
        after = _seconds(span["After"]) if "After" in span else 0.0
        rows = [job for job in self._recent(account) if after <= job.created <= newest]
        if status := body.get("Status"):
            rows = [job for job in rows if job.state(now) == status]
        rows.sort(key=lambda job: job.number, reverse=body.get("Sort", {}).get("Order") != "Asc")
        start = int(body.get("ScrollToken") or 0)
        more = str(start + limit) if start + limit < len(rows) else ""
        return {"TaskSet": [_row(job, now) for job in rows[start : start + limit]], "ScrollToken": more}

    def link(self, job: Job, index: int, base_url: str) -> str:
        """Return the link to a picture, which expires."""
        end = str(int(self.clock() + self._ttl))
        name = f"{job.number:06d}{index}"
        return f"{base_url}/results/{name}/aigcImageGenFile.{job.wanted.format}?t={end}&sign={self._sign(name, end)}"

    def file(self, name: str, end: str, signature: str) -> tuple[Job, int]:
        """Return the job and the number of the picture that a link names.

        Raises:
            KeyError: the link names no picture.
            PermissionError: a wrong signature, or an expired link.
        """
        found = next((job for job in self._jobs.values() if f"{job.number:06d}" == name[:-1]), None)
        if found is None:
            raise KeyError(name)
        if not hmac.compare_digest(signature, self._sign(name, end)) or int(end) < self.clock():
            raise PermissionError("AccessDenied")
        self.count("files")
        return found, int(name[-1])

    def stats(self) -> dict[str, Any]:
        """Return counts, and every job ever accepted; those that do not fail are paid for."""
        now = self.clock()
        jobs = [
            {
                "id": job.id,
                "model": job.wanted.model,
                "session": job.wanted.session,
                "prompt": job.wanted.prompt,
                "size": job.wanted.size,
                "references": len(job.references),
                "state": job.state(now),
                "failure": job.failure,
                "queries": job.queries,
            }
            for job in list(self._jobs.values())
        ]
        charged = sum(not job.failure and not job.aborted for job in self._jobs.values())
        return {**self._counts, "charged": charged, "jobs": jobs}

    def _recent(self, account: str) -> list[Job]:
        oldest = self.clock() - _GUARDED_S
        return [job for job in self._jobs.values() if job.account == account and job.created >= oldest]

    def _sign(self, name: str, end: str) -> str:
        return hmac.new(f"stand-in {self.seed}".encode(), f"{name} {end}".encode(), hashlib.sha256).hexdigest()


def _row(job: Job, now: float) -> dict[str, Any]:
    return {
        "TaskId": job.id,
        "Status": job.state(now),
        "TaskType": job.wanted.type,
        "FileId": "",
        "CreateTime": f"{datetime.fromtimestamp(job.created, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "SessionId": job.wanted.session,
        "SessionContext": job.wanted.context,
    }


def _seconds(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Refusal("InvalidParameterValue", "The CreateTime is not valid.") from None
