"""Text contexts by prompt: from memory, else from a file, else from the text encoder, which is loaded only then.

A file is named by the digest of all that decides its content: the text encoder, the tokenizer, the dtype, the prompt.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from sama_model.editors.base import InstructionError
from sama_model.encoders import Context, clean_prompt, encode_prompt, too_long
from sama_model.errors import WeightsError

log = logging.getLogger(__name__)

TextEncoder = tuple[PreTrainedTokenizerBase, UMT5EncoderModel]


class Contexts:
    """The contexts that one worker needs, each encoded at most once; with a folder, once on this machine."""

    def __init__(self, load: Callable[[], TextEncoder], digest: str, folder: Path | None, *, strict: bool) -> None:
        """`load` gives the text encoder, `digest` says which one it is; `strict` refuses prompts that must be cut."""
        self._load = load
        self._digest = digest
        self._folder = folder
        self._strict = strict
        self._known: dict[str, Context] = {}

    @torch.no_grad()
    def encode(self, prompts: Iterable[str]) -> None:
        """Have all of these ready; the text encoder is loaded at most once, and let go at the end."""
        wanted = {self._key(prompt): prompt for prompt in prompts}
        missing = {key: prompt for key, prompt in wanted.items() if not self._have(key)}
        if not missing:
            return
        tokenizer, encoder = self._load()
        for key, prompt in missing.items():
            context = encode_prompt(tokenizer, encoder, prompt)
            self._known[key] = Context(context.rows.cpu(), context.cut)
            self._write(key, self._known[key])
        del tokenizer, encoder
        gc.collect()  # networks hold themselves in circles, and what a profile may fill is what is free by then
        torch.cuda.empty_cache()

    def of(self, prompt: str) -> Tensor:
        """(1, 512, d) of one prompt.

        Raises:
            InstructionError: it does not fit into 512 tokens, and prompts are strict.
            WeightsError: its file is damaged.
        """
        if cut := self.cut(prompt):
            sentence = too_long(cut)
            if self._strict:
                remedy = "shorten it, or leave out --strict-prompts ([model] strict_prompts) to have its end cut"
                raise InstructionError(f"{sentence}: {remedy}")
            log.warning("%s; its end was cut: %s", sentence, prompt[:80])
        return self._known[self._key(prompt)].padded()

    def cut(self, prompt: str) -> int:
        """Tokens of a prompt that do not fit. Raises WeightsError if its file is damaged."""
        self.encode([prompt])
        return self._known[self._key(prompt)].cut

    def refuse_if_none_fits(self, prompts: Sequence[str]) -> None:
        """Where prompts are strict: say so before anybody waits for the networks, if there would be nothing to do.

        Raises:
            InstructionError: every one of these prompts is too long.
        """
        if self._strict and prompts and all(map(self.cut, prompts)):
            self.of(prompts[0])

    def _key(self, prompt: str) -> str:
        fields = {"kind": "context/1", "encoder": self._digest, "prompt": clean_prompt(prompt)}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def _have(self, key: str) -> bool:
        if key not in self._known and self._folder is not None:
            path = self._folder / f"{key}.safetensors"
            if path.is_file():
                self._known[key] = read_context(path)
        return key in self._known

    def _write(self, key: str, context: Context) -> None:
        """Aside, then renamed: several workers of one machine share the folder."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._folder / f"{key}.{os.getpid()}.partial"
        save_file({"rows": context.rows.contiguous()}, aside, metadata={"cut": str(context.cut)})
        aside.rename(self._folder / f"{key}.safetensors")


def read_context(path: Path) -> Context:
    """A context from its file. Raises WeightsError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return Context(file.get_tensor("rows"), int(file.metadata()["cut"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not an encoded prompt ({error}); delete it, it will be made again") from error


def encoder_digest(parts: dict[str, str], dtype: torch.dtype) -> str:
    """What decides a context, beside the prompt, for weights whose parts have these digests."""
    return json.dumps([parts["text_encoder"], parts["tokenizer"], str(dtype)])
