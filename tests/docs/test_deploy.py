"""docs/how-to/deploy-on-scf.md against the code: rights, triggers, functions and their variables."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from console.doctor.checks import checks_of
from messages.codes import Code
from messages.keys import INPUT_PREFIX, InputKey, RunId, dead_key, output_key, staging_prefix, status_key
from producer.cos_event import CREATED
from producer.webhook import take_call
from recipes.table import RECIPES
from runtime.function_url import read_request
from runtime.settings import REQUIRED, SECRETS, Settings
from sandbox.cos.app import create_app
from sandbox.server import Server
from services.objects.port import Result
from tasks.accepting.inputs import MAX_PICTURE_BYTES
from tasks.accepting.tickets import MIN_SECRET_BYTES
from tasks.calls.webhook_paths import Webhooks
from telemetry.secrets import Secret
from tests.bad_input import pictures
from tests.bad_input.shop import Shop
from tests.contract.cos_standin.conftest import BUCKET, REGION, SECRET_ID, SECRET_KEY, StandIn, stop
from tests.docs.pages import blocks_of, text_of
from tests.engine.virtual import VirtualLoop
from transport.sqlite import SqliteOptions

PAGE: Final = "docs/how-to/deploy-on-scf.md"
TEXT: Final = text_of(PAGE)
JSON: Final = [json.loads(block.text) for block in blocks_of(PAGE) if block.language == "json"]
LIFECYCLE, LEDGER_LIFECYCLE, ROLE, BESIDES, TRIGGER, UPLOADER = JSON
(HCL,) = (block.text for block in blocks_of(PAGE) if block.language == "hcl")

OBJECTS: Final = "qcs::cos:ap-guangzhou:uid/1250000000:"
PICTURES: Final = "qcs::ci:ap-guangzhou:uid/1250000000:bucket/"
DATA: Final = "data-1250000000"
LEDGER: Final = "ledger-1250000000"

ACTIONS: Final[Mapping[str, str]] = {
    "put": "name/cos:PutObject",
    "put_new": "name/cos:PutObject",
    "get": "name/cos:GetObject",
    "open": "name/cos:GetObject",
    "read": "name/cos:GetObject",
    "presign": "name/cos:GetObject",
    "process": "name/cos:GetObject",
    "head": "name/cos:HeadObject",
    "copy": "name/cos:PutObject",
    "delete": "name/cos:DeleteObject",
    "list": "name/cos:GetBucket",
    "audit": "ci:CreateAuditingPictureJob",
    "versioned": "name/cos:GetBucketVersioning",
}
"""Operation of the port -> what it needs on its key. (Targets of pictures and sources of copies are in staging.)"""


class Used(NamedTuple):
    """What was done."""

    bucket: str
    operation: str
    key: str


def allows(policies: Sequence[Any], used: Used) -> bool:
    action = ACTIONS[used.operation]
    stem = PICTURES if action.startswith("ci:") else OBJECTS
    resource = f"{stem}{used.bucket}/{used.key}"
    return any(
        statement["effect"] == "allow"
        and action in statement["action"]
        and any(fnmatchcase(resource, pattern) for pattern in statement["resource"])
        for policy in policies
        for statement in policy["statement"]
    )


def note(used: set[Used], bucket: str) -> Callable[..., Awaitable[None]]:
    async def seen(operation: str, key: str, *, done: bool) -> None:
        if not done:
            used.add(Used(bucket, operation, key))

    return seen


def used_by(play: Callable[[Shop], Awaitable[None]]) -> set[Used]:
    """Everything that the product asks of its buckets while it plays."""
    used: set[Used] = set()

    async def watched() -> None:
        async with Shop() as shop:
            shop.data.faults = note(used, DATA)
            shop.ledger.objects.faults = note(used, LEDGER)  # type: ignore[attr-defined] # a MemoryObjects
            await play(shop)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(watched())
    # The client's own.
    return {one for one in used if not (one.operation == "put" and one.key.startswith(INPUT_PREFIX))}


async def live(shop: Shop) -> None:
    """A success of each kind, a violation after the vendor's work, a refusal, an upload that a sweep finds."""
    await shop.submit(pictures.jpeg())
    await shop.submit(pictures.jpeg(), kind="model_pose12")
    shop.findings["_07.jpg"] = Result(violation=True, suspect=False, label="Porn", score=99)
    violating = await shop.submit(pictures.jpeg(), kind="model_pose12")
    assert (await shop.verdict(violating)).code == Code.CONTENT_VIOLATION
    shop.findings.clear()
    await shop.submit(b"no picture")
    run = shop.sell()
    meta = {"kind": "basic_clean", "ticket": shop.ticket(run)}
    await shop.put(run, "original.jpg", pictures.jpeg(), meta)
    # No event told of this one: the sweep looks at its records, and its wake at the upload.
    assert await shop.ledger.trail(run) == {}
    await shop.wake(run, "sweep")
    await shop.drain()
    await shop.promise(run, "success")


