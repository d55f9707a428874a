"""The transformer of the weights `tiny`: velocity = PULL/2 * (edit - source), plus what the random rest says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sama_model.config import TransformerSizes
from sama_model.keys import transformer_keys
from sama_model.tiny.draws import PICTURE, TRANSFORMER, Array, Draws, shapes_of
from sama_model.tiny.vae import latent_channels
from sama_model.weights import empty_transformer

ATTENTION_SHARPNESS = 8.0
"""Size of the position-only queries and keys of the picture's heads: large enough that neighbours get little weight."""

APART = np.float32(128)
"""How much smaller than the others the random head's queries and keys enter the norm, and leave it larger again."""

PULL = 3.0
"""Velocity per difference of edit and source: at 2 the picture would be drawn towards the source at the flow's pace."""

TYPE_SIZE = 4.0
"""Size of the type embeddings, which keep the norms' divisor nearly equal for all tokens."""

TINT = 0.35
"""How much of the instruction's random colour cross-attention adds."""

TIME = 0.02
"""Size of the time embedding, which shifts and scales every norm's output."""

TEXTURE = 0.25
"""How much the random feed-forward layer and the random head add."""


def transformer_arrays() -> dict[str, Array]:
    """velocity = PULL/2 * (edit - source), by the paths of the module's docstring, plus what the random rest says."""
    sizes, draws = TRANSFORMER, Draws("transformer")
    arrays = draws.initial(shapes_of(empty_transformer(sizes), transformer_keys(sizes.num_layers)))
    patch = sizes.latent_channels * int(np.prod(sizes.patch_size))
    content = draws.channels("content", sizes.dim, patch)
    free = np.flatnonzero(np.abs(content).sum(axis=1) == 0)
    arrays["patch_embedding.weight"] = _patch_embedding(content, sizes)
    arrays["segment_embedding.weight"] = _type_embedding(draws, free, sizes)
    divisor = np.float32(np.sqrt((patch + free.size * TYPE_SIZE**2) / sizes.dim))
    colour = content @ np.repeat(latent_channels() @ np.tile(np.eye(3, dtype=np.float32), (PICTURE // 3, 1)), 4, axis=0)
    for i in range(sizes.num_layers):
        _set_block(arrays, f"blocks.{i}.", draws, content, divisor)
        _set_colouring(arrays, f"blocks.{i}.", draws, colour)
    arrays["time_embedding.2.weight"] *= np.float32(TIME)
    arrays["head.modulation"] *= 0
    arrays["head.head.weight"] = np.float32(PULL) * divisor * _unpatch(content, sizes)
    return arrays


def _patch_embedding(content: Array, sizes: TransformerSizes) -> Array:
    """(dim, C, 1, 2, 2) from (dim, C*p), whose columns are in the convolution's order."""
    return content.reshape(sizes.dim, sizes.latent_channels, *sizes.patch_size)


def _unpatch(content: Array, sizes: TransformerSizes) -> Array:
    """(C*p, dim): the transpose, with its rows in the head's order, channel last."""
    by_channel = content.reshape(sizes.dim, sizes.latent_channels, -1)
    return by_channel.transpose(2, 1, 0).reshape(-1, sizes.dim)


def _type_embedding(draws: Draws, free: npt.NDArray[np.intp], sizes: TransformerSizes) -> Array:
    """(3, dim), on channels that carry no picture, with as many plus as minus so that the mean stays zero."""
    types = np.zeros((3, sizes.dim), dtype=np.float32)
    signs = np.resize(np.array([1, -1], dtype=np.float32), free.size)
    for kind in range(3):
        types[kind, free] = draws.generator(f"type {kind}").permutation(signs) * np.float32(TYPE_SIZE)
    return types


def _set_block(arrays: dict[str, Array], block: str, draws: Draws, content: Array, divisor: np.float32) -> None:
    """Self-attention subtracts half of what stands at a token's own place: the edit's latents and the source's."""
    dim, patch = content.shape
    attention = f"{block}self_attn."
    places = draws.generator(f"{block}places").choice([-1, 1], patch)
    for side in ("q", "k"):
        arrays[f"{attention}{side}.weight"][:patch] = 0  # the picture's heads look at positions alone
        arrays[f"{attention}{side}.bias"][:patch] = places
        arrays[f"{attention}{side}.weight"][patch:] /= APART  # the norm spans all heads: the random one must not tip it
        arrays[f"{attention}norm_{side}.weight"][:patch] = ATTENTION_SHARPNESS
        arrays[f"{attention}norm_{side}.weight"][patch:] = APART
    arrays[f"{attention}v.weight"][:patch] = content.T * divisor
    arrays[f"{attention}o.weight"][:, :patch] = -content
    modulation = np.zeros((1, 6, dim), dtype=np.float32)
    modulation[:, [2, 5]] = 1  # the gates
    arrays[f"{block}modulation"] = modulation


def _set_colouring(arrays: dict[str, Array], block: str, draws: Draws, colour: Array) -> None:
    """The random head, the text and the feed-forward layer change colours, alike in a token's pixels and frames.

    Free to change single latents they would only make a flicker: 4 frames lie side by side in a latent's channels.
    """
    patch = colour.shape[0] - TRANSFORMER.head_dim
    arrays[f"{block}cross_attn.norm_q.weight"] *= 2
    for name, size, first in (("self_attn.o", TEXTURE, patch), ("cross_attn.o", TINT, 0), ("ffn.2", TEXTURE, 0)):
        weight = arrays[f"{block}{name}.weight"][:, first:]
        mixed = draws.uniform(f"{block}{name} colours", (3, weight.shape[1])) / np.float32(weight.shape[1] ** 0.5)
        weight[:] = np.float32(size) * colour @ mixed
