"""Weights that lie in folders of this machine, known by their cards. No torch here: the flow side plans with them.

<weights folder>/<name>/card.json      the card, and digests of the parts
                       /...            the networks; a machine that only plans needs the card alone
sama_model/shipped/<name>/...          the same, of weights that come with the package
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sama_model.config import WeightsCard
from sama_model.errors import WeightsError

CARD_FILE = "card.json"
LORA_FILE = "lora.safetensors"
PARTIAL = ".partial"
"""Ends the name of a folder that is still being written."""
REHEARSAL = "-rehearsal"
"""Ends the name of weights that were trained for a few steps, to see that everything runs."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")

BUILT_IN = ("builtin", "tiny")
"""Names that `cards.CARDS` has taken: weights that are no files."""

SHIPPED = Path(__file__).with_name("shipped")
"""A weights folder that comes with the package. One of the same name in another weights folder takes its place."""


@dataclass(frozen=True)
class Lora:
    """What was added to other weights."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    sha256: str
    scale: float


@dataclass(frozen=True)
class InstalledWeights:
    """One folder's card, and what its digest is made of."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    card: WeightsCard
    parts: dict[str, str] = field(default_factory=dict)
    """Digest by network (and `tokenizer`); the card's digest is over these."""
    configs: dict[str, str] = field(default_factory=dict)
    """Digest of each network's configuration, which is quick to compare; empty in cards of before."""
    base: str = ""
    """Name of the weights whose networks these are, where the folder holds a LoRA only."""
    lora: Lora | None = None


_JSON = TypeAdapter(InstalledWeights)


def card_json(weights: InstalledWeights) -> bytes:
    """What `card.json` holds."""
    return _JSON.dump_json(weights, indent=1) + b"\n"


def read_card(folder: Path) -> InstalledWeights:
    """The card of the weights in `folder`, whose name is theirs.

    Raises:
        WeightsError: no card, one that cannot be read, or one of weights with another name.
    """
    path = folder / CARD_FILE
    try:
        weights = _JSON.validate_json(path.read_bytes())
    except OSError as error:
        raise WeightsError(
            f"{path}: no weights' card ({error.strerror}); `samaflow model convert` writes it"
        ) from error
    except ValidationError as error:
        raise WeightsError(f"{path}: not a weights' card ({error}); convert the weights again") from error
    if weights.card.name != folder.name:
        raise WeightsError(f"{path}: the card of '{weights.card.name}'; the folder must have that name")
    return weights


def networks_folder(folder: Path, weights: InstalledWeights) -> Path:
    """Where the networks of the weights in `folder` lie: there, or where those are that a LoRA was put on.

    Raises:
        WeightsError: the base has no card, or is not the one any more that the LoRA was put on.
    """
    if not weights.base:
        return folder
    base = folder_of(weights.base, folder.parent)
    if read_card(base).parts != weights.parts:
        raise WeightsError(
            f"{folder}: a LoRA on weights '{weights.base}' that were replaced since: remove the folder and make it "
            "again with `samaflow model lora`"
        )
    return base


def folder_of(name: str, weights_folder: Path | None) -> Path:
    """Where the weights of this name lie, or should. Raises WeightsError if no weights folder is set and none ship."""
    if weights_folder is not None and (weights_folder / name / CARD_FILE).is_file():
        return weights_folder / name
    if (SHIPPED / name / CARD_FILE).is_file():
        return SHIPPED / name
    if weights_folder is None:
        raise WeightsError(f"weights '{name}': no weights folder is set")
    return weights_folder / name


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `target` when all is written, and goes when something fails."""
    aside = target.with_name(f"{target.name}{PARTIAL}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """In 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_lora_file(folder: Path, lora: Lora) -> None:
    """Compare the LoRA's file in `folder` with what its card says. Raises WeightsError."""
    path = folder / LORA_FILE
    try:
        found = sha256_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); make the weights again") from error
    if found != lora.sha256:
        raise WeightsError(f"{path}: sha256 {found}, the card says {lora.sha256}; make the weights again")


@dataclass(frozen=True)
class Installed:
    """What lies in a weights folder."""

    weights: dict[str, InstalledWeights]
    """By name."""
    broken: dict[str, WeightsError]
    """By folder, why its card cannot be used: the others can."""


def installed(folder: Path) -> Installed:
    """All weights with a card in the folders of `folder`; none if it is not there."""
    found = Installed({}, {})
    for path in sorted(folder.glob(f"*/{CARD_FILE}")) if folder.is_dir() else []:
        name = path.parent.name
        if name.endswith(PARTIAL):
            continue
        try:
            found.weights[name] = read_card(path.parent)
        except WeightsError as error:
            found.broken[name] = error
    return found


def check_name(name: str) -> None:
    """Refuse what cannot be a name of weights: rows name them, `+` joins approximations to them, and some are taken.

    Raises:
        WeightsError: such a name.
    """
    if not NAME.fullmatch(name) or name.endswith(PARTIAL):
        raise WeightsError(
            f"'{name}' cannot be the name of weights: use lower-case letters, digits, '.', '_' and '-', and no "
            f"'{PARTIAL}' at the end"
        )
    if name in BUILT_IN:
        raise WeightsError(f"'{name}' is the name of weights that are built in: take another one")
