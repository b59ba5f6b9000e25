"""Settings: every variable of the environment this product reads, in one struct.

Names that the platform's backend gave are kept. A secret may come from a file instead: `NAME_FILE` names it. The table
in `docs/configuration.md` is checked against this struct.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import inspect

from messages.text import without_bom
from runtime.errors import BadSettings
from runtime.message_keys import ParsedKey, parse_keys
from runtime.settings_forms import (
    Bucket,
    Calls,
    HostPorts,
    Hosts,
    InputDays,
    Label,
    Labels,
    LedgerDays,
    Model,
    Number,
    Origins,
    OutputDays,
    Provider,
    PulsarName,
    Region,
    Seconds,
    Transitions,
    Url,
)
from runtime.settings_rules import NETWORK, refusals
from runtime.vendor_keys import LabelledKey, labelled_keys
from tasks.accepting.tickets import MIN_SECRET_BYTES
from telemetry.exporters import pairs
from telemetry.redaction import MIN_SECRET_LENGTH, is_sensitive, register
from telemetry.secrets import Secret

__all__ = [
    "REQUIRED",
    "ROLE",
    "SECRETS",
    "Settings",
    "is_product_variable",
    "load_settings",
    "mask_secrets",
    "require",
]


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """The environment. A docstring under a field is its line in the docs; an empty default means "not set"."""

    environment: Literal["production", "development"] = "production"
    """`production` refuses weak secrets and unsafe addresses; `development` is for a sandbox alone, which writes it."""
    allow_unsafe: str = ""
    """Variables whose unsafe addresses are accepted in production, separated by commas, such as `BACKEND_URL`."""
    broker_url: str = ""
    """Broker: `sqlite:///abs/path.db`, or Pulsar: `pulsar(+ssl)://host:port`, `http(s)://host:port`."""
    broker_token: Secret = Secret("")
    """Token for Pulsar. Read again at every connection, so `BROKER_TOKEN_FILE` may change."""
    broker_tenant: PulsarName = "public"
    """Tenant in Pulsar; on TDMQ the id of the cluster, such as `pulsar-xxxx`."""
    broker_namespace: PulsarName = "default"
    """Namespace in Pulsar."""
    broker_admin_url: Url = ""
    """Base URL of Pulsar's admin interface, for backlog figures; empty where there is none, as on TDMQ."""
    broker_tls_ca: str = ""
    """PEM file of the authorities that verify Pulsar's TLS; empty takes the system's."""
    message_keys: Secret = Secret("")
    """Keys that sign messages, each `id:stages:secret`, separated by commas; needed in production."""
    message_unsigned: bool = False
    """Accept messages without a signature: only while builds that sign none are replaced."""
    tencentcloud_region: Region = "ap-guangzhou"
    """Region of the buckets."""
    tencentcloud_secret_id: Secret = Secret("")
    """Key id for COS and VOD; on SCF the role's `TENCENTCLOUD_SECRETID` is read instead."""
    tencentcloud_secret_key: Secret = Secret("")
    """Key for COS and VOD; on SCF the role's `TENCENTCLOUD_SECRETKEY` is read instead."""
    cos_bucket: Bucket = ""
    """Bucket of inputs, staging and output, with the appid: `name-1250000000`."""
    ledger_bucket: Bucket = ""
    """Bucket of the ledger, with the appid: its own, never versioned, closed to clients."""
    cos_endpoint: Url = ""
    """URL of a COS stand-in; empty for the real one."""
    cos_cors_origins: Origins = ""
    """Origins whose pages upload to COS and download from it, separated by commas; empty takes `API_CORS_ORIGINS`."""
    input_days: InputDays = 30
    """Days that inputs stay in COS (`scf-workers cos setup`); a replay needs them."""
    output_days: OutputDays = 0
    """Days that results stay in COS; 0: until someone deletes them."""
    output_transitions: Transitions = ""
    """Storage classes of older results, each `days:class`, such as `30:STANDARD_IA`; archived ones cannot be read."""
    ledger_days: LedgerDays = 90
    """Days that records and dead letters stay: far longer than a ticket is valid and a callback is repeated."""
    cos_audit_biz_type: str = ""
    """Audit policy (BizType) of the picture audit; empty for the account's default."""
    cos_audit_text_biz_type: str = ""
    """Audit policy (BizType) of the text audit; empty for the account's default."""
    cos_audit_video_biz_type: str = ""
    """Audit policy (BizType) of the video audit; empty for the account's default."""
    audit_suspect: Literal["block", "allow"] = "block"
    """Treatment of results that the audit calls suspect rather than a violation."""
    audit_inputs: bool = True
    """Audit cleaned inputs before a vendor is paid (one audit per input); a violation fails the task."""
    audit_suspect_inputs: Literal["block", "allow"] = "allow"
    """Treatment of suspect inputs. Swimwear is often suspect, and its results are audited too."""
    ai_label_producer: Provider = ""
    """Provider of the AI service, as the metadata label of each result names it: its name or its registered code."""
    ai_label_propagator: Provider = ""
    """Platform that spreads the results, for the same label; empty leaves it out."""
    ai_label_visible: bool = True
    """Write AI生成 over each picture and the start of each video that AI made. False only where the law allows it: see
    docs/ai-labels.md."""
    ai_label_secret: Secret = Secret("")
    """Signs metadata labels; empty takes a key derived from `INTERNAL_CALLBACK_SECRET`; 32 bytes in production."""
    backend_url: Url = ""
    """Base URL of the backend that receives the verdicts."""
    internal_callback_secret: Secret = Secret("")
    """Signs callbacks; at least 32 bytes in production."""
    callback_form: Literal["steps", "task_update"] = "steps"
    """`steps` posts to /api/internal/tasks/…/callback, `task_update` to the older /internal/task/update."""
    backend_state: bool = True
    """Ask the backend for its state of a step before results are shown; false if it cannot answer."""
    ticket_secret: Secret = Secret("")
    """Verifies tickets; at least 32 bytes."""
    ticket_required: bool = True
    """Refuse an upload without a ticket. Only with `ENVIRONMENT=development` may it be false."""
    upload_limit_s: Seconds = 3600.0
    """Time after its creation for which a task may wait for its upload."""
    webhook_url: Url = ""
    """Public base URL of the function `producer.webhook`, sent to vendors; empty: no webhooks."""
    webhook_secret: Secret = Secret("")
    """Signs the webhook's paths; needed where WEBHOOK_URL is set, at least 32 bytes in production."""
    runninghub_url: Url = "https://www.runninghub.cn"
    """Host of RunningHub; keys and workflows of .cn and .ai are separate."""
    runninghub_api: Literal["v1", "v2"] = "v2"
    """Generation of RunningHub's interface; `v1` is deprecated but works, and does not report free room beforehand."""
    runninghub_api_key: Secret = Secret("")
    """Key of RunningHub."""
    runninghub_label: Label = "main"
    """Names the account of `RUNNINGHUB_API_KEY`: a new key of it keeps the label, another account gets another."""
    runninghub_api_keys: Secret = Secret("")
    """More keys of RunningHub, each `label=key`, separated by commas; paid calls use all keys in turn."""
    runninghub_draining: Labels = ""
    """Labels of keys of RunningHub that make no new calls, separated by commas: only looks and cancels."""
    runninghub_limit: Calls = 0
    """Paid calls that one key of RunningHub allows at once, divided by `VENDOR_PROCESSES`; 0: as many as it accepts."""
    runninghub_daily_calls: Calls = 0
    """Paid calls of RunningHub on one day (UTC), of all processes together; 0: no cap."""
    runninghub_workflows: str = ""
    """Directory with one file for each kind that RunningHub does, `{kind}.json`; see docs/configuration.md."""
    ark_url: Url = "https://ark.cn-beijing.volces.com"
    """Host of Volcengine Ark; a key is valid in the region of its host only."""
    ark_api_key: Secret = Secret("")
    """Key of Ark."""
    ark_label: Label = "main"
    """Names the account of `ARK_API_KEY`: a new key of it keeps the label, another account gets another."""
    ark_api_keys: Secret = Secret("")
    """More keys of Ark, each `label=key`, separated by commas; paid calls use all keys in turn."""
    ark_draining: Labels = ""
    """Labels of keys of Ark that make no new calls, separated by commas."""
    ark_limit: Calls = 0
    """Paid calls that one key of Ark allows at once, divided by `VENDOR_PROCESSES`; 0: as many as it accepts."""
    ark_daily_calls: Calls = 0
    """Paid calls of Ark on one day (UTC), of all processes together; 0: no cap."""
    ark_model: Model = "doubao-seedream-4-0-250828"
    """Model, or endpoint (`ep-…`), of the kinds and tasks that name none; see docs/configuration.md."""
    ark_watermark: bool = False
    """Put Ark's own watermark on pictures."""
    ark_inputs: Literal["url", "base64"] = "url"
    """Way of the reference pictures to Ark: as presigned URLs, or inside the request (those over 10 MB as URLs)."""
    vod_url: Url = "https://vod.tencentcloudapi.com"
    """Host of Tencent VOD, whose calls are signed with the credentials for COS."""
    vod_sub_app_id: Number = ""
    """Application of VOD that makes pictures; 0: the default one of an account from before 2023-12-25; empty: none."""
    vod_label: Label = "main"
    """Names the account of VOD's calls: another account gets another."""
    vod_limit: Calls = 0
    """Paid calls that VOD allows at once, divided by `VENDOR_PROCESSES`; 0: as many as it accepts."""
    vod_daily_calls: Calls = 0
    """Paid calls of VOD on one day (UTC), of all processes together; 0: no cap."""
    vod_model: Model = "WAND-tryon-1.0-flash"
    """Code of the model of the kinds and tasks that name none; see docs/configuration.md."""
    fitting_vendor: Literal["vod", "ark"] = "vod"
    """Vendor of `fitting`, for tasks that are accepted from now on; those accepted before keep theirs."""
    scenes_file: str = ""
    """JSON file with the scenes of `photography`, the same wherever it is sold and made; empty takes the bundled
    ones."""
    tokenhub_url: Url = "https://tokenhub.tencentmaas.com/v1"
    """Base URL of the chat model: TokenHub, or another endpoint with OpenAI's form of chat completions."""
    tokenhub_model: str = ""
    """Id of the model or of the service that writes prompts; it must take pictures."""
    tokenhub_api_key: Secret = Secret("")
    """Key of the chat model. Without one every prompt is the recipe's template, after its patience."""
    tokenhub_label: Label = "main"
    """Names the account of `TOKENHUB_API_KEY`."""
    vendor_processes: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    """Processes that make paid calls: each takes its share of a key's limit, at least one call."""
    prompt_patience_s: Seconds = 0.0
    """Time for which an outage of the chat model is waited for before the template is taken; 0 takes the recipe's."""
    vendor_expected_s: Seconds = 0.0
    """Usual time of the vendor's work; 0 takes the recipe's figure."""
    deadline_limit_s: Seconds = 0.0
    """Longest time from acceptance to the deadline, for demos; 0 takes the recipe's figure."""
    vendor_full_pause_s: Seconds = 30.0
    """Longest pause of the paid calls of a vendor's key that is full; it shrinks with the age of the run that waits."""
    fetch_hosts: Hosts = ""
    """Hosts results may come from besides the vendor's own, separated by commas."""
    fetch_private_hosts: HostPorts = ""
    """`host:port` pairs that may have private addresses: with 443 a COS host inside Tencent Cloud, else a stand-in."""
    source_hosts: Hosts = ""
    """Hosts that inputs given to the API as URLs may come from, separated by commas; empty takes every public host."""
    source_private_hosts: HostPorts = ""
    """`host:port` pairs that such URLs may name although their addresses are private: a stand-in."""
    jwt_secret: Secret = Secret("")
    """Verifies the bearer tokens of the API; at least 32 bytes in production."""
    api_url: Url = ""
    """Base URL of the API, for the command `submit`."""
    api_cors_origins: Origins = ""
    """Origins whose pages may call the API, separated by commas, such as `https://shop.example`; empty for none."""
    api_per_minute: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 120
    """Tasks that a user may create in a minute, in each process of the API; ten times as many others. 0: no limit."""
    work_concurrency: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    """Messages of one group of topics that a pump works on at once."""
    work_prefetch: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """Messages that a pump fetches ahead of each topic; above 0 only where thousands a second must pass through it."""
    work_topics: str = ""
    """Topics that a pump or drain takes, separated by commas, such as `poll,wake`; empty takes all."""
    drain_idle_s: Annotated[float, msgspec.Meta(gt=0, le=60, description="a number of seconds above 0, to 60")] = 1.0
    """Seconds without work after which a drain returns."""
    user_concurrency: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 6
    """Messages (clean, prompt, generate, collect) of one user that a pump works on at once; the others wait, unless
    permits would be idle. 0: no limit."""
    health_file: str = ""
    """File that a pump touches every two seconds while it takes work, for `scf-workers healthy`; empty for none."""
    shutdown_grace_s: Seconds = 30.0
    """Time after SIGTERM in which a pump may finish begun messages; a function has at most a fifth of its limit."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level logged."""
    log_format: Literal["", "json", "text"] = ""
    """`json` for a log service, `text` for a person; empty takes text in a terminal, else JSON."""
    trace_file: str = ""
    """File that spans are appended to, for `scf-workers trace` on a local machine."""
    otel_exporter_otlp_endpoint: Url = ""
    """URL of an OTLP collector for spans and metrics; empty sends nothing."""
    otel_exporter_otlp_protocol: Literal["grpc", "http/protobuf"] = "grpc"
    """Protocol of the collector."""
    otel_exporter_otlp_headers: Secret = Secret("")
    """`name=value` pairs, separated by commas, sent to the collector with each request."""
    otel_resource_attributes: Secret = Secret("")
    """`name=value` pairs of everything sent to the collector; Tencent APM takes its `token` here."""
    otel_service_name: str = ""
    """`service.name` of the telemetry; empty derives it from the function's name, such as `scf-workers-consumers`."""
    otel_metrics_exporter: Literal["otlp", "none"] = "otlp"
    """`none` sends spans only, for collectors without metrics."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The names in `work_topics`."""
        return tuple(name.strip() for name in self.work_topics.split(",") if name.strip())

    @property
    def unsafe(self) -> tuple[str, ...]:
        """The names in `allow_unsafe`."""
        return tuple(name.strip() for name in self.allow_unsafe.split(",") if name.strip())


