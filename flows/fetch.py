"""`samaflow model fetch`: copies a folder of weights out of a store into the weights folder, and verifies it.

The folder gets its name when every digest has been compared, so that weights that are there are whole. What an attempt
that was ended has copied is not copied again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from edits.errors import WeightsError
from edits.storage import Store
from flows import models
from sama_model.installed import CARD_FILE, InstalledWeights, check_lora_file, check_name, read_card

INCOMING = ".incoming"
"""Folder, in the weights folder, of weights that are not verified yet; nothing looks for weights there."""

Say = Callable[[str], None]


def fetch(uri: str, endpoint_url: str | None, weights_folder: Path, digest: str | None, say: Say) -> InstalledWeights:
    """The weights at `uri`, whose last part is their name, as a folder of `weights_folder`; again is harmless.

    Raises:
        WeightsError: nothing there, other weights than `digest` says, other weights of that name here, or damaged ones.
        StoreError: the store does not answer.
    """
    name = uri.rstrip("/").rpartition("/")[2]
    with models.translated():
        check_name(name)
        target, incoming = weights_folder / name, weights_folder / INCOMING / name
        if target.exists():
            return _there_already(target, digest, say)
        store = Store(uri, endpoint_url=endpoint_url)
        weights = _fetch_card(store, incoming, digest)
        _fetch_files(store, incoming, say)
        say(f"{name}: comparing digests")
        _verify(weights, incoming)
        os.replace(incoming, target)
    say(f"{name}: verified, digest {weights.card.digest}, in {target}")
    return weights


def _there_already(target: Path, digest: str | None, say: Say) -> InstalledWeights:
    weights = read_card(target)
    found = weights.card.digest
    if digest is not None and found != digest:
        raise WeightsError(
            f"{target} holds other weights: digest {found}, asked for {digest}. Give the new ones another name, or "
            "remove the folder when no job needs it"
        )
    say(f"{target.name}: is there already, digest {found}")
    return weights


def _fetch_card(store: Store, incoming: Path, digest: str | None) -> InstalledWeights:
    """The card first: other weights than those asked for are found before 28 GB have travelled."""
    data = store.read_or_none(CARD_FILE)
    if data is None:
        raise WeightsError(f"{store.uri()}: no {CARD_FILE} there; copy a folder that 'samaflow model convert' wrote")
    incoming.mkdir(parents=True, exist_ok=True)
    (incoming / CARD_FILE).write_bytes(data)
    weights = read_card(incoming)
    if digest is not None and weights.card.digest != digest:
        raise WeightsError(
            f"{store.uri()}: digest {weights.card.digest}, asked for {digest}; correct the URI or the digest"
        )
    return weights


def _fetch_files(store: Store, incoming: Path, say: Say) -> None:
    for path in store.list():
        local = incoming / path
        size = store.size(path) or 0
        if local.is_file() and local.stat().st_size == size:
            continue
        say(f"{path}: {size / 1e9:.2f} GB")
        local.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(path, local)


def _verify(weights: InstalledWeights, incoming: Path) -> None:
    """Read everything again; damaged files go, so that another attempt copies them anew."""
    try:
        if weights.lora is None:
            models.inspect(incoming, verify=True)
        else:
            check_lora_file(incoming, weights.lora)
    except WeightsError as error:
        shutil.rmtree(incoming)
        raise WeightsError(f"{error}; what was copied is removed: copy the folder into the store again") from error
