"""The whole edit as a diffusers pipeline: frames and an instruction in, frames of the same shape out.

    frames -> source latents \\
    prompt -> two contexts    }-> denoise from noise -> latents -> frames
    noise                    /

Knows nothing of chunks or jobs. Released weights want the released recipe: 50 steps, guidance 5, shift 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from sama_model.config import Recipe
from sama_model.encoders import decode_latents, encode_prompt, encode_video, frames_of, prompts_of, video_of
from sama_model.folders import check_folder
from sama_model.guidance import Conditions
from sama_model.sampling import denoise, generator_noise
from sama_model.schedule import flow_schedule
from sama_model.tokens import Joint
from sama_model.transformer import SamaTransformer3DModel


@dataclass
class SamaPipelineOutput(BaseOutput):  # type: ignore[misc]
    """What one call makes."""

    frames: npt.NDArray[np.uint8]
    """(T, H, W, 3) RGB."""
    latents: Tensor
    """(1, C, t, h, w) normalised, from which the frames were decoded."""


class SamaPipeline(DiffusionPipeline):  # type: ignore[misc]
    """SAMA video editing by instruction (arXiv 2603.19228)."""

    model_cpu_offload_seq = "text_encoder->vae->transformer->vae"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text_encoder: UMT5EncoderModel,
        vae: AutoencoderKLWan,
        transformer: SamaTransformer3DModel,
    ) -> None:
        super().__init__()
        self.register_modules(tokenizer=tokenizer, text_encoder=text_encoder, vae=vae, transformer=transformer)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> SamaPipeline:
        """The pipeline of a folder that `save_pretrained` or `samaflow model convert` wrote.

        Stricter than diffusers: the three networks must be whole, and without `dtype` the files' own is kept.

        Raises:
            WeightsError: a tensor is missing, unexpected or of another shape.
        """
        folder = Path(pretrained_model_name_or_path)
        dtypes = check_folder(folder)
        if "dtype" not in kwargs and "torch_dtype" not in kwargs:
            kwargs["dtype"] = dtypes
        pipeline: SamaPipeline = super().from_pretrained(folder, local_files_only=True, **kwargs)
        return pipeline

    @torch.no_grad()
    def __call__(
        self,
        frames: npt.NDArray[np.uint8],
        prompt: str,
        num_inference_steps: int = 50,
        guidance_scale: float = 5.0,
        shift: float = 5.0,
        generator: torch.Generator | None = None,
        noise: Joint | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> SamaPipelineOutput:
        """Edit one clip.

        Args: frames (T, H, W, 3) uint8 with T = 4k+1; `generator` a CPU generator that draws the noise as the official
        code does (None: torch's default one), or `noise` to start from, but not both; `on_step(done, total)` after
        each step, whose exceptions end the call.

        Raises:
            ValueError: a clip or a schedule that the network cannot take, or both a generator and noise.
        """
        if noise is not None and generator is not None:
            raise ValueError("give a generator that draws the noise, or the noise itself, not both")
        shape = self.latent_shape(frames)
        schedule = flow_schedule(num_inference_steps, shift)
        if noise is None:
            generator = generator or torch.default_generator
            noise = generator_noise(shape, self.transformer.config.semantic_dim, generator)

        conditions = self.conditions(frames, prompt)
        with self.progress_bar(total=schedule.steps) as bar:

            def stepped(i: int, state: Joint) -> None:
                bar.update()
                if on_step is not None:
                    on_step(i + 1, schedule.steps)

            recipe = Recipe(num_inference_steps, guidance_scale, shift)
            edit = denoise(self.transformer, self.placed(noise), conditions, recipe, stepped)
        return SamaPipelineOutput(frames=frames_of(decode_latents(self.vae, edit.video)), latents=edit.video)

    def conditions(self, frames: npt.NDArray[np.uint8], prompt: str) -> Conditions:
        """Source latents and the contexts of the released recipe's two prompts, one encoded after the other."""
        contexts = torch.cat([encode_prompt(self.tokenizer, self.text_encoder, text) for text in prompts_of(prompt)])
        source = encode_video(self.vae, video_of(frames))
        to = {"device": self.transformer.device, "dtype": self.transformer.dtype}
        return Conditions(source.to(**to), contexts.to(**to))

    def placed(self, noise: Joint) -> Joint:
        """Noise, drawn on the CPU in float32, where and as the transformer computes."""
        to = {"device": self.transformer.device, "dtype": self.transformer.dtype}
        return Joint(video=noise.video.to(**to), semantic=noise.semantic.to(**to))

    def latent_shape(self, frames: npt.NDArray[np.uint8]) -> tuple[int, int, int, int, int]:
        """(1, C, t, h, w) of the latents of (T, H, W, 3) frames.

        Raises:
            ValueError: T is not 4k+1, or a side is not a whole number of patches.
        """
        count, height, width, _ = frames.shape
        factor = 2 ** len(self.vae.config.temperal_downsample)
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