SECRETS: Final = tuple(field.encode_name for field in msgspec.structs.fields(Settings) if field.type is Secret)
"""Variables that hold a secret: each may come as `NAME_FILE` too, and is masked wherever it would be printed."""


ROLE: Final = ("TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN")
"""Variables with a role's credentials on the platform, in the order id, key, token."""

REQUIRED: Final = ("BROKER_URL", "COS_BUCKET", "LEDGER_BUCKET", "BACKEND_URL", "INTERNAL_CALLBACK_SECRET")
"""Variables that every consumer needs; a producer needs some of them (`runtime.wiring`)."""


_NAMES: Final = frozenset(field.encode_name for field in msgspec.structs.fields(Settings))


def is_product_variable(name: str) -> bool:
    """Return True for a variable of the product: a setting, the file of a secret, a role's key, or telemetry's."""
    return name in _NAMES or name in ROLE or name.removesuffix("_FILE") in SECRETS or name.startswith("OTEL_")


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in an environment.

    Raises:
        BadSettings: a value has the wrong form, two do not go together, a secret's file cannot be read, or production
            does not take it; the text names the variables.
    """
    values = {name: value for name, value in environ.items() if name in _NAMES and value != ""}
    for name in SECRETS:
        if path := environ.get(f"{name}_FILE"):
            values[name] = _secret_file(name, path)
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise BadSettings(_refusal(str(error))) from error
    _check_ticket_secret(settings)
    for name in SECRETS:
        _mask(name, getattr(settings, name.lower()))
    keys = parse_keys(settings.message_keys)
    for key in keys:
        _mask("MESSAGE_KEYS", key.secret)
    labelled = labelled_keys(settings)
    for labelled_key in labelled:
        _mask(labelled_key.variable, labelled_key.secret)
    _mask_pairs(settings)
    if settings.ledger_bucket and settings.ledger_bucket == settings.cos_bucket:
        raise BadSettings("LEDGER_BUCKET and COS_BUCKET name the same bucket: the ledger needs one of its own")
    _check_rules(settings, keys, labelled)
    return settings


def mask_secrets(environ: Mapping[str, str]) -> None:
    """Mask every secret of an environment in all later output, even if the environment is invalid.

    `load_settings` masks the secrets that it reads. This is for earlier output, such as its own errors.

    Args:
        environ: the environment; the role's credentials are masked too.
    """
    values = [(name, environ.get(name, "")) for name in (*SECRETS, *ROLE)]
    for name in SECRETS:
        if path := environ.get(f"{name}_FILE"):
            with suppress(BadSettings):
                values.append((name, _secret_file(name, path)))
    for name, value in values:
        # One that is too short is refused by `load_settings`.
        with suppress(ValueError):
            register(Secret(value), of=name)


def require(settings: Settings, *names: str) -> None:
    """Check that the variables of a role are set.

    Args:
        settings: the settings.
        names: fields of `Settings`.

    Raises:
        BadSettings: some are not set; the text names them all.
    """
    missing = [name.upper() for name in names if not getattr(settings, name)]
    if missing:
        raise BadSettings(f"set {', '.join(missing)} (see docs/configuration.md)")


def _refusal(said: str) -> str:
    """Return msgspec's error as a sentence with the variable and its allowed values, without the value."""
    info = inspect.type_info(Settings)
    for field in info.fields if isinstance(info, inspect.StructType) else ():
        if said.endswith(f"`$.{field.encode_name}`"):
            return f"{field.encode_name} must be {_form(field.type)}"
    return f"the environment cannot be used: {said}"