def test_the_role_may_do_all_that_the_product_does() -> None:
    used = used_by(live)
    assert {one.operation for one in used if one.bucket == DATA} >= {
        "head",
        "process",
        "audit",
        "copy",
        "delete",
        "list",
    }
    assert {one.operation for one in used if one.bucket == LEDGER} == {"get", "put_new", "list"}
    letter = dead_key("2026-11-25", "fingerprint", "identity")
    used |= {
        Used(LEDGER, "put_new", letter),
        Used(LEDGER, "get", letter),
        # Withdrawn when the backend keeps the contrary verdict.
        Used(DATA, "delete", output_key(RunId("u-1", "t-1"), "frame_01.jpg")),
        # The vendor reads a large input itself.
        Used(DATA, "presign", staging_prefix(RunId("u-1", "t-1"), "nonce") + "input_01.jpg"),
    }
    assert [one for one in sorted(used) if not allows([ROLE], one)] == []


def test_the_role_can_write_no_input_and_delete_no_record() -> None:
    for operation in ("put", "delete", "copy"):
        assert not allows([ROLE], Used(DATA, operation, "input/u-1/t-1/original.jpg"))
    for key in ("ledger/u-1/t-1/0-0/verdict", "index/u-1/0-t-1", "dead/2026-11-25/f/i"):
        assert not allows([ROLE, BESIDES], Used(LEDGER, "delete", key))


def test_every_right_is_named_and_bound_to_one_of_the_two_buckets() -> None:
    for policy in (ROLE, BESIDES, UPLOADER):
        assert policy["version"] == "2.0"
        for statement in policy["statement"]:
            assert not [action for action in statement["action"] if "*" in action]
            for resource in statement["resource"]:
                assert re.match(rf"{OBJECTS}({DATA}|{LEDGER})/|{PICTURES}{DATA}/\*$", resource)


def test_the_doctor_may_do_what_it_does() -> None:
    looks = {"data bucket", "picture service", "audit", "ledger: versioning", "ledger: create-only", "clock"}

    async def examine(shop: Shop) -> None:
        checks = checks_of(Settings(), SqliteOptions("sqlite:///:memory:"), shop.out)
        assert looks <= {check.name for check in checks}
        for check in checks:
            if check.name in looks:
                await check.run()

    used = used_by(examine)
    assert {one.bucket for one in used} == {DATA, LEDGER}
    assert [one for one in sorted(used) if not allows([ROLE, BESIDES], one)] == []


def test_the_first_task_may_be_submitted_and_looked_at() -> None:
    for used in (
        Used(DATA, "put", "input/u-1/t-1/original.jpg"),
        Used(DATA, "list", "output/u-1/t-1/"),
        Used(DATA, "get", "output/u-1/t-1/result_01.jpg"),
        Used(LEDGER, "list", "ledger/u-1/t-1/0-0/"),
        Used(LEDGER, "get", "ledger/u-1/t-1/0-0/accepted"),
    ):
        assert allows([ROLE, BESIDES], used)


def test_a_clients_key_may_put_into_one_tasks_folder_and_nothing_else() -> None:
    (statement,) = UPLOADER["statement"]
    folder = InputKey("{userId}", "{taskId}", "").folder
    assert statement["action"] == ["name/cos:PutObject"]
    assert statement["resource"] == [f"{OBJECTS}{DATA}/{folder}*"]
    assert f"{MAX_PICTURE_BYTES >> 20} MB at most" in TEXT


