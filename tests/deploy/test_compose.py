"""compose.yaml against the code: there is no Docker engine where these tests run."""

from __future__ import annotations

import copy
import inspect
import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import pytest
import typer
import yaml

from console.cli.main import app, submit
from runtime.settings import Settings
from sandbox.pulsar.distribution import VERSION

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
SETTINGS: Final = {field.encode_name for field in msgspec.structs.fields(Settings)}
OURS: Final = ("sandbox", "workers", "client")
Duration = Annotated[str, msgspec.Meta(pattern=r"^\d+(ms|s|m|h)$")]


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    """A part of the Compose Specification, with what is used of it here: a misspelt key is one too many."""


class Build(Strict):
    context: str
    dockerfile: str
    target: str


class Probe(Strict, rename=None):
    test: list[str]
    interval: Duration
    timeout: Duration
    retries: Annotated[int, msgspec.Meta(ge=1)]
    start_period: Duration = "0s"


class Wait(Strict):
    condition: Literal["service_started", "service_healthy"]
    restart: bool = False


class Service(Strict, rename=None):
    image: str
    build: Build | None = None
    command: list[str] = []
    depends_on: dict[str, Wait] = {}
    entrypoint: list[str] = []
    environment: dict[str, str] = {}
    healthcheck: Probe | None = None
    network_mode: Annotated[str, msgspec.Meta(pattern="^service:")] = ""
    ports: list[str] = []
    profiles: list[str] = []
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = "no"
    stop_grace_period: Duration = "10s"
    user: str = ""
    volumes: list[str] = []
    working_dir: str = ""


class File(Strict):
    name: str
    x_collected: dict[str, str]
    services: dict[str, Service]
    volumes: dict[str, None]


RESULTS: Final = "./out"
"""The one folder of the project that a container writes to."""

each_service = pytest.mark.parametrize("name", SERVICES)


def words_of(value: str | list[str] | None) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else list(value or [])


def parse(arguments: list[str]) -> None:
    """Read a command line of ours as it would be read, without doing anything."""
    command = typer.main.get_command(app)
    context = command.make_context("scf-workers", list(arguments))
    name, found, rest = command.resolve_command(context, arguments)  # type: ignore[attr-defined]  # it is a group
    assert found is not None, name
    found.make_context(name, rest, parent=context)


def dockerfile() -> str:
    return (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")


def test_the_file_has_the_shape_that_the_specification_gives() -> None:
    assert msgspec.convert(COMPOSE, File).services.keys() == COMPOSE["services"].keys()


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (("services", "pulsar", "healthcheck"), "intervall"),
        (("services", "sandbox", "build"), "contxt"),
        ((), "volume"),
    ],
)
def test_a_misspelt_key_is_found(path: tuple[str, ...], key: str) -> None:
    broken = copy.deepcopy(COMPOSE)
    part = broken
    for name in path:
        part = part[name]
    part[key] = "x"
    with pytest.raises(msgspec.ValidationError, match=key):
        msgspec.convert(broken, File)


@each_service
def test_a_service_uses_a_pinned_image(name: str) -> None:
    service = SERVICES[name]
    if name not in OURS:
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.\d+", service["image"])
    if build := service.get("build"):
        assert (ROOT / build["dockerfile"]).is_file()
        assert re.search(rf"^FROM \S+ AS {build['target']}$", dockerfile(), re.MULTILINE)


@each_service
def test_whom_a_service_waits_for_is_there_and_tells_its_health(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] in {"service_started", "service_healthy"}
        healthy = "healthcheck" in SERVICES[other]
        assert healthy or how["condition"] == "service_started"
    network = SERVICES[name].get("network_mode", "")
    if network:
        assert network.removeprefix("service:") in SERVICES[name]["depends_on"]
        assert "ports" not in SERVICES[name]


@each_service
def test_every_port_is_on_loopback(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@each_service
def test_every_volume_is_declared_and_every_file_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, target, *mode = volume.split(":")
        assert target.startswith("/")
        if source == RESULTS:
            assert (name, mode) == ("client", [])
        elif source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_commands_and_set_variables_that_exist(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("environment", {})) <= SETTINGS
    words = [*words_of(service.get("entrypoint")), *words_of(service.get("command"))]
    if words:
        assert words[0] == "scf-workers"
        if name == "client":
            words = [word.replace("photos/", str(ROOT / "sandbox/photos") + "/") for word in words]
        parse(words[1:])


def test_the_commands_of_the_image_exist() -> None:
    found = re.findall(r"CMD (\[.*\])$", dockerfile(), re.MULTILINE)
    assert len(found) == 3
    for command in found:
        words = msgspec.json.decode(command, type=list[str])
        assert words[0] == "scf-workers"
        parse(words[1:])


def test_the_sandbox_writes_its_environment_where_the_others_look() -> None:
    written = re.search(r'"--env-file", "(/[^"]+)"', dockerfile())
    assert written is not None
    assert SERVICES["sandbox"]["healthcheck"]["test"][-1] == written[1]
    assert written[1] in SERVICES["workers"]["command"]
    folder = str(Path(written[1]).parent)
    assert f"sandbox:{folder}" in SERVICES["sandbox"]["volumes"]
    assert f"sandbox:{folder}" in SERVICES["workers"]["volumes"]
    assert f"sandbox:{SERVICES['client']['working_dir']}/.sandbox" in SERVICES["client"]["volumes"]


def test_the_results_of_the_client_outlive_its_container() -> None:
    client = SERVICES["client"]
    assert f"{RESULTS}:{client['working_dir']}/out" in client["volumes"]
    # A folder that the engine makes is root's.
    assert client["user"] == "root"
    assert inspect.signature(submit).parameters["out"].default == Path(RESULTS)
    assert "--out" not in client["command"]
    assert f"{Path(RESULTS)}/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "compose.yaml"]
    reported = [
        line for page in pages for line in page.read_text(encoding="utf-8").splitlines() if "client submit" in line
    ]
    assert len(reported) == 2
    assert not [line for line in reported if "--out" in line]


def test_pulsar_is_the_version_and_has_the_configuration_that_the_tests_use() -> None:
    service = SERVICES["pulsar"]
    assert service["image"].endswith(f":{VERSION}")
    (mount,) = [volume for volume in service["volumes"] if volume.startswith("./")]
    assert mount.split(":")[:2] == [
        "./sandbox/pulsar/standalone.conf",
        service["environment"]["PULSAR_STANDALONE_CONF"],
    ]
    # The bookie's address must outlast its container's.
    assert "advertisedAddress=127.0.0.1" in (ROOT / mount.split(":")[0]).read_text(encoding="utf-8").splitlines()
    advertised = service["command"][service["command"].index("--advertised-address") + 1]
    assert SERVICES["sandbox"]["environment"]["BROKER_URL"] == f"pulsar://{advertised}:6650"


def test_the_collector_listens_where_spans_are_sent_and_sends_them_to_the_viewer() -> None:
    found = yaml.safe_load((ROOT / "deploy/collector.yaml").read_text(encoding="utf-8"))
    assert found["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].endswith(":4317")
    assert found["exporters"]["otlp"]["endpoint"].partition(":")[0] in SERVICES
    for pipeline in found["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(found[kind])
    assert COMPOSE["x-collected"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4317"
