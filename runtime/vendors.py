"""The registry of vendors: how each is opened from the settings, and how its webhook calls are read.

Chat models, which write prompts and are not paid by the call, have a table of their own.

A vendor has a folder in `services/vendors`, its settings, and an entry here. Its modules are imported when used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from messages.errors import Permanent
from messages.text import without_bom
from recipes.recipe import Recipe
from runtime.credentials import credentials_in
from runtime.errors import BadSettings
from runtime.settings import Settings, require
from runtime.vendor_keys import keys_of, share_of, with_key
from services.checks import Check
from services.objects.credentials import Credentials
from services.reach import Address
from services.vendors.chat import ChatModel
from services.vendors.port import Vendor
from services.vendors.registry import Vendors

__all__ = [
    "CHATS",
    "VENDORS",
    "ChatEntry",
    "CredentialsSource",
    "VendorEntry",
    "limits",
    "open_chats",
    "open_vendors",
    "parse_webhook",
    "vendor_checks",
]


CredentialsSource = Callable[[], Credentials]
"""Returns the current credentials of this machine: a role's change."""


class VendorEntry(msgspec.Struct, frozen=True):
    """A vendor of this build."""

    package: str
    """Its folder; the modules in it: `checks` with `checks(vendor)`, and, if it calls back, `webhook`."""
    open: Callable[[Settings, Mapping[str, Recipe], CredentialsSource], Vendor | None]
    """(settings, recipes of its kinds, credentials of this machine) -> its client; None if it is not set up."""
    address: Callable[[Settings], Address]
    """Address of its interface."""
    is_meant: Callable[[Settings], bool]
    """True if the settings name something of this vendor, its key or else."""
    has_keys: bool = True
    """True if its calls carry keys of its own; False if they are signed with the credentials of this machine."""
    calls_back: bool = False
    """True if it calls webhooks, whose bodies `parse_webhook(body)` of its module `webhook` reads."""


class ChatEntry(msgspec.Struct, frozen=True):
    """A vendor of chat models of this build."""

    package: str
    """Its folder, with a module `checks` that has `checks(model)`."""
    open: Callable[[Settings], ChatModel | None]
    """Settings -> its client; None if its key is not set."""
    address: Callable[[Settings], Address]
    """Address of its interface."""
    is_meant: Callable[[Settings], bool]
    """True if the settings name something of this vendor, its key or else."""


def open_vendors(
    settings: Settings, recipes: Mapping[str, Recipe], credentials: CredentialsSource | None = None
) -> list[Vendor]:
    """Open every vendor that is set up: a client for each key.

    Args:
        settings: the settings.
        recipes: every kind of work.
        credentials: returns the current credentials of this machine; None for those of the settings.

    Raises:
        runtime.errors.BadSettings: a vendor's settings cannot be used; the text names variable, file and field.
    """
    opened: list[Vendor] = []
    source = credentials or (lambda: credentials_in({}, settings))
    for name, entry in VENDORS.items():
        kinds = {kind: form for kind, recipe in recipes.items() for form in recipe.forms if form.vendor == name}
        each = [with_key(settings, key) for key in keys_of(settings, name)] if entry.has_keys else [settings]
        clients = [entry.open(one, kinds, source) for one in each]
        opened += [client for client in clients if client]
    return opened


def open_chats(settings: Settings) -> dict[str, ChatModel]:
    """Open every chat model whose key is set.

    Raises:
        runtime.errors.BadSettings: a vendor's settings cannot be used; the text names the variables.
    """
    opened = {name: entry.open(settings) for name, entry in CHATS.items()}
    return {name: model for name, model in opened.items() if model is not None}


def limits(settings: Settings) -> dict[str, int]:
    """Return vendor -> paid calls that this process may make at once with one key; no entry for no limit."""
    shares = {name: share_of(settings, name) for name in VENDORS}
    return {name: share for name, share in shares.items() if share is not None}


def parse_webhook(vendor: str, body: Mapping[str, Any]) -> str | None:
    """Return the job id in a webhook's body; None without one, or for a vendor that is unknown or calls no webhooks."""
    entry = VENDORS.get(vendor)
    if entry is None or not entry.calls_back:
        return None
    found: str | None = import_module(f"{entry.package}.webhook").parse_webhook(body)
    return found


def vendor_checks(settings: Settings, vendors: Vendors, chats: Mapping[str, ChatModel]) -> Sequence[Check]:
    """Return the checks of the vendors that the settings name.

    Args:
        settings: the settings.
        vendors: the clients of those whose key is set; each key is checked.
        chats: likewise the chat models.
    """
    paid = [
        msgspec.structs.replace(check, address=entry.address(settings), name=f"{check.name}{suffix}")
        for name, entry in VENDORS.items()
        if entry.is_meant(settings)
        for client, suffix in _clients(vendors.all(name))
        for check in import_module(f"{entry.package}.checks").checks(client)
    ]
    return paid + [
        msgspec.structs.replace(check, address=entry.address(settings))
        for name, entry in CHATS.items()
        if entry.is_meant(settings)
        for check in import_module(f"{entry.package}.checks").checks(chats.get(name))
    ]


def _clients(clients: Sequence[Vendor]) -> Sequence[tuple[Vendor | None, str]]:
    """Return the checked clients of a vendor, and the ending of their checks' names: the label if there are several."""
    if len(clients) < 2:  # noqa: PLR2004 - several
        return [(clients[0] if clients else None, "")]
    return [(client, f" {client.label}") for client in clients]


