"""The whole edit as a diffusers pipeline: frames and an instruction in, frames of their size or the working size out.

    frames -> source latents \\
    prompt -> two contexts    }-> denoise from noise -> latents -> frames
    noise                    /

Knows nothing of chunks or jobs. Released weights want the released recipe: 50 steps, guidance 5, shift 5.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from diffusers import AutoencoderKLWan, DiffusionPipeline
from diffusers.hooks.group_offloading import _is_group_offload_enabled
from diffusers.loaders import WanLoraLoaderMixin
from diffusers.utils import BaseOutput
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from sama_model.arguments import (
    check_finite,
    check_frames,
    check_noise,
    check_prompt,
    check_recipe,
    check_returned,
    check_size,
)
from sama_model.config import Recipe
from sama_model.encoders import (
    decode_latents,
    deep_frames_of,
    encode_prompt,
    encode_video,
    frames_of,
    prompts_of,
    too_long,
    video_of,
)
from sama_model.errors import WeightsError
from sama_model.folders import check_folder
from sama_model.framing import Framing, check_fit, framed
from sama_model.guidance import BranchesInTurn, Conditions, Network
from sama_model.lora import check_lora, names_in, warn_left_out
from sama_model.parallel import PARALLEL, BranchParallel
from sama_model.reuse import CombinationError, Reuse, check, legal
from sama_model.sampling import denoise, generator_noise
from sama_model.schedule import flow_schedule
from sama_model.tiling import tiled
from sama_model.tokens import Joint
from sama_model.transformer import SamaTransformer3DModel

log = logging.getLogger(__name__)

StepEnd = Callable[[Any, int, Tensor, dict[str, Tensor]], Mapping[str, Tensor] | None]
"""diffusers' callback: (pipeline, step, timestep, tensors by name) -> those that it replaces, if any."""


class _InterruptedError(Exception):
    """A callback asked to stop after this step."""

    def __init__(self, state: Joint) -> None:
        super().__init__()
        self.state = state


@dataclass
class SamaPipelineOutput(BaseOutput):  # type: ignore[misc]
    """What one call makes."""

    frames: npt.NDArray[Any]
    """(T, H, W, 3) RGB, uint8, or uint16 over its full scale."""
    latents: Tensor
    """(1, C, t, h, w) normalised, from which the frames were decoded."""