def test_the_webhook_asks_the_buckets_nothing() -> None:
    async def call(shop: Shop) -> None:
        webhooks = Webhooks("https://webhook", Secret("w" * 32))
        run = shop.sell("model_pose12")
        out = dataclasses.replace(shop.out, webhooks=webhooks)
        path = webhooks.url("runninghub", run, 1, 1).removeprefix("https://webhook")
        event = {"httpMethod": "POST", "path": path, "headers": {}, "body": json.dumps({"taskId": "1"})}
        assert read_request(event).path == path
        assert (await take_call(event, out))["statusCode"] == 200

    assert used_by(call) == set()


def test_the_trigger_listens_where_clients_upload() -> None:
    assert {"event": f"{CREATED}*", "filter": {"Prefix": INPUT_PREFIX, "Suffix": ""}} == TRIGGER
    # By API it may have no spaces.
    assert json.dumps(TRIGGER, separators=(",", ":")) in TEXT
    told = re.findall(
        r"trigger_desc += jsonencode\(\{ event = \"(.*?)\", filter = \{ Prefix = \"(.*?)\", Suffix = \"\" \}", HCL
    )
    assert told == [(TRIGGER["event"], TRIGGER["filter"]["Prefix"])]


def test_the_functions_are_handlers_and_their_limits_are_alike_everywhere() -> None:
    assert [HCL.count(one) for one in "{(["] == [HCL.count(one) for one in "})]"]
    built = dict(re.findall(r'handler = "(.*?)", timeout = (\d+)', HCL))
    rows = dict(re.findall(r"^\| `(\S+)` \| .*? \| \d+ MB, (\d+) s \|", TEXT, re.MULTILINE))
    assert built == {name: limit for name, limit in rows.items() if name.startswith("producer.")}
    assert set(rows) == {*built, "consumers.runners.drain", "consumers.runners.push"}
    assert all(callable(import_module(name).main_handler) for name in rows)
    crons = [*re.findall(r'cron = "(.*?)"', HCL), *re.findall(r"timer `(.*?)`", TEXT)]
    assert len(crons) == 3
    assert all(len(cron.split()) == 7 for cron in crons)


def test_the_picture_of_the_page_names_functions_that_there_are() -> None:
    (picture,) = (block.text for block in blocks_of(PAGE) if block.language == "mermaid")
    names = re.findall(r"\[((?:producer|consumers)\.[\w.]+)\]", picture)
    assert len(names) == 4
    assert all(callable(import_module(name).main_handler) for name in names)


def test_the_variables_are_settings_and_those_that_all_need_are_named_for_all() -> None:
    (table,) = re.findall(r"^\| variables \| which functions \|\n(.*?)\n\n", TEXT, re.DOTALL | re.MULTILINE)
    rows = [row.split("|") for row in table.splitlines()[1:]]
    told = {tuple(re.findall(r"`([A-Z0-9_]+)`", names)): who.strip() for _, names, who, _ in rows}
    known = {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert {name for names in told for name in names} <= known
    (everywhere,) = (names for names, who in told.items() if who == "all" and "BROKER_URL" in names)
    assert set(REQUIRED) <= set(everywhere)
    secrets = re.findall(r"^\| `([A-Z0-9_]+)` \| [^|]+ \|$", TEXT, re.MULTILINE)
    assert set(secrets) <= set(SECRETS)
    assert f"at least {MIN_SECRET_BYTES} bytes" in TEXT


def test_the_lifecycles_are_taken_and_fit_the_keys(tmp_path: Path) -> None:
    standin = StandIn(
        Server(
            create_app(
                data_dir=tmp_path,
                buckets=[BUCKET],
                credentials={SECRET_ID: SECRET_KEY},
                region=REGION,
                appid="1250000000",
            )
        ).start(),
        [],
    )
    try:
        for rules in (LIFECYCLE, LEDGER_LIFECYCLE):
            standin.client().put_bucket_lifecycle(Bucket=BUCKET, LifecycleConfiguration=rules)
            assert len(standin.client().get_bucket_lifecycle(Bucket=BUCKET)["Rule"]) == len(rules["Rule"])
    finally:
        stop(standin)
    days = {rule["Filter"]["Prefix"]: rule.get("Expiration", {}).get("Days") for rule in LIFECYCLE["Rule"]}
    assert days["staging/"] * 86400 > max(recipe.deadline_s for recipe in RECIPES.values()) + 3 * 86400
    assert {prefix for prefix in days if prefix} == {INPUT_PREFIX, "staging/"}
    kept = {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in LEDGER_LIFECYCLE["Rule"]}
    assert kept.pop("") > 30
    assert set(kept) == {status_key("")}
