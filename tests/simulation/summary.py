"""Results of many histories: counts that can be added up, and their printed form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from tests.simulation.history import Report
from tests.simulation.oracle import Violation

_SHOWN: Final = 10
"""Failing seeds that are listed."""


@dataclass
class Summary:
    """Counts of some histories; it travels between processes, as a history does not."""

    seeds: int = 0
    tasks: int = 0
    virtual_s: float = 0.0
    deliveries: int = 0
    refunds: int = 0
    paid: int = 0
    crashes: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[Violation]] = field(default_factory=dict)
    """Seed -> promises that were broken."""

    @classmethod
    def of(cls, report: Report) -> Self:
        """The counts of one history."""
        return cls(
            seeds=1,
            tasks=report.tasks,
            virtual_s=report.virtual_s,
            deliveries=report.deployment.deliveries,
            refunds=report.refunds,
            paid=report.paid,
            crashes=report.faults["crash"],
            verdicts=report.verdicts,
            faults=report.faults,
            failed={report.seed: report.violations} if report.violations else {},
        )

    def add(self, other: Summary) -> None:
        """Count those of others too."""
        self.seeds += other.seeds
        self.tasks += other.tasks
        self.virtual_s += other.virtual_s
        self.deliveries += other.deliveries
        self.refunds += other.refunds
        self.paid += other.paid
        self.crashes += other.crashes
        self.verdicts.update(other.verdicts)
        self.faults.update(other.faults)
        self.failed.update(other.failed)

    def lines(self, wall_s: float) -> Iterator[str]:
        """Say it.

        Args:
            wall_s: seconds that it took.
        """
        yield f"seeds {self.seeds}, tasks {self.tasks}, deliveries {self.deliveries}"
        yield f"faults {self.faults.total()}: {_counted(self.faults)}"
        yield f"crashes {self.crashes}"
        yield f"verdicts {self.verdicts.total()}: {_counted(self.verdicts)}"
        yield f"refunds {self.refunds}, paid calls {self.paid}"
        yield f"virtual hours {self.virtual_s / 3600:.0f}, wall time {wall_s:.0f} s"
        for seed, violations in sorted(self.failed.items())[:_SHOWN]:
            yield f"seed {seed} FAILED: {'; '.join(map(str, violations))}"
        yield f"{len(self.failed)} of {self.seeds} seeds failed"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def timeline_of(report: Report, tasks: Sequence[str] = ()) -> Iterator[str]:
    """A history for people: its script, what was broken, and what happened.

    Args:
        report: of the history.
        tasks: those of interest, beside what concerns all; where none is named, those whose promise was broken, or all.
    """
    yield report.script
    chosen = frozenset(tasks or [violation.task for violation in report.violations if violation.task])
    timeline = report.deployment.timeline
    yield from map(str, timeline.about(chosen) if chosen else timeline.events)
    for violation in report.violations:
        yield f"BROKEN {violation}"
    yield f"verdicts: {_counted(report.verdicts)}"