def _runninghub(settings: Settings, recipes: Mapping[str, Recipe], _: CredentialsSource) -> Vendor | None:
    if not settings.runninghub_api_key:
        return None
    from services.vendors.runninghub.client import RunningHub, Workflow

    require(settings, "runninghub_workflows")
    folder = Path(settings.runninghub_workflows)
    workflows = {kind: _workflow(folder / f"{kind}.json", recipe, Workflow) for kind, recipe in recipes.items()}
    try:
        return RunningHub(
            base_url=settings.runninghub_url,
            api_key=settings.runninghub_api_key,
            label=settings.runninghub_label,
            workflows=workflows,
            api=settings.runninghub_api,
        )
    except Permanent as error:
        raise BadSettings(f"RUNNINGHUB_URL or RUNNINGHUB_API_KEY cannot be used: {error}") from error


def _workflow(path: Path, recipe: Recipe, form: type[Any]) -> Any:  # noqa: ANN401 - the vendor's own class, imported late
    try:
        workflow = msgspec.json.decode(without_bom(path.read_bytes()), type=form)
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadSettings(
            f"RUNNINGHUB_WORKFLOWS needs a file {path.name} for the kind {recipe.kind!r}; {str(path)!r} cannot be used:"
            f" {error}"
        ) from error
    if recipe.video_inputs and workflow.with_video is None:
        raise BadSettings(f"RUNNINGHUB_WORKFLOWS: {str(path)!r} needs `with_video`, for inputs that are videos")
    if any(set(each.inputs) != set(recipe.inputs) for each in (workflow, workflow.with_video) if each):
        raise BadSettings(
            f"RUNNINGHUB_WORKFLOWS: `inputs` of {str(path)!r} must name {', '.join(recipe.inputs)}, as the recipe does"
        )
    return workflow


def _ark(settings: Settings, _: Mapping[str, Recipe], __: CredentialsSource) -> Vendor | None:
    if not settings.ark_api_key:
        return None
    from services.vendors.ark.client import Ark

    try:
        return Ark(
            base_url=settings.ark_url,
            api_key=settings.ark_api_key,
            label=settings.ark_label,
            model=settings.ark_model,
            watermark=settings.ark_watermark,
            inputs=settings.ark_inputs,
        )
    except Permanent as error:
        raise BadSettings(f"ARK_URL or ARK_API_KEY cannot be used: {error}") from error


def _vod(settings: Settings, _: Mapping[str, Recipe], credentials: CredentialsSource) -> Vendor | None:
    if not settings.vod_sub_app_id:
        return None
    from services.vendors.vod.client import Vod
    from services.vendors.vod.models import MODELS, rules_of

    if rules_of(settings.vod_model) is None:
        raise BadSettings(f"VOD_MODEL must be one of {', '.join(MODELS)}")
    try:
        return Vod(
            base_url=settings.vod_url,
            credentials=credentials,
            sub_app_id=int(settings.vod_sub_app_id),
            label=settings.vod_label,
            model=settings.vod_model,
        )
    except Permanent as error:
        raise BadSettings(f"VOD_URL cannot be used: {error}") from error


def _is_runninghub_meant(settings: Settings) -> bool:
    return bool(settings.runninghub_api_key or settings.runninghub_api_keys or settings.runninghub_workflows)


VENDORS: Final[Mapping[str, VendorEntry]] = MappingProxyType(
    {
        "runninghub": VendorEntry(
            "services.vendors.runninghub",
            _runninghub,
            lambda settings: Address(settings.runninghub_url, "RUNNINGHUB_URL"),
            _is_runninghub_meant,
            calls_back=True,
        ),
        "ark": VendorEntry(
            "services.vendors.ark",
            _ark,
            lambda settings: Address(settings.ark_url, "ARK_URL"),
            lambda settings: bool(settings.ark_api_key or settings.ark_api_keys),
        ),
        "vod": VendorEntry(
            "services.vendors.vod",
            _vod,
            lambda settings: Address(settings.vod_url, "VOD_URL"),
            lambda settings: bool(settings.vod_sub_app_id),
            has_keys=False,
        ),
    }
)
"""Vendors by the name that recipes use."""


def _tokenhub(settings: Settings) -> ChatModel | None:
    if not settings.tokenhub_api_key:
        return None
    from services.vendors.tokenhub.client import TokenHub

    require(settings, "tokenhub_url", "tokenhub_model")
    try:
        return TokenHub(
            base_url=settings.tokenhub_url,
            api_key=settings.tokenhub_api_key,
            model=settings.tokenhub_model,
            label=settings.tokenhub_label,
        )
    except Permanent as error:
        raise BadSettings(f"TOKENHUB_URL or TOKENHUB_API_KEY cannot be used: {error}") from error


CHATS: Final[Mapping[str, ChatEntry]] = MappingProxyType(
    {
        "tokenhub": ChatEntry(
            "services.vendors.tokenhub",
            _tokenhub,
            lambda settings: Address(settings.tokenhub_url, "TOKENHUB_URL"),
            lambda settings: bool(settings.tokenhub_api_key or settings.tokenhub_model),
        )
    }
)
"""Vendors of chat models by the name that recipes use."""