class SamaPipeline(DiffusionPipeline, WanLoraLoaderMixin):  # type: ignore[misc]
    """SAMA video editing by instruction (arXiv 2603.19228).

    Without a tokenizer and a text encoder it takes encoded prompts only.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _optional_components: ClassVar = ["tokenizer", "text_encoder"]
    _callback_tensor_inputs: ClassVar = ["latents", "semantic"]
    _interrupt = False
    tiled = False
    """Whether the VAE works on tiles: the official default, an approximation."""
    branches_in_turn = False
    """Whether the two guidance branches are two forwards: half as much memory for the sequence, the same result."""
    branch_group: dist.ProcessGroup | None = None
    """Two processes that compute one guidance branch each. Those that deal the sequence's rows are the transformer's
    `row_group`. All processes make the same call, and all get the edit."""

    def __init__(
        self,
        vae: AutoencoderKLWan,
        transformer: SamaTransformer3DModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        text_encoder: UMT5EncoderModel | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(tokenizer=tokenizer, text_encoder=text_encoder, vae=vae, transformer=transformer)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> SamaPipeline:
        """The pipeline of a folder that `save_pretrained` or `samaflow model convert` wrote.

        Stricter than diffusers: networks that are not given by name, or left out with None, must be whole, and without
        `dtype` the files' own is kept.

        Raises:
            WeightsError: no such folder, or one of a LoRA; no tokenizer; a tensor is missing, unexpected or of another
                shape.
            ValueError: a variant is asked for.
        """
        folder = Path(pretrained_model_name_or_path)
        if kwargs.get("variant") is not None:
            raise ValueError("there are no variants of the files here: give dtype, or convert to another one")
        if strange := [kwargs[key] for key in ("dtype", "torch_dtype") if isinstance(kwargs.get(key), str)]:
            raise ValueError(f"dtype is a torch.dtype, as torch.bfloat16, or one by network, not {strange[0]!r}")
        dtypes = check_folder(folder, without=kwargs)
        kwargs.setdefault("use_safetensors", True)
        if "dtype" not in kwargs and "torch_dtype" not in kwargs:
            kwargs["dtype"] = dtypes
        pipeline: SamaPipeline = super().from_pretrained(folder, local_files_only=True, **kwargs)
        return pipeline

    def save_pretrained(self, save_directory: str | Path, safe_serialization: bool = True, **kwargs: Any) -> None:
        """A folder that `from_pretrained` loads: safetensors, no variants, and no LoRA beside the networks.

        Raises:
            ValueError: something else is asked for, or a LoRA is loaded.
        """
        if not safe_serialization or kwargs.get("variant") is not None:
            raise ValueError("weights are saved as safetensors and without a variant: nothing else is loaded again")
        if self.get_list_adapters():
            raise ValueError("a LoRA is loaded: fuse_lora and unload_lora_weights before, to save what they make")
        super().save_pretrained(save_directory, **kwargs)

    @torch.no_grad()
    def __call__(
        self,
        frames: npt.NDArray[np.uint8],
        prompt: str | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 5.0,
        shift: float = 5.0,
        guided: float = 1.0,
        step_cache: float = 0.0,
        generator: torch.Generator | None = None,
        noise: Joint | None = None,
        prompt_embeds: Tensor | None = None,
        size: tuple[int, int] | None = None,
        fit: str = "whole",
        reuse: Reuse | None = None,
        deep: bool = False,
        strict_prompts: bool = False,
        callback_on_step_end: StepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> SamaPipelineOutput:
        """Edit one clip.

        Args: frames (T, H, W, 3) uint8 with T = 4k+1, in whole patches unless `size` (width, height) says how large to
        edit them, with `fit` one of `framing.FITS`; `prompt`, or `prompt_embeds` (2, 512, d) of the instruction and the
        bare prefix; `guided` and `step_cache` as in `Recipe`; `generator` a CPU generator that draws the noise as the
        official code does (None: torch's default one), or `noise` to start from, but not both; `reuse` the exact
        savings, by default all that combine with how the transformer is set up; `deep` asks for frames of 16 bits;
        `strict_prompts` refuses a prompt of more than 512 tokens, of which else the end is cut and the log says so.

        Raises:
            ValueError: a clip, contexts, noise or a schedule that the network cannot take; a generator and noise at
                once; a prompt and its embeddings at once, or neither; a prompt that is too long, where prompts are
                strict; an edit that is not finite; several processes and nothing that makes their noise the same.
            CombinationError: a saving that the transformer's set-up excludes.
        """
        self._interrupt = False
        recipe = Recipe(num_inference_steps, guidance_scale, shift, guided, step_cache)
        check_frames(frames)
        check_prompt(prompt, prompt_embeds, self.transformer.config.text_dim)
        check_recipe(recipe)
        check_fit(fit)
        check_size(size)
        self._check_callback(callback_on_step_end_tensor_inputs)
        framing: Framing | None = None
        if size is not None:
            frames, framing = framed(frames, size, fit)
        shape = self.latent_shape(frames)
        check_noise(noise, generator, shape, self.transformer.config.semantic_dim)
        schedule = flow_schedule(recipe.steps, recipe.shift)
        modes = self.modes()
        reuse = legal(modes) if reuse is None else reuse
        check(reuse, modes)
        if noise is None:
            if generator is None and PARALLEL.intersection(modes):
                raise ValueError("several processes need the same noise: give each a generator of the same seed")
            generator = generator or torch.default_generator
            noise = generator_noise(shape, self.transformer.config.semantic_dim, generator)

        contexts = self.contexts(prompt, strict_prompts) if prompt_embeds is None else prompt_embeds
        conditions = Conditions(*self.placed(self.encode(frames), contexts))
        with self.progress_bar(total=schedule.steps) as bar, ExitStack() as stack:
            if self.transformer.is_cache_enabled:
                stack.enter_context(self.transformer.cache_context("edit"))

            def stepped(i: int, state: Joint) -> Joint | None:
                bar.update()
                if callback_on_step_end is None:
                    return None
                named = {"latents": state.video, "semantic": state.semantic}
                given = {name: named[name] for name in callback_on_step_end_tensor_inputs}
                returned = callback_on_step_end(self, i, schedule.timesteps[i], given)
                changed = named | check_returned(returned, named)
                replaced = Joint(changed["latents"], changed["semantic"])
                if self._interrupt:
                    raise _InterruptedError(replaced)
                return replaced

            start = Joint(*self.placed(noise.video, noise.semantic))
            try:
                edit = denoise(self.network(), start, conditions, recipe, stepped, reuse)
            except _InterruptedError as interrupted:
                edit = interrupted.state
        decoded = self.decode(edit.video)
        edited: npt.NDArray[Any] = deep_frames_of(decoded) if deep else frames_of(decoded)
        self.maybe_free_model_hooks()
        return SamaPipelineOutput(edited if framing is None else framing.trimmed(edited), edit.video)

    @property
    def interrupt(self) -> bool:
        """Whether a callback has asked to go no further: `pipeline._interrupt = True`, as everywhere in diffusers."""
        return self._interrupt

    # -- stages -------------------------------------------------------------------------------------------------------

    def network(self) -> Network:
        """The transformer, or it with its guidance branches dealt to processes or taken in turn: for one run.

        Raises:
            CombinationError: a block cache, and branches in turn.
        """
        if self.branch_group is not None:
            return BranchParallel(self.transformer, self.branch_group)
        whole: Network = self.transformer
        if not self.branches_in_turn:
            return whole
        if self.transformer.is_cache_enabled:
            raise CombinationError("a block cache holds one forward a step: branches_in_turn makes two of them")
        return BranchesInTurn(whole)

    def contexts(self, prompt: str | None, strict: bool = False) -> Tensor:
        """(2, 512, d) of the released recipe's two prompts, one encoded after the other.

        Raises:
            ValueError: no prompt, or nothing to encode it with, or with `strict` one that is too long.
        """
        if prompt is None:
            raise ValueError("give a prompt, or its embeddings as prompt_embeds")
        if self.tokenizer is None or self.text_encoder is None:
            raise ValueError("this pipeline was loaded without a text encoder: give prompt_embeds")
        contexts = [encode_prompt(self.tokenizer, self.text_encoder, text) for text in prompts_of(prompt)]
        for context in contexts:
            if context.cut and strict:
                raise ValueError(
                    f"{too_long(context.cut)}: shorten it, or leave out strict_prompts to have its end cut"
                )
            if context.cut:
                log.warning("%s; its end was cut", too_long(context.cut))
        return torch.cat([context.padded() for context in contexts])

    def encode(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """(T, H, W, 3) -> (1, C, t, h, w)."""
        video = video_of(frames).to(self._execution_device)  # the VAE itself may lie elsewhere until it is called
        if self.tiled:
            return tiled(lambda part: encode_video(self.vae, part), video, self.spatial_factor, 1)
        return encode_video(self.vae, video)

    def decode(self, latents: Tensor) -> Tensor:
        """(1, C, t, h, w) -> (1, 3, T, H, W) in [-1, 1].

        Raises:
            ValueError: latents or pixels that are not finite, which would be a black picture.
        """
        check_finite("latents", latents)
        if self.tiled:
            video = tiled(lambda part: decode_latents(self.vae, part), latents, 1, self.spatial_factor)
        else:
            video = decode_latents(self.vae, latents)
        check_finite("pixels", video)
        return video

    @property
    def spatial_factor(self) -> int:
        """Pixels along a side that one latent covers."""
        return int(2 ** len(self.vae.config.temperal_downsample))

    def placed(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Where and as the transformer computes."""
        to = {"device": self._execution_device, "dtype": self.transformer.dtype}
        return tuple(tensor.to(**to) for tensor in tensors)

    def modes(self) -> tuple[str, ...]:
        """How the transformer is set up to run, in the words of `reuse.EXCLUDED`."""
        modes = {
            "block_cache": self.transformer.is_cache_enabled,
            "offload": _is_group_offload_enabled(self.transformer),
            "branches_in_turn": self.branches_in_turn and self.branch_group is None,
            "branch_parallel": self.branch_group is not None,
            "context_parallel": self.transformer.row_group is not None,
        }
        return tuple(mode for mode, is_on in modes.items() if is_on)

    def latent_shape(self, frames: npt.NDArray[np.uint8]) -> tuple[int, int, int, int, int]:
        """(1, C, t, h, w) of the latents of (T, H, W, 3) frames.

        Raises:
            ValueError: T is not 4k+1, or a side is not a whole number of patches.
        """
        count, height, width, _ = frames.shape
        factor = self.spatial_factor
        _, patch_height, patch_width = self.transformer.config.patch_size
        if count % 4 != 1:
            below = count - (count - 1) % 4
            raise ValueError(f"a clip has 4k+1 frames, not {count}: pad it to {below + 4} or cut it to {below}")
        if height % (factor * patch_height) or width % (factor * patch_width):
            raise ValueError(
                f"a picture of {width}x{height} is not a whole number of patches: "
                f"width must be a multiple of {factor * patch_width}, height of {factor * patch_height}"
            )
        return 1, self.vae.config.z_dim, (count - 1) // 4 + 1, height // factor, width // factor

    def _check_callback(self, names: Sequence[str]) -> None:
        if unknown := [name for name in names if name not in self._callback_tensor_inputs]:
            known = ", ".join(self._callback_tensor_inputs)
            raise ValueError(f"a callback can be given {known}, not {', '.join(unknown)}")

    # -- LoRA ---------------------------------------------------------------------------------------------------------

    def load_lora_weights(self, pretrained_model_name_or_path_or_dict: Any, **kwargs: Any) -> None:
        """A LoRA file of Wan's transformer, in diffusers', the official or musubi's layout.

        What has no place there, as differences of norms, is left out, and the log names it.

        Raises:
            WeightsError: it is not there, not whole, or for another network; the tensors are named.
        """
        warn_left_out(names_in(pretrained_model_name_or_path_or_dict, kwargs))
        super().load_lora_weights(pretrained_model_name_or_path_or_dict, **kwargs)

    @classmethod
    def lora_state_dict(cls, pretrained_model_name_or_path_or_dict: Any, **kwargs: Any) -> Any:
        """As diffusers', tensors under its names. Raises WeightsError where its conversion misses one."""
        try:
            return super().lora_state_dict(pretrained_model_name_or_path_or_dict, **kwargs)
        except KeyError as error:
            raise WeightsError(
                f"this LoRA lacks {error}, without which its layout cannot be read: save it under diffusers' names"
            ) from error

    @classmethod
    def load_lora_into_transformer(cls, state_dict: dict[str, Tensor], transformer: Any, **kwargs: Any) -> None:
        """The last step of `load_lora_weights`, tensors under diffusers' names. Raises WeightsError like it."""
        check_lora(state_dict, transformer)
        super().load_lora_into_transformer(state_dict, transformer, **kwargs)

    @classmethod
    def _maybe_expand_t2v_lora_for_i2v(cls, transformer: Any, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """SAMA has no image branch to expand for."""
        return state_dict
