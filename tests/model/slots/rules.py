"""The rules of slots, each as a switch, so that a search can show what breaks without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tests.model.rules import Rules

__all__ = ["SLOTS", "SYNCHRONOUS", "SlotRules"]


@dataclass(frozen=True)
class SlotRules(Rules):
    """Size of the run, then the rules as the product keeps them; each field set the other way drops one rule."""

    slots: int = 2
    enough: int = 2
    """Slots that must end well."""
    last_call: int = 0
    """Epoch from which `enough` good slots are delivered without the others; 0: there is none."""
    synchronous: bool = False
    """The vendor's answer to a create is the result."""

    marks_by_slot: bool = True
    """Marks of polls bear the slot."""
    write_first: bool = True
    """A slot's end is written before the others are counted."""
    failure_reads: Literal["slot", "run", "nothing"] = "slot"
    """A dead letter fails its slot unless that slot (or any other) has a result, a live job or a young open call."""
    fault_ends: Literal["slot", "run"] = "slot"
    """A fault of generate or poll ends its slot, or the run."""
    last_call_collects: bool = True
    """From the last call on, `enough` good slots suffice."""
    collect_decided: bool = True
    """collect is published and works only once the run is decided."""
    audit_final: bool = True
    """A blocked result counts as lost, whatever the other slots do."""
    unknown_checked: bool = True
    """A letter about a call fails nothing where the slot has no open and no failed call: it was not accepted."""
    ended_fans_in: bool = True
    """A message that finds its slot ended counts the slots before it leaves."""
    staged_audited: bool = True
    """collect goes on to the audit where `staged` is stored already."""
    wake_fans_in: bool = True
    """A wake counts the slots after it has looked at each."""
    end_after_id: bool = True
    """The slot's end is read again after a job id was stored."""
    early_collect: Literal["copy", "leave"] = "copy"
    """A collect that begins before the run is decided comes again, or leaves."""


SLOTS: Final = SlotRules()
SYNCHRONOUS: Final = SlotRules(synchronous=True)
