"""Encoded prompts: each once, from a file where there is one, and without a text encoder if all are known."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path

import pytest
import torch
from transformers import UMT5EncoderModel

from sama_model.cards import card
from sama_model.contexts import Contexts, TextEncoder
from sama_model.editors.base import InstructionError
from sama_model.editors.sama import load_tiny
from sama_model.encoders import encode_prompt
from sama_model.errors import WeightsError


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    pipeline = load_tiny(card("sama", "tiny").digest)
    return pipeline.tokenizer, pipeline.text_encoder


class Shelf:
    """Gives the encoder away and counts how often."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder
        self.loaded = 0

    def __call__(self) -> TextEncoder:
        self.loaded += 1
        return self.encoder


@pytest.fixture
def shelf(encoder: TextEncoder) -> Shelf:
    return Shelf(encoder)


def test_all_prompts_of_a_shard_are_encoded_by_one_loading(shelf: Shelf, tmp_path: Path) -> None:
    contexts = Contexts(shelf, "e", tmp_path, strict=False)
    contexts.encode(["make it snow", "make it rain", "make it snow"])
    for prompt in ("make it snow", "make it rain", " make  it rain "):
        contexts.of(prompt)
    assert shelf.loaded == 1
    assert len(list(tmp_path.iterdir())) == 2


@torch.no_grad()
def test_what_comes_from_a_file_is_what_the_encoder_said_and_needs_no_encoder(shelf: Shelf, tmp_path: Path) -> None:
    Contexts(shelf, "e", tmp_path, strict=False).of("make it snow")
    again = Contexts(shelf, "e", tmp_path, strict=False).of("make it snow")
    assert shelf.loaded == 1
    assert again.shape == (1, 512, 32)
    assert torch.equal(again, encode_prompt(*shelf.encoder, "make it snow").padded())


def test_another_encoder_has_other_files(shelf: Shelf, tmp_path: Path) -> None:
    Contexts(shelf, "e", tmp_path, strict=False).of("make it snow")
    Contexts(shelf, "other", tmp_path, strict=False).of("make it snow")
    assert shelf.loaded == 2


def test_without_a_folder_prompts_are_kept_in_memory(shelf: Shelf) -> None:
    contexts = Contexts(shelf, "e", None, strict=False)
    assert torch.equal(contexts.of("make it snow"), contexts.of("make it snow"))
    assert shelf.loaded == 1


def test_a_prompt_that_is_cut_says_by_how_much_also_when_it_comes_from_a_file(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            Contexts(shelf, "e", tmp_path, strict=False).of("a" * 600)
    assert [record.getMessage()[:24] for record in caplog.records] == ["the prompt is 89 tokens l"[:24]] * 2
    strict = Contexts(shelf, "e", tmp_path, strict=True)
    with pytest.raises(InstructionError, match=r"89 tokens longer than the 512 .* leave out --strict-prompts"):
        strict.of("a" * 600)
    assert (strict.cut("a" * 600), strict.cut("a")) == (89, 0)


def test_prompts_of_which_none_fits_are_refused_before_the_networks_are_loaded(shelf: Shelf) -> None:
    strict, lenient = (Contexts(shelf, "e", None, strict=strict) for strict in (True, False))
    with pytest.raises(InstructionError, match="88 tokens longer"):
        strict.refuse_if_none_fits(["b" * 599, "a" * 600])
    strict.refuse_if_none_fits(["a" * 600, "a"])
    strict.refuse_if_none_fits([])
    lenient.refuse_if_none_fits(["a" * 600])


class Encoder(UMT5EncoderModel):
    """One that may be looked at from afar."""


def test_the_text_encoder_is_gone_before_the_device_is_asked_what_is_free(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, network = shelf.encoder
    seen: list[bool] = []

    def load() -> TextEncoder:
        mine = Encoder(network.config).eval()
        mine.circle = [mine]  # as hooks make them: only a collection ends it
        left = weakref.ref(mine)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append(left() is None))
        return tokenizer, mine

    Contexts(load, "e", None, strict=False).encode(["make it snow"])
    assert seen == [True]


def test_a_damaged_file_is_named(shelf: Shelf, tmp_path: Path) -> None:
    Contexts(shelf, "e", tmp_path, strict=False).of("make it snow")
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(WeightsError, match=f"{path.name}.*delete it"):
        Contexts(shelf, "e", tmp_path, strict=False).of("make it snow")
