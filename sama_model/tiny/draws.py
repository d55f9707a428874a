"""Seeded random numbers for the weights `tiny`, and the sizes of the networks that they fill."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from torch import nn

from sama_model.config import TextEncoderSizes, TransformerSizes, VaeSizes

Array = npt.NDArray[np.float32]

SEED = 20260
"""Decides every random number below."""

TRANSFORMER = TransformerSizes(
    num_heads=3, head_dim=32, ffn_dim=192, num_layers=1, text_dim=32, freq_dim=64, semantic_dim=1152, semantic_hidden=32
)
VAE = VaeSizes(base_dim=14, dim_mult=(1, 1, 1), num_res_blocks=0, temporal_downsample=(True, True))
TEXT_ENCODER = TextEncoderSizes(vocab=259, dim=32, attention_dim=32, ffn_dim=64, num_heads=2, num_layers=1)

PICTURE = 12
"""Numbers that a latent keeps of 4 frames of 4x4 pixels: their mean colours."""


class Draws:
    """Random numbers for one network, each tensor from a stream of its own name."""

    def __init__(self, network: str) -> None:
        self.network = network

    def generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng([SEED, zlib.crc32(f"{self.network}/{name}".encode())])

    def uniform(self, name: str, shape: tuple[int, ...]) -> Array:
        """Unit variance, mean zero."""
        return (self.generator(name).random(shape, dtype=np.float32) * 2 - 1) * np.float32(3**0.5)

    def channels(self, name: str, width: int, slots: int) -> Array:
        """(width, slots): each slot on a channel of its own with a sign of its own. Its transpose undoes it."""
        generator = self.generator(name)
        placed = np.zeros((width, slots), dtype=np.float32)
        placed[generator.permutation(width)[:slots], np.arange(slots)] = generator.choice([-1, 1], slots)
        return placed

    def initial(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
        """Every tensor: norms at one, biases at zero, the rest uniform with variance 1 / fan-in."""
        return {name: self._initial(name, shape) for name, shape in shapes.items()}

    def _initial(self, name: str, shape: tuple[int, ...]) -> Array:
        if name.endswith(".bias"):
            return np.zeros(shape, dtype=np.float32)
        if name.endswith(".gamma") or (name.endswith(".weight") and len(shape) == 1):
            return np.ones(shape, dtype=np.float32)
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        return self.uniform(name, shape) / np.float32(fan_in**0.5)


def shapes_of(model: nn.Module, keys: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor by its official name."""
    ours = model.state_dict()
    return {name: tuple(ours[mine].shape) for name, mine in keys.items()}
