"""Sizes of the networks and the cards of the weights. No torch here: the flow side reads cards to plan.

A card says what a set of weights can be asked for (working sizes, chunk geometry, default sampling) and which bytes it
is (digest), so that a plan can be made where the weights are not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

# -- sampling ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """A preset, resolved: what the sampler is told."""

    steps: int
    guidance: float
    shift: float
    guided: float = 1.0
    """Share of the steps, from the first on, that are guided; below 1 it is an approximation."""
    step_cache: float = 0.0
    """How far, relatively, the velocity may have drifted before the network is asked again; 0 asks at every step, and
    anything above is an approximation."""


SQUEEZE = 0.04
"""How much the shape of a picture may be changed without anybody minding."""


def fits_squeezed(picture: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a picture (width, height) has nearly the shape of a working size."""
    return abs(size[0] / size[1] / (picture[0] / picture[1]) - 1) <= SQUEEZE


def inside(picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The largest (width, height) of a picture's shape within a working size, both sides even."""
    scale = min(size[0] / picture[0], size[1] / picture[1])
    width, height = (max(2, round(side * scale / 2) * 2) for side in picture)
    return min(width, size[0]), min(height, size[1])


# -- networks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TransformerSizes:
    """Shape of a SAMA transformer (models.md 5.1 and 1.1 step G); the defaults are SAMA-14B's."""

    num_heads: int = 40
    head_dim: int = 128
    ffn_dim: int = 13824
    num_layers: int = 40
    text_dim: int = 4096
    """Width of the text encoder's output."""
    freq_dim: int = 256
    """Width of the timestep's sinusoid."""
    latent_channels: int = 16
    patch_size: tuple[int, int, int] = (1, 2, 2)
    semantic_dim: int = 1152
    """Width of one semantic token outside the network."""
    semantic_hidden: int = 1024
    """Hidden width of the MLP that projects semantic tokens to the network's width."""
    eps: float = 1e-6

    @property
    def dim(self) -> int:
        return self.num_heads * self.head_dim


@dataclass(frozen=True)
class VaeSizes:
    """Shape of a Wan 2.1 VAE (models.md 5.3); the defaults are the released file's."""

    base_dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    """For each halving of the picture, whether time is halved too."""

    @property
    def spatial_factor(self) -> int:
        """Pixels along a side that one latent covers."""
        return int(2 ** len(self.temporal_downsample))


@dataclass(frozen=True)
class TextEncoderSizes:
    """Shape of a umT5 encoder (models.md 5.4); the defaults are umT5-xxl's."""

    vocab: int = 256384
    dim: int = 4096
    attention_dim: int = 4096
    """All heads together."""
    ffn_dim: int = 10240
    num_heads: int = 64
    num_layers: int = 24
    num_buckets: int = 32
    """Buckets of the relative position bias, which every layer has of its own."""


APPROXIMATIONS = {
    "fp8": "feed-forward weights in eight bits, but those of the edge blocks",
    "tiled": "the VAE on overlapping tiles, blended",
}
"""What is given up for less memory, by the name that is added to the weights' name: `14b+fp8`, `14b+fp8+tiled`."""

EDGE_BLOCKS = (2, 3)
"""First and last blocks whose feed-forward weights `fp8` leaves as they are (arXiv 2606.00957: five of forty)."""

TILE_PIXELS = 240 * 416
"""Of one tile of `tiled` (models.md 1.1 step J)."""

TEXT_TOKENS = 512
"""Rows of a text context; shorter prompts are padded with zeros that are attended like the rest."""

SEMANTIC_TOKENS = 65
"""64 local tokens and a global one for the single anchor frame (models.md 1.2)."""

# -- memory -----------------------------------------------------------------------------------------------------------

TRANSFORMER_COPIES = 12
"""Tensors of the sequence's size that are alive at once in a block, in the network's dtype; a count, not measured."""
VAE_COPIES = 16
"""Tensors of (4 frames, full size, base width) that are alive at once in the VAE; a count, not measured."""


@dataclass(frozen=True)
class Needs:
    """What decides how much device memory an edit takes."""

    transformer: TransformerSizes
    transformer_bytes: int
    vae_bytes: int
    vae_width: int
    """Channels at full size."""
    itemsize: int
    """Bytes of a number in the transformer."""
    vae_itemsize: int = 4
    """The same in the VAE; the released file's is float32."""


def predicted_peaks(
    needs: Needs, pixels: int, frames: int, approximations: Collection[str] = ()
) -> tuple[tuple[str, int], ...]:
    """Device memory in bytes by exact profile, for guided steps on a clip of this size: both branches in one forward,
    but in `streamed_small` one after the other.

    The text encoder has done its work, and is gone, before.
    """
    sizes, itemsize = needs.transformer, needs.itemsize
    patch = pixels // 64 // (sizes.patch_size[1] * sizes.patch_size[2])
    tokens = 2 * ((frames - 1) // 4 + 1) * patch + SEMANTIC_TOKENS
    branch = TRANSFORMER_COPIES * tokens * sizes.dim * itemsize
    texts = 2 * sizes.num_layers * 2 * TEXT_TOKENS * sizes.dim * itemsize
    at_once = 4 * (TILE_PIXELS if "tiled" in approximations else pixels)
    picture = VAE_COPIES * at_once * needs.vae_width * needs.vae_itemsize
    weights = needs.transformer_bytes
    if "fp8" in approximations:
        weights -= max(0, sizes.num_layers - sum(EDGE_BLOCKS)) * 2 * sizes.dim * sizes.ffn_dim * (itemsize - 1)
    blocks = 2 * needs.transformer_bytes // sizes.num_layers
    return (
        ("resident", weights + needs.vae_bytes + max(2 * branch + texts, picture)),
        ("streamed", needs.vae_bytes + max(blocks + 2 * branch, picture)),
        ("streamed_small", max(blocks + branch, picture)),
    )


# -- cards ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Geometry:
    """How a shot is cut into chunks for these weights."""

    chunk_frames: int
    """Frames of one model call, 4k+1."""
    stride: int
    """Frames between the starts of neighbours, 0 mod 4."""
    lead: int
    """Head frames of a later chunk that get no weight: the model treats position 0 as the opening of a shot."""
    temporal_factor: int = 4
    """Frames a latent holds (the first holds one)."""


@dataclass(frozen=True)
class WeightsCard:
    """What the flow side knows of a set of weights without opening it."""

    name: str
    editor: str
    editor_version: str
    """Raised whenever the editor's output changes for the same request."""
    digest: str
    """sha256 over the weights; empty for editors without a model."""
    geometry: Geometry
    buckets: tuple[tuple[int, int], ...]
    """Working sizes (width, height); the one nearest in aspect ratio is used. Empty: the source's own aspect."""
    max_pixels: int
    """Without buckets, the working size is the source's, scaled down to at most this many pixels, both sides even."""
    numerics: str
    """Numerics class: dtype, quantisation, tiling, caches; goes into the chunk key."""
    recipes: tuple[tuple[str, Recipe], ...]
    """Presets by name, the default first; empty for editors without a sampler."""
    seconds_per_frame: float
    """Estimate of editing time for one frame on the card's reference device at the default recipe."""
    reference_device: str
    needs: Needs | None = None
    """What decides the device memory of one chunk; None for a CPU's weights."""
    converter: str = ""
    """What made the weights' files of the released ones, with its version; empty when nothing did. Told, never used."""
    loras: str = ""
    """LoRAs in the weights, `lora@scale sha256`, one a line. Told, never used."""

    @property
    def approximations(self) -> tuple[str, ...]:
        """Names of `APPROXIMATIONS` that these weights are run with."""
        return tuple(self.numerics.split("+")[1:])

    @property
    def peaks(self) -> tuple[tuple[str, int], ...]:
        """Predicted device memory in bytes for one chunk of the largest working size, by exact profile, the fastest
        first; empty for a CPU's weights."""
        if self.needs is None:
            return ()
        pixels = max(width * height for width, height in self.buckets)
        return predicted_peaks(self.needs, pixels, self.geometry.chunk_frames, self.approximations)

    def bucket(self, width: int, height: int) -> tuple[int, int]:
        """The bucket nearest in shape: argmin |w/h - W/H|, the first minimum wins (models.md 1.1 step B)."""
        return min(self.buckets, key=lambda size: abs(size[0] / size[1] - width / height))

    def working_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which a source of `width` x `height` display pixels is edited: all of its picture.

        With buckets: the nearest, if it has nearly the source's shape; else what fits into it in the source's shape,
        and the editor fills the rest of the bucket.
        """
        if self.buckets:
            bucket = self.bucket(width, height)
            return bucket if fits_squeezed((width, height), bucket) else inside((width, height), bucket)
        scale = min(1.0, (self.max_pixels / (width * height)) ** 0.5)
        return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


@dataclass(frozen=True)
class Options:
    """How one machine runs a model. Nothing here changes a result by more than rounding."""

    weights_folder: Path | None = None
    """Where the folders of converted weights lie; None: there are none."""
    text_cache: Path | None = None
    """Where encoded prompts are kept; None: only in memory."""
    profile: str = "auto"
    attention: str = "native"
    compile: bool = False
    """Whether the blocks are compiled where they stay on the device."""
    strict_prompts: bool = False
    """Whether a prompt that is too long is an error instead of cut."""
