"""Every block and every setting in the documentation, read by the code that reads it in use."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx
import msgspec
import pytest

from messages.bodies import Generate, Stage
from messages.codec import SCHEMA, Header, Message, decode, encode
from messages.signing import MessageKeys
from recipes.recipe import parse_params
from runtime.message_keys import open_keys
from runtime.settings import SECRETS, Settings, load_settings
from runtime.wiring import open_recipes
from services.backend import Backend, Callback, Form
from services.media.ai_labels import AiLabels
from services.unfinished import UnfinishedPage, UnfinishedTask
from services.vendors.runninghub.client import Node, Workflow
from tasks.ledger import records
from telemetry.events import Event
from telemetry.instruments import Metric, SpanName
from telemetry.secrets import Secret
from tests.bad_input import pictures
from tests.bad_input.harness import TicketHarness
from tests.docs.pages import PAGES, ROOT, blocks_of, inline_of, text_of
from tests.engine.virtual import VirtualLoop

HELD: Final = {
    ("docs/ai-labels.md", "json"): 1,
    ("docs/backend.md", "json"): 10,
    ("docs/backend.md", "python"): 1,
    ("docs/backend.md", "js"): 1,
    ("docs/configuration.md", "json"): 3,
    ("docs/configuration.md", "text"): 1,
    ("docs/how-to/rotate-message-keys.md", "text"): 3,
    ("docs/how-to/add-a-recipe.md", "python"): 3,  # each block of the two pages is a step: tests/seams/test_pages.py
    ("docs/how-to/add-a-recipe.md", "text"): 4,
    ("docs/how-to/add-a-vendor.md", "python"): 7,
    ("docs/how-to/add-a-vendor.md", "text"): 10,
    ("docs/how-to/deploy-on-scf.md", "json"): 9,
    ("docs/how-to/deploy-on-scf.md", "hcl"): 1,
    ("docs/how-to/deploy-on-scf.md", "mermaid"): 1,
    ("docs/how-to/erase-a-user.md", "json"): 1,
    ("docs/how-to/run-the-workers.md", "json"): 4,
    ("docs/how-to/run-the-workers.md", "hcl"): 1,
    ("docs/how-to/simulate-a-deployment.md", "text"): 1,
    ("docs/how-to/operate.md", "text"): 3,
    ("docs/how-to/replay-dead-letters.md", "text"): 5,
    ("docs/how-to/use-the-api.md", "json"): 2,
    ("docs/how-to/use-the-api.md", "text"): 1,
    ("docs/telemetry.md", "text"): 2,
    ("docs/telemetry.md", "sh"): 1,
    ("docs/architecture.md", "mermaid"): 3,
    ("docs/architecture.md", "text"): 1,  # a sketch in words: there is nothing to run
    ("README.md", "mermaid"): 1,
    ("README.md", "text"): 2,  # these and the log: tests/docs/test_shown_screens.py
}
"""Page and language -> blocks that a test reads, in one of this folder's modules."""

_FORMS: Final = re.compile(r"([A-Z][A-Z0-9_]*)=(\S+)")


_NO_SETTINGS: Final = frozenset({"NAME", "PULSAR_REQUIRED", "FUNCTION_HANDLER"})
"""A form, and what others read: the test suite (tests/support/pulsar_part.py) and the image (runtime/image.py)."""


_VARIABLES_OF_OTHERS: Final = frozenset(
    {
        "NAME_FILE",
        "FUNCTION_HANDLER",
        "TEST_ARGS",
        "SCF_WORKERS_CACHE",
        "TENCENTCLOUD_SECRETID",
        "TENCENTCLOUD_SECRETKEY",
        "TENCENTCLOUD_SESSIONTOKEN",
        "CLOCK_BOOTTIME",
        "PHOTOS_URL",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    }
)
"""A form, a clock of Linux, the sandbox's web server, and what image, Makefile, test suite, platform and libraries of
OpenTelemetry read. Variables of the tests' and the demo's broker begin with `PULSAR_`."""


def _block(page: str, language: str, number: int = 0) -> str:
    return [block.text for block in blocks_of(page) if block.language == language][number]


