"""What `samaflow model` does: convert, look at, record and check weights. The model's own errors end here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

import sql
from edits.errors import WeightsError
from edits.settings import Settings
from flows.results import out
from sama_model import installed
from sama_model.config import WeightsCard
from sama_model.errors import WeightsError as ModelWeightsError
from sama_model.installed import BUILT_IN, check_name, networks_folder, read_card
from tasks.version import code_version


@dataclass(frozen=True)
class PartLine:
    """One network of a folder of weights."""

    name: str
    kind: str
    parameters: int
    dtype: str
    digest: str
    config: dict[str, object]


@dataclass(frozen=True)
class ModelLine:
    """What `samaflow model inspect` prints. Part of the `--json` output: fields are added, never renamed."""

    name: str
    editor: str
    editor_version: str
    digest: str
    numerics: str
    verified: bool
    """Whether the tensors were read and their digests compared, not only their names and shapes."""
    parts: tuple[PartLine, ...]
    converter: str
    """What made the files of the released ones; empty when nothing did."""
    loras: str
    """`lora@scale sha256`; empty without one."""


@contextmanager
def translated() -> Iterator[None]:
    """The model's own error as one of the project's tree."""
    try:
        yield
    except ModelWeightsError as error:
        raise WeightsError(str(error)) from error


def new_folder(weights_folder: Path, name: str) -> Path:
    """Where weights of this name will lie. Raises WeightsError for a name that is taken or cannot be one."""
    with translated():
        check_name(name)
    return weights_folder / name


def folder_of(weights: str, settings: Settings) -> Path:
    """A path if it is written as one, else the name of weights that ship or are installed. Raises WeightsError."""
    if weights in BUILT_IN:
        raise WeightsError(f"'{weights}' is built in and has no folder: name what 'samaflow model convert' made")
    if os.sep in weights:
        return Path(weights).absolute()
    return installed.folder_of(weights.split("+")[0], settings.weights_folder)


def convert(
    sama: Path,
    text_encoder: Path,
    vae: Path,
    tokenizer: Path,
    base: tuple[Path, ...],
    target: Path,
    heads: int | None,
    dtype: str | None,
) -> ModelLine:
    """Convert released files to the folder `target`, with a progress bar on standard error."""
    import torch

    from sama_model import convert as conversion
    from sama_model.cards import RELEASED

    released = conversion.Released(sama, text_encoder, vae, tokenizer, base)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with translated(), Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("convert", visible=False)
        conversion.convert(
            released,
            target,
            replace(RELEASED, converter=f"samaflow {code_version()}"),
            heads=heads,
            dtype=None if dtype is None else getattr(torch, dtype),
            progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True),
        )
    return inspect(target, verify=False)


def inspect(folder: Path, *, verify: bool) -> ModelLine:
    """Configuration, parameters, dtype and digests of a folder; with `verify` every tensor is read again.

    Raises:
        WeightsError: it is not whole, or with `verify` not what its card says.
    """
    with translated():
        from sama_model.folders import describe

        weights = read_card(folder)
        parts = describe(networks_folder(folder, weights), weights.configs, weights.parts if verify else None)
        if verify and weights.lora is not None:
            installed.check_lora_file(folder, weights.lora)
    card = weights.card
    lines = tuple(
        PartLine(part.name, part.kind, part.parameters, part.dtype, weights.parts.get(part.name, ""), part.config)
        for part in parts
    )
    names = (card.name, card.editor, card.editor_version, card.digest, card.numerics)
    return ModelLine(*names, verify, lines, card.converter, card.loras)


def add_lora(base: Path, file: Path, scale: float, target: Path) -> WeightsCard:
    """Weights of others and a LoRA. Raises WeightsError like `sama_model.turbo.add_lora`."""
    with translated():
        from sama_model import turbo

        return turbo.add_lora(base, file, scale, target).card


def register(db: sql.Database, folder: Path) -> ModelLine:
    """Record the weights of `folder` as a model version, with the LoRA in them; again is harmless."""
    line = inspect(folder, verify=False)
    model = (line.name, line.digest, line.editor, line.editor_version)
    sql.record_model_version(db, *model, line.converter, line.loras)
    return line


def show(line: ModelLine, *, configuration: bool = True) -> None:
    """For people; with the whole configuration of the networks where they look for it."""
    state = "digests verified" if line.verified else "names and shapes checked"
    out.print(f"{line.name}: editor {line.editor} version {line.editor_version}, {line.numerics}, {state}")
    out.print(f"digest {line.digest}")
    for heading, said in (("converted by", line.converter), ("LoRA", line.loras)):
        if said:
            out.print(f"{heading} {said}", soft_wrap=True)
    for part in line.parts:
        out.print(f"  {part.name}: {part.kind}, {part.parameters:,} parameters, {part.dtype}, {part.digest[:16]}")
        for key, value in part.config.items() if configuration else ():
            out.print(f"    {key} = {value}")