def _form(kind: inspect.Type) -> str:
    """Return the allowed values of a field by its type."""
    match kind:
        case inspect.Metadata(extra_json_schema={"description": str(words)}):
            return words
        case inspect.LiteralType():
            values = ", ".join(str(value) for value in kind.values if value != "")
            return f"one of {values}" + (", or not set" if "" in kind.values else "")
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number from {kind.ge} to {kind.le}"
        case _:
            return "text"


def _check_ticket_secret(settings: Settings) -> None:
    size = len(settings.ticket_secret.reveal().encode("utf-8", "surrogatepass"))
    if 0 < size < MIN_SECRET_BYTES:
        raise BadSettings(f"TICKET_SECRET has {size} bytes, and verifying tickets needs {MIN_SECRET_BYTES}")


def _check_rules(settings: Settings, keys: Iterable[ParsedKey], labelled: Iterable[LabelledKey]) -> None:
    if not set(settings.unsafe) <= set(NETWORK):
        raise BadSettings(f"ALLOW_UNSAFE must be some of {', '.join(NETWORK)}, separated by commas")
    secrets = {name: getattr(settings, name.lower()) for name in SECRETS}
    secrets |= {f"MESSAGE_KEYS ({key.key_id})": key.secret for key in keys}
    secrets |= {key.variable: key.secret for key in labelled}
    if broken := list(refusals(settings, secrets)):
        raise BadSettings("; ".join(broken))


