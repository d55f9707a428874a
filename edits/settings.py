"""What can be set, where it is written, and what holds when nothing is. The one file that reads environment and TOML.

A setting comes from the call, else the environment (SAMAFLOW_*), else `samaflow.toml`, else its default. Secrets are no
settings: S3 credentials come from the usual AWS variables, and a database URL is shown through `redacted` only.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edits.catalogue import DETAILS, OWN_DETAIL
from edits.errors import SettingsError, nearest, shortened
from edits.trust import SCHEMES, file_uri

FILE_NAME = "samaflow.toml"
PREFIX = "SAMAFLOW_"
JOB_TEMPLATE = Path(__file__).resolve().parents[1] / "k8s" / "job_template.yaml"
"""The one that stands beside the code."""
EXECUTORS = ("local", "kubernetes")
PROFILES = ("auto", "resident", "streamed", "streamed_small")

ATTENTION = (
    "native", "fa3_fwd", "flash", "flash_varlen", "_flash_3", "_flash_varlen_3", "flex", "_native_cudnn",
    "_native_efficient", "_native_flash", "_native_math", "_native_npu", "_native_xla", "xformers",
)  # fmt: skip
"""Attention back ends that differ by rounding alone; what is installed where the model runs, it says itself."""

_SERVICE_LINK = re.compile(r"SAMAFLOW_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_[0-9]+_(?:TCP|UDP)\w*)")
"""What Kubernetes sets in every pod beside a Service called samaflow."""

_OF_DEPLOYMENTS = ("SAMAFLOW_HOME",)
"""What `prefect.yaml` reads: the folder of the code that a deployment runs."""


# -- kinds of values --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A type of setting: how it is described, checked, and read from the text of an environment variable."""

    expects: str
    accepts: Callable[[Any], bool]
    from_text: Callable[[str], Any]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and not any(ord(character) < 32 for character in value)


def _choice(words: tuple[str, ...]) -> Kind:
    return Kind(f"one of {', '.join(words)}", lambda value: value in words, str)


def _whole(low: int, high: int = 2**40) -> Kind:
    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Kind(f"a whole number from {low} to {high}", accepts, int)