def test_every_block_is_read_by_a_test() -> None:
    shown = Counter((page, block.language) for page in PAGES for block in blocks_of(page))
    assert {key: count for key, count in shown.items() if key[1] != "console"} == HELD


def _keys(text: str) -> MessageKeys:
    """Message keys as a page shows them, each word in capitals for a secret."""
    value = re.sub(r"[A-Z]{3,}", lambda word: word[0] * 16, text)
    return open_keys(load_settings({"ENVIRONMENT": "development", "MESSAGE_KEYS": value}), Stage)


def test_message_keys_are_of_the_form_that_is_shown() -> None:
    assert _keys(_block("docs/configuration.md", "text")).signer("wake")


def test_each_step_of_a_rotation_reads_what_the_one_before_it_signs() -> None:
    steps = [_keys(_block("docs/how-to/rotate-message-keys.md", "text", number)) for number in range(3)]
    message = Message(Header(SCHEMA, "generate", "u", "t", 0, 0, 0, 0, 1), Generate())
    signers = [signer.key_id for keys in steps if (signer := keys.signer("generate"))]
    assert signers == ["k1", "k2", "k2"]
    for before, after in itertools.pairwise(steps):
        assert decode(encode(message, before), after) == decode(encode(message, after), before) == message


@pytest.mark.parametrize("page", PAGES)
def test_json_is_json(page: str) -> None:
    for block in blocks_of(page):
        if block.language == "json":
            assert isinstance(json.loads(block.text), dict | list), block.text


