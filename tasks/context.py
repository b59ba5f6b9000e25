"""The bundle of services of a stage or a producer, passed in as one value, and the policy of the deployment.

A producer gets only the services that it uses, so its function needs no other settings and rights.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from messages.signing import MessageKeys
from recipes.recipe import Recipe
from recipes.table import RECIPES
from services.backend import Backend
from services.fetch import Fetcher
from services.media.ai_labels import AiLabels
from services.objects.port import Objects
from services.urls import HostRules
from services.vendors.chat import ChatModel
from services.vendors.registry import Vendors
from tasks.calls.identity import CallIdentities
from tasks.calls.lines import VendorLines
from tasks.calls.spend import DailySpend
from tasks.calls.webhook_paths import Webhooks
from tasks.control.reader import PauseReader
from tasks.ledger.ledger import Ledger
from telemetry.secrets import Secret
from transport.port import Broker

__all__ = [
    "ApiServices",
    "ErasureServices",
    "LedgerServices",
    "Policy",
    "ReplayServices",
    "Services",
    "SweepServices",
    "TriggerServices",
    "WebhookServices",
]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Rules that a deployment may set."""

    ticket_secret: Secret = field(default_factory=lambda: Secret(""))
    ticket_required: bool = True
    upload_limit_s: float = 3600.0
    block_suspect: bool = True
    """True if suspect pictures among the results are blocked."""
    audit_inputs: bool = True
    block_suspect_inputs: bool = False
    sources: HostRules = field(default_factory=lambda: HostRules(frozenset(), any_public=True))
    """Hosts that inputs given as URLs may come from."""
    expected_s: float = 0.0
    """Usual seconds of the vendor's work; 0 takes the recipe's figure."""
    deadline_limit_s: float = 0.0
    """Most seconds from acceptance to the deadline; 0 takes the recipe's figure."""
    vendor_full_pause_s: float = 30.0
    prompt_patience_s: float = 0.0
    """Patience with an outage of the chat model, in seconds; 0 takes the recipe's figure."""
    vendors: Mapping[str, str] = field(default_factory=dict[str, str])
    """Kind -> the vendor that does it from now on, of kinds that several may do; no entry for the recipe's first."""
    daily_calls: Mapping[str, int] = field(default_factory=dict[str, int])
    """Vendor -> its paid calls of a UTC day, at most; no entry for no cap."""


@dataclass(frozen=True, kw_only=True)
class WebhookServices:
    """Services of the vendors' webhook: no bucket, and no secret but its own."""

    broker: Broker
    keys: MessageKeys = field(default_factory=MessageKeys)
    """Keys that messages are signed and checked with."""
    webhooks: Webhooks = field(default_factory=lambda: Webhooks("", Secret("")))
    """Paths of the vendors' webhook calls."""
    clock: Callable[[], float] = time.time
    """This machine's clock, seconds since the epoch; the ledger's `now` is the store's."""


@dataclass(frozen=True, kw_only=True)
class LedgerServices:
    """Services of a reader of the ledger, and of the purge of dead letters."""

    keys: MessageKeys = field(default_factory=MessageKeys)
    """Keys that messages are signed and checked with."""
    ledger: Ledger


@dataclass(frozen=True, kw_only=True)
class ErasureServices(LedgerServices):
    """Services of the erasure of a user's data: both buckets."""

    objects: Objects
    """The data bucket: input, source, staging, output."""
    chat_models: Sequence[str] = ()
    """Chat models whose cached texts are deleted."""
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: RECIPES)


@dataclass(frozen=True, kw_only=True)
class ReplayServices(LedgerServices):
    """Services of the replay of dead letters: neither buckets of pictures, nor the backend, nor vendors."""

    broker: Broker


@dataclass(frozen=True, kw_only=True)
class SweepServices(ReplayServices):
    """Services of the sweep."""

    backend: Backend
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: RECIPES)


@dataclass(frozen=True, kw_only=True)
class TriggerServices:
    """Services of the acceptance of uploads."""

    broker: Broker
    keys: MessageKeys = field(default_factory=MessageKeys)
    """Keys that messages are signed and checked with."""
    objects: Objects
    """The data bucket: input, staging, output."""
    bucket: str
    """Name of the data bucket, with the APPID."""
    ledger: Ledger
    policy: Policy
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: RECIPES)
    rng: random.Random = field(default_factory=random.Random)
    """Jitter."""


@dataclass(frozen=True, kw_only=True)
class ApiServices(TriggerServices, SweepServices):
    """Services of the HTTP API: no vendor, and no secret of one."""


@dataclass(frozen=True, kw_only=True)
class Services(TriggerServices, SweepServices, WebhookServices):
    """All services, for the consumers: opened by `runtime.wiring`, or put together by a test."""

    vendors: Vendors
    chats: Mapping[str, ChatModel] = field(default_factory=dict[str, ChatModel])
    """Chat models by the name that recipes use."""
    fetcher: Fetcher
    identities: CallIdentities = field(default_factory=lambda: CallIdentities("", Secret("")))
    """Identities of paid calls, for vendors that find a call by its identity."""
    labels: AiLabels | None = None
    """Maker of the labels of AI-made content in results; None writes none."""
    lines: VendorLines = field(default_factory=VendorLines)
    """Runs that wait for room at a vendor, as this process knows them."""
    spend: DailySpend = field(default_factory=DailySpend)
    """Numbers of the day's paid calls, as this process took them."""
    pauses: PauseReader = field(default_factory=PauseReader)
    """Reader of the operators' pauses."""