def _number(low: float, *, above: bool, most: float = math.inf) -> Kind:
    def accepts(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return number and (value > low if above else value >= low) and value <= most

    end = "" if math.isinf(most) else f" to {most:g}"
    return Kind(f"a number {'above' if above else 'from'} {low:g}{end}", accepts, float)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(_is_text(item) for item in value)


def _list_from_text(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_text(key) and _is_text(item) for key, item in value.items())


def _map_from_text(text: str) -> dict[str, str]:
    pairs = [item.split("=", 1) for item in _list_from_text(text)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(text)
    return {key.strip(): value.strip() for key, value in pairs}


def _flag_from_text(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


TEXT = Kind("a text", _is_text, str)
FLAG = Kind("true or false", lambda value: isinstance(value, bool), _flag_from_text)
PATH = Kind("a path", lambda value: _is_text(str(value)) and isinstance(value, str | Path), str)
NAME = Kind(
    "a name in the form of Kubernetes (small letters, digits, '-')",
    lambda value: _is_text(value) and re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value) is not None,
    str,
)
TEXTS = Kind("a list of texts (in the environment: separated by commas)", _are_texts, _list_from_text)
SCHEME_LIST = Kind(
    f"a list of {', '.join(SCHEMES)}", lambda value: _are_texts(value) and set(value) <= set(SCHEMES), _list_from_text
)
MAP = Kind("a table of texts (in the environment: a=b,c=d)", _is_map, _map_from_text)


def _setting(place: str, kind: Kind, default: Any, *, secret: bool = False) -> Any:
    """A field that stands at `table.key` of `samaflow.toml` and in the variable SAMAFLOW_<FIELD>."""
    metadata = {"place": place, "kind": kind, "secret": secret}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata, repr=not secret)


# -- settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """Everything that can be set, resolved: folders are absolute, the store is a URI."""

    state_folder: Path = _setting("paths.state", PATH, Path(".samaflow"))  # noqa: RUF009 - it makes a field
    """What one machine keeps between runs: caches, scratch, and the store and database unless they are elsewhere."""
    store: str = _setting("store.uri", TEXT, "")
    """URI of the store; by default the folder `store` in the state folder."""
    endpoint_url: str | None = _setting("store.endpoint_url", TEXT, None)
    """Address of an S3 server that is not AWS's."""
    database: str = _setting("database.url", TEXT, "", secret=True)
    """Database URL; by default SQLite in the state folder. May hold a password: print it through `redacted`."""
    database_patience: float = _setting("database.patience", _number(0, above=False), 300.0)
    """Seconds for which a run waits for a database that is locked, restarting or unreachable."""
    output_folder: str = _setting("paths.output", TEXT, "deliverables/")
    """Where deliverables go when a row names no output; relative to the manifest."""
    roots: tuple[str, ...] = _setting("paths.roots", TEXTS, ())
    """Folders and `s3://bucket/prefix` URIs that manifests may name, beside the manifest's own folder."""
    schemes: tuple[str, ...] = _setting("paths.schemes", SCHEME_LIST, SCHEMES)
    """URI schemes that manifests may name."""
    path_map: Mapping[str, str] = _setting("paths.map", MAP, {})
    r"""Foreign prefix (`Z:\footage`, `/Volumes/media`) to a folder or `s3:` URI of ours."""
    executor: str = _setting("executor.kind", _choice(EXECUTORS), "local")
    """Where workers run."""
    workers: int = _setting("executor.workers", _whole(1, 256), 1)
    """Local worker processes; one a GPU, or one on the CPU, is best."""
    image_digest: str = _setting("executor.image_digest", TEXT, "")
    """Container image that this runs in, by digest, kept with what it makes; the work pool on Kubernetes sets it."""
    kubernetes_namespace: str = _setting("kubernetes.namespace", NAME, "samaflow")
    """Namespace in which GPU Jobs are made."""
    kubernetes_context: str = _setting("kubernetes.context", TEXT, "")
    """Context of the kubeconfig; by default its current one. Inside a cluster the pod's own service account counts."""
    kubernetes_job_template: Path = _setting("kubernetes.job_template", PATH, JOB_TEMPLATE)  # noqa: RUF009
    """YAML file of the GPU Job; by default `k8s/job_template.yaml` beside the code."""
    kubernetes_image: str = _setting("kubernetes.image", TEXT, "")
    """Image of the workers, best by digest; empty: what the template says."""
    kubernetes_gpu_resource: str = _setting("kubernetes.gpu_resource", TEXT, "nvidia.com/gpu")
    """Resource by which the cluster counts GPUs."""
    kubernetes_gpus: int = _setting("kubernetes.gpus", _whole(0, 16), 1)
    """GPUs of a worker; 0 makes workers on the CPU."""
    kubernetes_parallelism: int = _setting("kubernetes.parallelism", _whole(1, 10_000), 4)
    """Workers at once, over all Jobs of one run."""
    kubernetes_memory_gib: float = _setting("kubernetes.memory_gib", _number(0, above=True), 48.0)
    """Host memory of a worker, in GiB."""
    kubernetes_max_memory_gib: float = _setting("kubernetes.max_memory_gib", _number(0, above=True), 192.0)
    """Up to here a worker that was killed for want of host memory is given twice as much."""
    kubernetes_node_selector: Mapping[str, str] = _setting("kubernetes.node_selector", MAP, {})
    """Labels of the nodes that workers may run on."""
    kubernetes_larger_node_selector: Mapping[str, str] = _setting("kubernetes.larger_node_selector", MAP, {})
    """Labels of nodes with larger GPUs, for chunks whose device memory did not suffice; empty: there are none."""
    kubernetes_tolerations: tuple[str, ...] = _setting("kubernetes.tolerations", TEXTS, ())
    """Taints that workers put up with, as kubectl writes them: `key=value:NoSchedule`, `key:NoSchedule`, `key`."""
    kubernetes_service_account: str = _setting("kubernetes.service_account", NAME, "samaflow-worker")
    """Service account of the workers; it needs no rights in the cluster."""
    kubernetes_store_secret: str = _setting("kubernetes.store_secret", TEXT, "")
    """Secret with the store's AWS_* variables; empty with workload identity."""
    kubernetes_store_endpoint_url: str | None = _setting("kubernetes.store_endpoint_url", TEXT, None)
    """Address of the S3 server as pods reach it, where that is not `[store] endpoint_url`."""
    kubernetes_queue: str = _setting("kubernetes.queue", TEXT, "")
    """Kueue LocalQueue that admits the Jobs; empty without Kueue."""
    kubernetes_priority_classes: Mapping[str, str] = _setting("kubernetes.priority_classes", MAP, {})
    """Least `priority` of a row to the PriorityClass of its workers: `{"0" = "samaflow", "10" = "samaflow-urgent"}`."""
    kubernetes_deadline_hours: float = _setting("kubernetes.deadline_hours", _number(0, above=True), 24.0)
    """Hours that one worker may run, its time in the queue not counted."""
    kubernetes_ttl_hours: float = _setting("kubernetes.ttl_hours", _number(0, above=True), 24.0)
    """Hours after which the cluster removes a finished Job."""
    default_editor: str = _setting("defaults.editor", TEXT, "sama")
    """Editor of rows that name none."""
    default_weights: Mapping[str, str] = _setting("defaults.weights", MAP, {})
    """Editor to weights, for rows that name none; an editor not listed uses its own default."""
    default_deliverable: str = _setting("defaults.deliverable", TEXT, "h264")
    """Deliverable of rows that name none."""
    default_detail: str = _setting("defaults.detail", _choice((OWN_DETAIL, *DETAILS)), OWN_DETAIL)
    """Detail of rows that name none; `auto` is what suits the editor."""
    max_pixels: int = _setting("limits.max_pixels", _whole(1), 8192 * 4320)
    """Pixels of a source's frame above which it is refused."""
    max_duration_hours: float = _setting("limits.max_duration_hours", _number(0, above=True), 12.0)
    """Hours of a source above which it is refused."""
    memory_gib: float = _setting("limits.memory_gib", _number(0, above=True), 8.0)
    """Address space of a decoding process, in GiB."""
    encoder_threads: int = _setting("media.encoder_threads", _whole(1, 64), 4)
    """Threads of the encoder: fixed, because some encoders write other bytes with another number."""
    review_pages: str = _setting("review.pages", _choice(("on", "off")), "on")
    """Whether each job gets a review page: a copy for browsers, made beside the deliverable."""
    review_url: str = _setting("review.url", TEXT, "")
    """Address under which the store's pages are served, for links; empty: links lead to the files themselves."""
    review_timeout_hours: float = _setting("review.timeout_hours", _number(0, above=False), 0.0)
    """Hours after which a job that awaits its review is decided by itself; 0: never."""
    review_timeout_action: str = _setting("review.timeout_action", _choice(("approve", "reject")), "reject")
    """What is decided then."""
    qc_accept: tuple[str, ...] = _setting("qc.accept", TEXTS, ())
    """Checks, by name, that may fail without keeping a deliverable back, e.g. `no black pictures`."""
    sign: bool = _setting("credentials.sign", FLAG, True)
    """Whether deliverables carry content credentials (C2PA) that say what was done; turning it off is recorded."""
    certificate: str | None = _setting("credentials.certificate", TEXT, None)
    """PEM file of the signer's certificate and those above it; by default a development one is made, named as such."""
    key: str | None = _setting("credentials.key", TEXT, None)
    """PEM file of the certificate's private key."""
    key_service: str | None = _setting("credentials.key_service", TEXT, None)
    """`module:function` that signs bytes with a key kept elsewhere; instead of `key`."""
    disclose: str = _setting("credentials.disclose", _choice(("full", "model", "minimal")), "model")
    """What credentials tell: `full` is model and instruction, `model` the model alone, `minimal` neither."""
    timestamp_url: str | None = _setting("credentials.timestamp_url", TEXT, None)
    """Address of an RFC 3161 time-stamp authority; without it signatures hold as long as the certificate."""
    openlineage_events: bool = _setting("openlineage.events", FLAG, False)
    """Whether each video's start and end are sent as OpenLineage events, where `openlineage.yml` says."""
    keep_days: float = _setting("store.keep_days", _number(0, above=False, most=36_500), 30.0)
    """Days for which `samaflow prune` leaves chunk files alone after they and their jobs were last touched."""
    gpu_hour_cost: float = _setting("cost.gpu_hour", _number(0, above=False), 0.0)
    """Price of a GPU hour, for estimates; 0 prints no cost."""
    currency: str = _setting("cost.currency", TEXT, "USD")
    """Unit of `gpu_hour_cost`."""
    weights_folder: Path = _setting("paths.weights", PATH, Path())  # noqa: RUF009 - it makes a field
    """Where the folders of converted weights lie; by default the folder `weights` in the state folder."""
    profile: str = _setting("model.profile", _choice(PROFILES), "auto")
    """Where a model's parts lie while it works; `auto` takes the largest profile that fits. Changes no result."""
    attention: str = _setting("model.attention", _choice(ATTENTION), "native")
    """Attention back end, as diffusers names it, or `fa3_fwd`; those that round to eight bits are refused."""
    compile: bool = _setting("model.compile", FLAG, False)
    """Whether a `resident` model's blocks are compiled: half a minute for a new size of chunk, then a tenth faster."""
    strict_prompts: bool = _setting("model.strict_prompts", FLAG, False)
    """Whether a prompt of more than 512 tokens is an error; else it is cut, and the log says by how much."""

    def roots_with(self, *folders: Path | str) -> tuple[str, ...]:
        """`roots`, the output folder when it is absolute, and `folders` (the manifest's, the current one)."""
        absolute = self.output_folder.startswith(("/", "s3:", "file:"))
        return (*self.roots, *([self.output_folder] if absolute else []), *(str(folder) for folder in folders))


_FIELDS = {item.name: item for item in dataclasses.fields(Settings)}
_PLACES = {item.metadata["place"]: item.name for item in dataclasses.fields(Settings)}
_VARIABLES = {PREFIX + name.upper(): name for name in _FIELDS}


def load_settings(folder: Path, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """Settings for work begun in `folder`: its `samaflow.toml` if there is one, `environ`, `overrides` by field name.

    Relative paths are relative to `folder`; only `output_folder` stays as written, for each manifest has its own.

    Raises:
        SettingsError: an unknown key (with the nearest known one), a wrong type, a file that cannot be read.
    """
    values: dict[str, Any] = {}
    for name, value, where in (*_from_file(folder / FILE_NAME), *_from_environment(environ), *_from_call(overrides)):
        _check(name, value, where)
        values[name] = value
    return _resolved(folder.absolute(), values)


Found = Iterator[tuple[str, Any, str]]
"""(field name, value, where it stands, for messages)"""


def _from_file(path: Path) -> Found:
    for table, content in _read_toml(path).items():
        tables = list(dict.fromkeys(place.partition(".")[0] for place in _PLACES))
        if table not in tables:
            raise SettingsError(f"{path}: no table is called [{table}]. {nearest(table, tables)}")
        if not isinstance(content, dict):
            raise SettingsError(f"{path}: {table} must be a table: write [{table}] on a line of its own.")
        keys = [place.partition(".")[2] for place in _PLACES if place.startswith(table + ".")]
        for key, value in content.items():
            if key not in keys:
                raise SettingsError(f"{path}: [{table}] has no key '{shortened(key)}'. {nearest(key, keys)}")
            yield _PLACES[f"{table}.{key}"], value, f"{path}, [{table}] {key}"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> Found:
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in _OF_DEPLOYMENTS or _SERVICE_LINK.fullmatch(variable):
            continue
        if variable not in _VARIABLES:
            known = nearest(variable.lower(), [name.lower() for name in _VARIABLES]).upper()
            raise SettingsError(f"the environment sets {variable}, which is no setting. {known}")
        kind: Kind = _FIELDS[_VARIABLES[variable]].metadata["kind"]
        try:
            yield _VARIABLES[variable], kind.from_text(text), variable
        except ValueError as error:
            raise SettingsError(f"{variable}: {shortened(text)!r} is not {kind.expects}.") from error


def _from_call(overrides: Mapping[str, object]) -> Found:
    for name, value in overrides.items():
        if name not in _FIELDS:
            raise SettingsError(f"no setting is called '{name}'. {nearest(name, _FIELDS)}")
        yield name, value, name


def _check(name: str, value: Any, where: str) -> None:
    kind: Kind = _FIELDS[name].metadata["kind"]
    if not kind.accepts(value):
        shown = "this value" if _FIELDS[name].metadata["secret"] else shortened(repr(value))
        raise SettingsError(f"{where}: {shown} is not {kind.expects}.")


# -- resolving --------------------------------------------------------------------------------------------------------


def _resolved(folder: Path, values: dict[str, Any]) -> Settings:
    frozen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    settings = Settings(**frozen)
    state = Path(_absolute(folder, str(settings.state_folder)))
    return dataclasses.replace(
        settings,
        state_folder=state,
        store=_store_uri(folder, settings.store) if settings.store else file_uri(state / "store"),
        database=_database_url(settings.database) if settings.database else own_database(state),
        weights_folder=_weights_folder(folder, state, settings.weights_folder),
        roots=tuple(_absolute(folder, root) for root in settings.roots),
        certificate=_absolute(folder, settings.certificate) if settings.certificate else None,
        key=_absolute(folder, settings.key) if settings.key else None,
        path_map={prefix: _absolute(folder, target) for prefix, target in settings.path_map.items()},
        kubernetes_job_template=Path(_absolute(folder, str(settings.kubernetes_job_template))),
    )


def _absolute(folder: Path, place: str) -> str:
    """A URI as it is, a path made absolute."""
    if place.startswith("~"):
        raise SettingsError(f"'{place}': ~ is a shell's word. Write the folder out.")
    return place if re.match(r"[A-Za-z][A-Za-z0-9+.\-]+:", place) else os.path.abspath(folder / place)


def _weights_folder(folder: Path, state: Path, given: Path | str) -> Path:
    return state / "weights" if given == Path() else Path(_absolute(folder, str(given)))


def _store_uri(folder: Path, store: str) -> str:
    place = _absolute(folder, store)
    if place.startswith(("file:", "s3://")):
        return place
    if not place.startswith("/"):
        raise SettingsError(f"store: '{shortened(store)}': give a folder, file:///folder or s3://bucket/prefix.")
    return file_uri(Path(place))


def own_database(state_folder: Path) -> str:
    """The URL of the database that is used where none is named."""
    return f"sqlite:///{state_folder / 'samaflow.db'}"


def _database_url(url: str) -> str:
    if not re.match(r"[a-z][a-z0-9+]*://", url):
        raise SettingsError(
            "database: this is not a URL. Write sqlite:////folder/samaflow.db or "
            "postgresql+psycopg://user:password@host/name"
        )
    return url


def shareable(settings: Settings) -> dict[str, Any]:
    """The settings as plain JSON values for the record, by field name; whatever may hold a password is redacted."""
    return {item.name: _plain(getattr(settings, item.name)) for item in dataclasses.fields(settings)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return redacted(str(value)) if isinstance(value, str | Path) else value


_PASSWORD = re.compile(r"(://[^/?#:@]*):.*@")
_SECRET_PARAMETER = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)


def redacted(url: str) -> str:
    """`url` with its password and secret parameters as `***`, also when the password breaks the URL's syntax."""
    return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
