"""The SAMA editor: the pipeline with one set of weights, fed chunk by chunk with the noise of its place in the shot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor
from transformers import AutoTokenizer, ByT5Tokenizer, UMT5EncoderModel

from sama_model import profiles
from sama_model.backends import set_exact_backend
from sama_model.config import Options, Recipe, WeightsCard, inside
from sama_model.contexts import Contexts, TextEncoder, encoder_digest
from sama_model.editors.base import Checkpoint, EditRequest, Frames, Progress, array_of
from sama_model.encoders import deep_frames_of, frames_of, prompts_of
from sama_model.errors import WeightsError
from sama_model.folders import check_configurations, check_folder
from sama_model.framing import Framing, framed
from sama_model.installed import LORA_FILE, check_lora_file, folder_of, networks_folder, read_card
from sama_model.pipeline import SamaPipeline
from sama_model.sampling import shot_noise
from sama_model.tiny import TEXT_ENCODER, TRANSFORMER, VAE, tiny_tensors
from sama_model.tokens import Joint
from sama_model.weights import digest_of, load_text_encoder, load_transformer, load_vae
from sama_model.windows import Progressed, Window, edit_windows, packed

KEPT_STEPS = 5
"""Steps of a shot after which its state is kept: at most so many are lost when a worker goes."""

Made = TypeVar("Made")

log = logging.getLogger(__name__)


class SamaEditor:
    """Edits chunks by instruction with a loaded pipeline."""

    def __init__(
        self, card: WeightsCard, pipeline: SamaPipeline, contexts: Contexts, profile: str = profiles.RESIDENT
    ) -> None:
        self.card = card
        self.profile = profile
        self._stepped_down = False
        self.pipeline = pipeline
        self.contexts = contexts
        self.pipeline.set_progress_bar_config(disable=True)
        device: torch.device = pipeline._execution_device
        self.device = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)

    def edit(self, request: EditRequest, progress: Progress) -> Frames:
        """The edited clip; a denoising step is a step.

        Noise is drawn for each latent frame from the seed and its absolute index in the shot, so that chunks that
        overlap start from the same noise there; the semantic noise is drawn from the seed.

        Raises:
            ValueError: an array that is no clip of 4k+1 frames, a negative seed, or no recipe.
            InstructionError: a prompt that is too long, where prompts are strict.
        """
        frames = array_of(request.frames)
        recipe = self._recipe(request)
        given, framing = self._in_bucket(frames)

        def stepped(_: Any, i: int, __: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            progress(i + 1, recipe.steps)
            return tensors

        call = partial(
            self.pipeline,
            given,
            prompt_embeds=torch.cat([self.contexts.of(prompt) for prompt in prompts_of(request.instruction)]),
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.guidance,
            shift=recipe.shift,
            guided=recipe.guided,
            step_cache=recipe.step_cache,
            deep=request.deep,
            noise=self._noise(given, request),
            callback_on_step_end=stepped,
        )
        return framing.trimmed(self._in_memory(call).frames)

    def edit_together(
        self, requests: Sequence[EditRequest], progress: Progress, checkpoint: Checkpoint
    ) -> list[Frames]:
        """The edited windows of a shot: one target for all of it, one decode; a denoising step of all is a step.

        With one window it is `edit`, bit for bit. What is done is kept every `KEPT_STEPS` steps.

        Raises:
            ValueError: as `edit`; windows that leave a gap; a recipe with a step cache.
            InstructionError: a prompt that is too long, where prompts are strict.
        """
        recipe = self._recipe(requests[0])
        given, framings = zip(*(self._in_bucket(array_of(request.frames)) for request in requests), strict=True)
        windows = [self._window(request) for request in requests]
        prompts = prompts_of(requests[0].instruction)

        def stepped(progressed: Progressed) -> None:
            if progressed.step % KEPT_STEPS == 0 and progressed.step < recipe.steps:
                checkpoint.save(safetensors.torch.save(packed(progressed)))
            progress(progressed.step, recipe.steps)

        def call() -> Tensor:
            kept = checkpoint.load()
            return edit_windows(
                self.pipeline,
                given,
                torch.cat([self.contexts.of(prompt) for prompt in prompts]),
                [self._noise(frames, request) for frames, request in zip(given, requests, strict=True)],
                windows,
                recipe,
                None if kept is None else safetensors.torch.load(kept),
                stepped,
            )

        video = self._in_memory(call)
        frames = deep_frames_of(video) if requests[0].deep else frames_of(video)
        return [
            framing.trimmed(frames[4 * window.first : 4 * window.end - 3])
            for framing, window in zip(framings, windows, strict=True)
        ]

    def cut_tokens(self, instruction: str) -> int:
        """Tokens at the instruction's end that the text encoder does not read."""
        return self.contexts.cut(prompts_of(instruction)[0])

    @torch.no_grad()
    def round_trip(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The frames through the VAE and back, as an edit's source and result go through it."""
        given, framing = self._in_bucket(array_of(frames))
        decoded = self._in_memory(lambda: self.pipeline.decode(self.pipeline.encode(given)))
        self.pipeline.maybe_free_model_hooks()
        return framing.trimmed(frames_of(decoded))

    def _recipe(self, request: EditRequest) -> Recipe:
        if request.recipe is None:
            names = ", ".join(name for name, _ in self.card.recipes)
            raise ValueError(f"editor 'sama' needs a sampling recipe: resolve one of its presets ({names})")
        return request.recipe

    def _window(self, request: EditRequest) -> Window:
        return Window(request.first_latent, request.first_latent + (len(request.frames) - 1) // 4 + 1)

    def _in_memory(self, call: Callable[[], Made]) -> Made:
        """The call's result, begun again in a smaller exact profile if memory runs out, once in this process.

        Raises:
            DeviceTooSmallError: it ran out again, or in the smallest profile.
        """
        try:
            return call()
        except torch.OutOfMemoryError as error:
            if self._stepped_down or profiles.smaller(self.profile) is None:
                raise profiles.too_small(self.profile) from error
        # outside the handler, where the exception no longer holds on to the tensors of its frames
        self._stepped_down = True
        self.profile = profiles.step_down(self.pipeline, self.profile, self.pipeline._execution_device)
        log.warning("device memory ran out: going on in profile %s", self.profile)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._in_memory(call)

    def _in_bucket(self, frames: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], Framing]:
        """A picture that fills its bucket in one direction only is padded to it; any other is edited as it is."""
        height, width = frames.shape[1:3]
        bucket = self.card.bucket(width, height)
        if (width, height) == inside((width, height), bucket):
            return framed(frames, bucket, "pad")
        return frames, Framing(0, 0, width, height)

    def _noise(self, frames: npt.NDArray[np.uint8], request: EditRequest) -> Joint:
        shape = self.pipeline.latent_shape(frames)
        return shot_noise(shape, self.pipeline.transformer.config.semantic_dim, request.seed, request.first_latent)


def load_sama(card: WeightsCard, options: Options, instructions: Sequence[str]) -> SamaEditor:
    """The editor with the weights of the card, ready for these instructions.

    Raises:
        WeightsError: the weights are not there, or not the ones that the card names.
        BackendError: an attention back end that is unknown, not installed, or an approximation.
        InstructionError: prompts are strict, and all of these are too long.
        DeviceTooSmallError: not even the smallest exact profile, or not the one that is asked for, fits.
    """
    if card.name == "tiny":
        pipeline, contexts = _tiny(card, options)
        device = torch.device("cpu")
    else:
        pipeline, contexts = _installed(card, options, instructions)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    set_exact_backend(pipeline.transformer, options.attention, device)
    profile = profiles.chosen(options.profile, card, profiles.free_memory(device))
    profiles.place(pipeline, profile, device)
    if options.compile and profile == profiles.RESIDENT:
        profiles.compile_blocks(pipeline)
    return SamaEditor(card, pipeline, contexts, profile)


def _tiny(card: WeightsCard, options: Options) -> tuple[SamaPipeline, Contexts]:
    pipeline = load_tiny(card.digest)
    parts = {"text_encoder": card.digest, "tokenizer": "bytes"}
    encoder = (pipeline.tokenizer, pipeline.text_encoder)
    return pipeline, _contexts(lambda: encoder, parts, torch.float32, options)


def _installed(card: WeightsCard, options: Options, instructions: Sequence[str]) -> tuple[SamaPipeline, Contexts]:
    """From a weights folder: prompts first, then the networks, on the CPU."""
    name, *approximations = card.name.split("+")
    own = folder_of(name, options.weights_folder)
    weights = read_card(own)
    folder = networks_folder(own, weights)
    check_configurations(folder, weights.configs)
    if weights.lora is not None:
        check_lora_file(own, weights.lora)
    dtype = check_folder(folder)["text_encoder"]
    contexts = _contexts(lambda: load_encoder(folder, dtype), weights.parts, dtype, options)
    contexts.encode([prompt for text in instructions for prompt in prompts_of(text)])
    contexts.refuse_if_none_fits([prompts_of(text)[0] for text in instructions])

    computed = {"dtype": torch.float32} if card.numerics.split("+")[0] == "float32" else {}
    pipeline = SamaPipeline.from_pretrained(folder, tokenizer=None, text_encoder=None, **computed)
    if weights.lora is not None:
        pipeline.load_lora_weights(own / LORA_FILE)
        pipeline.fuse_lora(lora_scale=weights.lora.scale)
        pipeline.unload_lora_weights()
    for approximation in approximations:
        profiles.APPLY[approximation](pipeline)
    return pipeline, contexts


def _contexts(load: Callable[[], TextEncoder], parts: dict[str, str], dtype: torch.dtype, options: Options) -> Contexts:
    return Contexts(load, encoder_digest(parts, dtype), options.text_cache, strict=options.strict_prompts)


def load_encoder(folder: Path, dtype: torch.dtype) -> TextEncoder:
    """Tokenizer and text encoder of a weights folder, on the first accelerator if there is one."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=dtype, local_files_only=True)
    return tokenizer, encoder.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def load_tiny(digest: str) -> SamaPipeline:
    """The pipeline of the random weights `tiny`, float32 on the CPU; its tokens are the prompt's bytes.

    Limits torch to one thread in this process. Alone, a second one gains a third; beside another busy process the two
    wait for each other and a chunk was measured to take up to fifty times as long. One thread also means the same order
    of additions, whatever the number of cores.

    Raises:
        WeightsError: the numbers drawn here are not those of the digest.
    """
    networks = tiny_tensors()
    drawn = digest_of({f"{network}/{name}": t for network, tensors in networks.items() for name, t in tensors.items()})
    if drawn != digest:
        raise WeightsError(
            f"the weights 'tiny' have digest {drawn}, their card says {digest}: this numpy draws other numbers; "
            "install the versions of constraints.txt"
        )
    torch.set_num_threads(1)
    return SamaPipeline(
        tokenizer=ByT5Tokenizer(extra_ids=0),
        text_encoder=load_text_encoder(networks["text_encoder"], TEXT_ENCODER, torch.float32),
        vae=load_vae(networks["vae"], VAE, torch.float32),
        transformer=load_transformer(networks["transformer"], TRANSFORMER, torch.float32),
    )