def _secret_file(name: str, path: str) -> str:
    try:
        secret = without_bom(Path(path).read_bytes()).decode().strip()
    except OSError as error:
        raise BadSettings(f"{name}_FILE names {path!r}, which cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise BadSettings(f"{name}_FILE names {path!r}, which cannot be read: it is no UTF-8") from error
    if not secret:
        raise BadSettings(f"{name}_FILE names {path!r}, which is empty")
    return secret


def _mask(name: str, secret: Secret) -> None:
    if not secret:
        return
    try:
        register(secret, of=name)
    except ValueError as error:
        raise BadSettings(f"{name} cannot be used: {error}") from error


def _mask_pairs(settings: Settings) -> None:
    """Mask the values of pairs one by one too: those of all headers, and of attributes with a secret's name."""
    headers = pairs(settings.otel_exporter_otlp_headers.reveal()).values()
    attributes = pairs(settings.otel_resource_attributes.reveal()).items()
    for value in [*headers, *(value for name, value in attributes if is_sensitive(name))]:
        for word in {value, value.rpartition(" ")[2]}:
            if len(word) >= MIN_SECRET_LENGTH:
                register(Secret(word))


def _decode(kind: type[Any], value: Any) -> Any:  # noqa: ANN401 - msgspec's signature
    if kind is Secret:
        return Secret(str(value))
    raise NotImplementedError(kind)
