"""The weights `tiny`: two megabytes of seeded random numbers that let the whole machinery run on a CPU.

Nothing here was trained. Every tensor is drawn from a fixed seed; then one path through the three networks is set by
hand so that the source's picture survives the random rest and a result can be told from noise: the VAE keeps the mean
colour of 4x4 pixels of every frame, and attention looks at a token's own position, where it finds the source. What an
instruction does to the picture is random. The tensors have official names and are loaded like any others.

Only operations that give the same bits on every machine are used (uniform draws, products, signed permutations), so
that the digest can be pinned on the card.

    picture   colours of 4 frames x 3 channels = 12 of the 16 latent channels, each on a channel and sign of its own
    constant  one channel that is always large, so that the norms divide by nearly the same everywhere
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sama_model.keys import text_encoder_keys
from sama_model.tiny.draws import TEXT_ENCODER, TRANSFORMER, VAE, Array, Draws, shapes_of
from sama_model.tiny.transformer import transformer_arrays
from sama_model.tiny.vae import vae_arrays
from sama_model.weights import empty_text_encoder

__all__ = ["TEXT_ENCODER", "TRANSFORMER", "VAE", "tiny_tensors"]


def tiny_tensors() -> dict[str, dict[str, Tensor]]:
    """The tensors of `transformer`, `vae` and `text_encoder` under their official names, float32."""
    return {
        "transformer": _tensors(transformer_arrays()),
        "vae": _tensors(vae_arrays()),
        "text_encoder": _tensors(text_encoder_arrays()),
    }


def text_encoder_arrays() -> dict[str, Array]:
    """Random throughout."""
    keys = text_encoder_keys(TEXT_ENCODER.num_layers)
    arrays = Draws("text_encoder").initial(shapes_of(empty_text_encoder(TEXT_ENCODER), keys))
    arrays["token_embedding.weight"] *= np.float32(TEXT_ENCODER.dim**0.5)
    return arrays


def _tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Adding zero turns -0 into 0: matrix products may leave either, and the digest would tell them apart."""
    return {name: torch.from_numpy(np.ascontiguousarray(array + np.float32(0))) for name, array in arrays.items()}