@pytest.mark.parametrize("page", PAGES)
def test_variables_that_a_sentence_names_are_settings(page: str) -> None:
    known = {field.encode_name for field in msgspec.structs.fields(Settings)}
    known |= {f"{name}_FILE" for name in SECRETS}
    named = {code for code in inline_of(page) if re.fullmatch(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+", code)}
    assert sorted(name for name in named - known - _VARIABLES_OF_OTHERS if not name.startswith("PULSAR_")) == []


def test_what_a_console_block_shows_beside_commands_is_nothing() -> None:
    shown = [
        line
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "console"
        for line in block.text.splitlines()
    ]
    assert [line for line in shown if not line.startswith("$ ")] == []


def _assignments() -> dict[str, list[str]]:
    """Page -> what it says to put into the environment, in a block or in a sentence."""
    found = {
        page: [
            *(line for block in blocks_of(page) if block.language == "sh" for line in block.text.splitlines()),
            *(code for code in inline_of(page) if _FORMS.fullmatch(code)),
        ]
        for page in PAGES
    }
    return {page: lines for page, lines in found.items() if lines}


@pytest.mark.parametrize(("page", "line"), [(page, line) for page, lines in _assignments().items() for line in lines])
def test_an_assignment_is_one_that_the_settings_take(page: str, line: str) -> None:
    found = _FORMS.fullmatch(line)
    assert found is not None
    if found[1] in _NO_SETTINGS:
        return
    assert found[1] in {field.encode_name for field in msgspec.structs.fields(Settings)}
    load_settings({"ENVIRONMENT": "development", found[1]: found[2]})


def _workflow() -> Workflow:
    return msgspec.json.decode(_block("docs/configuration.md", "json"), type=Workflow)


def test_the_fields_of_a_label_are_those_that_are_written_in_their_order() -> None:
    shown: dict[str, str] = json.loads(_block("docs/ai-labels.md", "json"))
    labels = AiLabels("x", "x", Secret("a secret of the labels in tests, long"), visible=True)
    assert list(shown) == list(labels.of("n1").fields)


def test_the_workflow_file_is_one() -> None:
    workflow = _workflow()
    assert (set(workflow.inputs), set(workflow.params)) == ({"photo"}, {"prompt"})


def test_json_in_a_sentence_is_what_it_says() -> None:
    shown = [code for page in PAGES for code in inline_of(page) if code.startswith("{") and '":' in code]
    (urls,) = [msgspec.json.decode(code, type=dict[str, Node]) for code in shown]
    assert msgspec.structs.replace(_workflow(), url_inputs=urls).url_inputs == urls


def test_the_file_of_scenes_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "scenes.json"
    file.write_text(_block("docs/configuration.md", "json", 1), encoding="utf-8")
    recipe = open_recipes(str(file))["photography"]
    for scene in ("", "garden", "runway"):
        assert parse_params(recipe, {"scene": scene})


def test_the_task_file_is_taken_and_done() -> None:
    order: dict[str, Any] = msgspec.json.decode(_block("docs/configuration.md", "json", 2))

    async def play() -> None:
        async with TicketHarness() as harness:
            run = harness.sell(order["kind"], order["params"])
            for name in order["inputs"]:
                await harness.put(run, name, pictures.jpeg())
            order["ticket"] = harness.ticket(run, order["kind"], order["params"], inputs=len(order["inputs"]))
            await harness.deliver(await harness.put(run, "task.json", msgspec.json.encode(order)))
            await harness.promise(run, "success")
            assert len(await harness.outputs(run)) == len(order["inputs"]) > 1

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


@pytest.mark.parametrize(
    ("number", "form", "status"),
    [
        (0, "steps", "success"),
        (1, "steps", "failed"),
        (2, "steps", "text"),
        (3, "task_update", "success"),
        (4, "task_update", "failed"),
    ],
)
async def test_a_callback_is_sent_as_the_page_shows_it(
    number: int, form: Form, status: Literal["success", "failed", "text"]
) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    ended: dict[str, Any] = {
        "success": {"status": "success", "outputs": ("output/u-1/t-1/frame_01.jpg",)},
        "failed": {"status": "failed", "message": "生成超时", "code": "timeout"},
        "text": {"status": "success", "text": "白色连衣裙，自然光", "degraded": ("prompt_template",)},
    }[status]
    reported = Callback(task="t-1", run=2, vendor_task_id="1990000000000000077", **ended)
    transport = httpx.MockTransport(answer)
    backend = Backend(base_url="http://b", secret=Secret("s" * 32), clock=lambda: 1.0, form=form, transport=transport)
    await backend.deliver(reported)
    await backend.close()
    (request,) = sent
    assert json.loads(request.content) == json.loads(_block("docs/backend.md", "json", number))
    headers = re.findall(r"^\| `(X-[A-Za-z-]+)` \|", BACKEND, re.MULTILINE)
    assert set(headers) <= {name.title() for name in request.headers}
    assert request.headers["X-Internal-Run"] == "2"
    path = request.url.path.replace("t-1", "{taskId}").replace("/0/", "/{stepIndex}/")
    assert f"POST {{BACKEND_URL}}{path}`" in BACKEND


def test_the_page_of_unfinished_tasks_is_one() -> None:
    page = msgspec.json.decode(_block("docs/backend.md", "json", 5), type=UnfinishedPage)
    assert page.rows == (UnfinishedTask("t-1", "u-1", 0, 1795345142.5, "model_pose12"),)


def test_the_function_in_terraform_runs_a_handler_that_there_is() -> None:
    block = _block("docs/how-to/run-the-workers.md", "hcl")
    assert [block.count(one) for one in "{(["] == [block.count(one) for one in "})]"]
    (arguments,) = re.findall(r'args += "(.*)"', block)
    flag, server, handler = arguments.split()
    assert flag == "-m"
    assert find_spec(server) is not None
    assert callable(import_module(handler).main_handler)
    (cron,) = re.findall(r'cron = "(.*)"', block)
    assert len(cron.split()) == 7


def test_the_trace_that_is_shown_has_the_names_of_the_catalogue() -> None:
    _, _, *rows, last = _block("docs/telemetry.md", "text").splitlines()
    names = {row[18:47].split()[0] for row in rows}
    assert names <= set(SpanName)
    assert re.fullmatch(r"\d+ spans in [\d.]+ s, \d functions: producer\.cos_trigger → .*", last)


ARCHITECTURE: Final = text_of("docs/architecture.md")
BACKEND: Final = text_of("docs/backend.md")


def _record_names() -> set[str]:
    """As the docstrings of the records name them."""
    return {kind.template.replace("{place}", "{stage}") for kind in records.RECORDS}


def test_the_table_of_records_tells_who_creates_each() -> None:
    (table,) = re.findall(r"^\| record \| who creates it \|\n(.*?)\n\n", ARCHITECTURE, re.DOTALL | re.MULTILINE)
    first = " ".join(row.split("|")[1] for row in table.splitlines())
    reported = {name.split(" ")[0] for name in re.findall(r"`([^`]+)`", first)} - {"dead/…"}
    reported = {f"call-{{slot}}-{{n}}{name}" if name.startswith("-") else name for name in reported}
    assert reported == _record_names()


def _arrows(number: int) -> list[tuple[str, str, str]]:
    """Arrows of a diagram of states, which has no dead end."""
    diagram = _block("docs/architecture.md", "mermaid", number)
    arrows = re.findall(r"^ +(\S+) --> ([^\s:]+)(?:: (.*))?$", diagram, re.MULTILINE)
    assert len(arrows) == len(diagram.splitlines()) - 1, "a line is no arrow"
    states = {state for arrow in arrows for state in arrow[:2]} - {"[*]"}
    for state in states:
        assert any(source == state for source, _, _ in arrows), f"nothing leads out of {state}"
        assert any(target == state for _, target, _ in arrows), f"nothing leads to {state}"
    return arrows


def test_the_diagram_of_a_slot_is_whole() -> None:
    written = {name for *_, label in _arrows(2) for name in re.findall(r"[a-z-]+", label.rpartition("/ ")[2])}
    assert {"call-n", "call-n-id", "call-n-result", "call-n-end", "slot"} <= written


def test_the_diagram_of_a_run_is_whole() -> None:
    arrows = _arrows(1)
    states = {state for arrow in arrows for state in arrow[:2]} - {"[*]"}
    written = {name for _, _, label in arrows for name in re.findall(r"[a-z-]+", label.rpartition("/ ")[2])}
    assert {"accepted", "cleaned", "verdict", "delivered"} <= written
    assert {"success", "failed", "cancelled"} <= states
    for state in ("accepted", "cleaned", "prompted", "slots", "staged"):
        assert (state, "failed", "deadline passed 生成超时 / verdict") in arrows
        assert (state, "cancelled", "cancel 已取消 / verdict") in arrows


@pytest.mark.parametrize("page", PAGES)
def test_every_page_can_be_found(page: str) -> None:
    if page.startswith("docs/") and page != "docs/README.md":
        assert f"]({page.removeprefix('docs/')})" in text_of("docs/README.md")


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", text_of(page))
    for target, anchor in links:
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_files_that_are_named_exist() -> None:
    """Paths in sentences: those with a slash and a known ending, and folders of the project."""
    named = {
        code for page in PAGES for code in inline_of(page) if re.fullmatch(r"[a-z_./-]+/[a-z_]+\.(?:py|md|toml)", code)
    }
    named |= {code for page in PAGES for code in inline_of(page) if re.fullmatch(r"tests/[a-z_]+", code)}
    # A page's example exists only in a copy in which the page was followed.
    written = {name for page in PAGES for name in re.findall(r"^Write `([^`]+)`:$", text_of(page), re.MULTILINE)}
    assert {name for name in named if not (ROOT / name).exists()} <= written


_OF_OTHERS: Final = frozenset({"service.name", "service.instance.id", "consumers.clean"})
"""Names of OpenTelemetry's, and a function as a trace calls it."""


def _is_known(name: str) -> bool:
    if name in {*Event, *Metric, *_OF_OTHERS} or (ROOT / name).exists():
        return True
    if name.startswith("options."):  # a parameter of a kind: tests/docs/test_kinds.py
        return True
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        # For example the class of a module.
        module, _, attribute = name.rpartition(".")
        return hasattr(import_module(module), attribute)


def test_events_metrics_and_modules_that_are_named_exist() -> None:
    named = {code for page in PAGES for code in inline_of(page) if re.fullmatch(r"[a-z_]+(?:\.[A-Za-z_0-9]+)+", code)}
    assert len(named) > 80
    assert [name for name in sorted(named) if not _is_known(name)] == []
