"""Weights that lie in folders of this machine, known by their cards. No torch here: the flow side plans with them.

<weights folder>/<name>/card.json      the card, and digests of the parts
                       /...            the networks; a machine that only plans needs the card alone
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sama_model.config import WeightsCard
from sama_model.errors import WeightsError

CARD_FILE = "card.json"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


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


def installed(folder: Path) -> dict[str, InstalledWeights]:
    """All weights with a card in the folders of `folder`, by name; none if it is not there.

    Raises:
        WeightsError: a card that cannot be used.
    """
    cards = sorted(folder.glob(f"*/{CARD_FILE}")) if folder.is_dir() else []
    return {path.parent.name: read_card(path.parent) for path in cards if not path.parent.name.endswith(".partial")}


def check_name(name: str) -> None:
    """Refuse what cannot be a name of weights: rows name them, and `+` joins approximations to them."""
    if not NAME.fullmatch(name):
        raise WeightsError(f"'{name}' cannot be the name of weights: use lower-case letters, digits, '.', '_' and '-'")
