"""Weights travel from a store into the weights folder whole and verified, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edits.errors import WeightsError
from edits.storage import Store
from flows.fetch import INCOMING, fetch
from tests.fakes.s3 import BUCKET, ENVIRON, s3_server
from tests.integration.test_model_command import converted as converted
from tests.integration.test_model_command import folder as folder
from tests.integration.test_model_command import model


@pytest.fixture
def weights(folder: Path, converted: dict[str, Any], tmp_path: Path) -> Path:
    """A store's folder with the weights `mine`."""
    return Path(shutil.copytree(folder / ".samaflow/weights/mine", tmp_path / "store" / "mine"))


@pytest.fixture
def said() -> list[str]:
    return []


def test_weights_arrive_as_they_were_made_and_again_is_harmless(
    weights: Path, converted: dict[str, Any], tmp_path: Path, said: list[str]
) -> None:
    target = tmp_path / "volume"
    for _ in range(2):
        found = fetch(weights.as_uri(), None, target, converted["digest"], said.append)
        assert found.card.digest == converted["digest"]
    assert said[-1] == f"mine: is there already, digest {converted['digest']}"
    for path in filter(Path.is_file, weights.rglob("*")):
        assert (target / "mine" / path.relative_to(weights)).read_bytes() == path.read_bytes()
    assert list((target / INCOMING).iterdir()) == []


def test_the_command_fetches_from_a_bucket(
    weights: Path, converted: dict[str, Any], tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(f"s3://{BUCKET}/weights/mine", endpoint_url=s3)
    for path in filter(Path.is_file, weights.rglob("*")):
        store.put_file(str(path.relative_to(weights)), path)
    (tmp_path / "samaflow.toml").write_text(f'[store]\nendpoint_url = "{s3}"\nuri = "s3://{BUCKET}/store"\n')
    done = model(tmp_path, "fetch", f"s3://{BUCKET}/weights/mine", "--digest", converted["digest"])
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / ".samaflow/weights/mine/card.json").is_file()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    with s3_server() as url:
        yield url


def test_what_was_copied_by_an_attempt_that_ended_is_not_copied_again(
    weights: Path, tmp_path: Path, said: list[str]
) -> None:
    target = tmp_path / "volume"
    shutil.copytree(weights / "transformer", target / INCOMING / "mine" / "transformer")
    fetch(weights.as_uri(), None, target, None, said.append)
    assert not any(line.startswith("transformer/") for line in said)
    assert any(line.startswith("vae/") for line in said)


def test_damaged_weights_do_not_get_their_name(weights: Path, tmp_path: Path, said: list[str]) -> None:
    file = next((weights / "vae").glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(WeightsError, match=r"vae: digest .*copy the folder into the store again"):
        fetch(weights.as_uri(), None, tmp_path / "volume", None, said.append)
    assert list((tmp_path / "volume").rglob("*.safetensors")) == []


def test_other_weights_than_those_asked_for_are_found_before_they_travel(
    weights: Path, tmp_path: Path, said: list[str]
) -> None:
    with pytest.raises(WeightsError, match="asked for 0000"):
        fetch(weights.as_uri(), None, tmp_path / "volume", "0" * 64, said.append)
    assert said == []


def test_other_weights_of_that_name_stay(weights: Path, tmp_path: Path, said: list[str]) -> None:
    target = tmp_path / "volume"
    fetch(weights.as_uri(), None, target, None, said.append)
    with pytest.raises(WeightsError, match="holds other weights"):
        fetch(weights.as_uri(), None, target, "0" * 64, said.append)
    assert json.loads((target / "mine/card.json").read_text())["card"]["name"] == "mine"


def test_a_folder_without_a_card_is_no_weights(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "store" / "mine").mkdir(parents=True)
    with pytest.raises(WeightsError, match=r"no card\.json there"):
        fetch((tmp_path / "store" / "mine").as_uri(), None, tmp_path / "volume", None, said.append)
