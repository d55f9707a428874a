"""What a worker is given: where its shard lies, the shard itself, and the editor that the shard was planned for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from edits import wire
from edits.errors import RecordError, SettingsError, WeightsError
from edits.job import PROTOCOL, Shard
from edits.settings import Settings
from edits.storage import Store, shard_path
from sama_model.config import Options
from sama_model.editors.base import Editor, InstructionError


@dataclass(frozen=True)
class ShardAddress:
    """Where a shard lies: the store, the dispatch and the number within it."""

    store: str
    dispatch_id: str
    index: int


def shard_address(uri: str, environ: Mapping[str, str], indexes: str = "") -> ShardAddress:
    """Take `{store}/dispatches/<dispatch_id>/<index>.json` apart; after a `/` at the end comes JOB_COMPLETION_INDEX.

    With `indexes` (`3,17`) that variable counts in this list: a later round needs workers for some shards only.

    Raises:
        SettingsError: another form of URI, or no index.
    """
    if uri.endswith("/"):
        index = environ.get("JOB_COMPLETION_INDEX", "")
        if not index.isdecimal():
            raise SettingsError(
                f"{uri} ends with '/', so JOB_COMPLETION_INDEX must be the shard's number, not {index!r}"
            )
        uri = f"{uri}{_listed(indexes, int(index)) if indexes else index}.json"
    match = re.fullmatch(r"(.+)/dispatches/([A-Za-z0-9_-]+)/(\d+)\.json", uri)
    if match is None:
        raise SettingsError(f"{uri}: a shard is {{store}}/dispatches/<dispatch_id>/<index>.json")
    return ShardAddress(match[1], match[2], int(match[3]))


def _listed(indexes: str, position: int) -> str:
    numbers = indexes.split(",")
    if not all(number.isdecimal() for number in numbers) or position >= len(numbers):
        raise SettingsError(
            f"--indexes {indexes}: no shard number stands at position {position} (JOB_COMPLETION_INDEX)"
        )
    return numbers[position]


def load_shard(store: Store, address: ShardAddress) -> Shard:
    """Read the shard.

    Raises:
        RecordError: unreadable, of another protocol version, or another shard than its name says.
    """
    path = shard_path(address.dispatch_id, address.index)
    data, name = store.read(path), store.uri(path)
    with suppress(ValueError, TypeError, KeyError):  # what is no JSON object is named by wire.load below
        if (protocol := json.loads(data)["protocol"]) != PROTOCOL:
            raise RecordError(f"{name}: worker protocol {protocol}, this worker speaks {PROTOCOL}; use its version")
    shard = wire.load(Shard, data, name)
    if (shard.dispatch_id, shard.index) != (address.dispatch_id, address.index):
        raise RecordError(f"{name}: is shard {shard.index} of dispatch '{shard.dispatch_id}'")
    return shard


def worker_variables(settings: Settings) -> dict[str, str]:
    """What a worker is told of the flow's settings, as `model_options` reads it."""
    return {
        "SAMAFLOW_STATE_FOLDER": str(settings.state_folder),
        "SAMAFLOW_WEIGHTS_FOLDER": str(settings.weights_folder),
        "SAMAFLOW_PROFILE": settings.profile,
        "SAMAFLOW_ATTENTION": settings.attention,
        "SAMAFLOW_COMPILE": str(settings.compile).lower(),
        "SAMAFLOW_STRICT_PROMPTS": str(settings.strict_prompts).lower(),
    }


def model_options(settings: Settings) -> Options:
    """How this machine runs models."""
    return Options(
        weights_folder=settings.weights_folder,
        text_cache=settings.state_folder / "text",
        profile=settings.profile,
        attention=settings.attention,
        compile=settings.compile,
        strict_prompts=settings.strict_prompts,
    )


def load_editor(shard: Shard, options: Options) -> Editor:
    """Load the shard's editor, and hold it against the editor that the plan was made for.

    Raises:
        WeightsError: it is not installed here, or its version or the digest of its weights is another.
        InstructionError: it can follow none of the shard's instructions.
    """
    from sama_model.editors import load  # here: some editors bring torch

    try:
        instructions = tuple(dict.fromkeys(chunk.instruction for chunk in shard.chunks))
        editor = load(shard.editor, shard.weights, options, instructions)
    except InstructionError:
        raise
    except ValueError as error:  # WeightsError is one; an editor or weights that are not here are another
        raise WeightsError(str(error)) from error
    found = (editor.card.editor_version, editor.card.digest)
    if found != (shard.editor_version, shard.weights_digest):
        raise WeightsError(
            f"editor '{shard.editor}' with weights '{shard.weights}': the plan was made for version and digest "
            f"{(shard.editor_version, shard.weights_digest)}, here are {found}; use the same release, or plan again"
        )
    return editor
