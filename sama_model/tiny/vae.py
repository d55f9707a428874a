"""The VAE of the weights `tiny`: mean colours of 4x4 pixels of every frame, there and back, plus random grain."""

from __future__ import annotations

import numpy as np

from sama_model.keys import vae_keys
from sama_model.tiny.draws import PICTURE, VAE, Array, Draws, shapes_of
from sama_model.weights import empty_vae

CONSTANT = 6.0
"""Value of the VAE's constant channel; colours lie in -1..1."""

SMALL = 0.1
"""Gamma of the norms before the VAE's heads: SiLU of small numbers is nearly half of them, so colours pass straight."""

LATENT_GAIN = 1.6
"""Normalised latents per unit of colour, so that pictures are about as large as the noise."""

GRAIN = 0.02
"""How much the VAE's random residual branches add."""

FINISH = 0.2
"""The same for the last of them, which sees every frame's full size."""

LAST_RESNET = "decoder.upsamples.4."

SMOOTH = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]).astype(np.float32)
"""After doubling by repetition: a ramp between the centres of neighbours."""

BLOCK_MEAN = np.pad(np.full((2, 2), 0.25, dtype=np.float32), (0, 1))
"""Stride-2 convolution: the mean of 2x2, and nothing of the third row and column."""


def vae_arrays() -> dict[str, Array]:
    """Colours averaged over 4x4 pixels into latents and back, every frame its own, plus what the random rest says.

    Slots of the path, by the frames of a latent still together: 1 frame (rgb), 2 (later rgb, earlier rgb), 4. The
    first latent of a clip holds one frame, on the first three slots: the time convolutions never see it.
    """
    draws = Draws("vae")
    arrays = draws.initial(shapes_of(empty_vae(VAE), vae_keys(VAE)))
    for name in arrays:
        if name.endswith(("residual.6.weight", "middle.1.proj.weight")):
            arrays[name] *= np.float32(FINISH if name.startswith(LAST_RESNET) else GRAIN)
    wide = draws.channels("wide", VAE.base_dim, PICTURE + 1)
    narrow = draws.channels("narrow", VAE.base_dim // 2, PICTURE // 2 + 1)
    latents = latent_channels()
    _set_encoder(arrays, wide, latents)
    _set_decoder(arrays, wide, narrow, latents)
    return arrays


def latent_channels() -> Array:
    """(latent channels, picture slots): where the colours of a latent's frames lie."""
    return Draws("vae").channels("latents", VAE.z_dim, PICTURE)


def _set_encoder(arrays: dict[str, Array], wide: Array, latents: Array) -> None:
    _set_conv(arrays, "encoder.conv1", wide[:, :3], np.eye(3, dtype=np.float32))
    arrays["encoder.conv1.bias"] = CONSTANT * wide[:, PICTURE]
    for stage in range(2):
        kept = wide @ wide.T
        arrays[f"encoder.downsamples.{stage}.resample.1.weight"] = _spatial(kept, BLOCK_MEAN)
        arrays[f"encoder.downsamples.{stage}.time_conv.weight"] = _in_time(_pairing(wide, 3 * 2**stage))
    _set_head(arrays, "encoder", wide, np.concatenate([latents, np.zeros_like(latents)]), LATENT_GAIN)
    mean, std = _latent_statistics()
    arrays["conv1.weight"] = _pointwise(np.diag(np.concatenate([std, np.ones_like(std)])))
    arrays["conv1.bias"] = np.concatenate([mean, np.zeros_like(mean)])


def _set_decoder(arrays: dict[str, Array], wide: Array, narrow: Array, latents: Array) -> None:
    mean, std = _latent_statistics()
    arrays["conv2.weight"] = _pointwise(np.diag(1 / std))
    arrays["conv2.bias"] = -mean / std
    _set_conv(arrays, "decoder.conv1", wide[:, :PICTURE] / np.float32(LATENT_GAIN), latents)
    arrays["decoder.conv1.bias"] = CONSTANT * wide[:, PICTURE]
    for stage, (up, resnet) in enumerate(((1, 2), (3, 4))):
        slots = PICTURE // 2 ** (stage + 1)
        arrays[f"decoder.upsamples.{up}.time_conv.weight"] = _in_time(_parting(wide, slots))
        halved = _narrowed(wide, narrow, slots)
        arrays[f"decoder.upsamples.{up}.resample.1.weight"] = _spatial(halved, SMOOTH)
        arrays[f"decoder.upsamples.{resnet}.shortcut.weight"] = _pointwise(halved.T)
    _set_head(arrays, "decoder", wide[:, [0, 1, 2, PICTURE]], np.eye(3, dtype=np.float32), 1.0)


def _latent_statistics() -> tuple[Array, Array]:
    config = empty_vae(VAE).config
    return np.array(config.latents_mean, dtype=np.float32), np.array(config.latents_std, dtype=np.float32)


def _set_conv(arrays: dict[str, Array], name: str, out: Array, into: Array) -> None:
    """A causal 3x3x3 convolution that takes slots from `into` to `out`, of the present frame and pixel alone."""
    arrays[f"{name}.weight"] *= 0
    arrays[f"{name}.weight"][:, :, 2, 1, 1] = out @ into.T


def _set_head(arrays: dict[str, Array], half: str, path: Array, out: Array, gain: float) -> None:
    """Norm, SiLU, convolution: undo the norm's divisor and SiLU's half, so that colours leave as they came."""
    arrays[f"{half}.head.0.gamma"] = np.full_like(arrays[f"{half}.head.0.gamma"], SMALL)
    straight = np.float32(gain * 2 / SMALL * CONSTANT / path.shape[0] ** 0.5)
    _set_conv(arrays, f"{half}.head.2", straight * out, path[:, :-1])


def _pairing(wide: Array, slots: int) -> tuple[Array, Array, Array]:
    """Taps (two before, one before, now) of the encoder's time convolution: now stays, one before moves behind it."""
    moved = wide[:, slots : 2 * slots] @ wide[:, :slots].T
    stays = wide[:, :slots] @ wide[:, :slots].T + np.outer(wide[:, PICTURE], wide[:, PICTURE])
    return np.zeros_like(stays), moved, stays


def _parting(wide: Array, slots: int) -> tuple[Array, Array, Array]:
    """The decoder's: channels for the earlier frame, then for the later one, both from the present latent."""
    constant = np.outer(wide[:, PICTURE], wide[:, PICTURE])
    earlier = wide[:, :slots] @ wide[:, slots : 2 * slots].T + constant
    later = wide[:, :slots] @ wide[:, :slots].T + constant
    both = np.concatenate([earlier, later])
    return np.zeros_like(both), np.zeros_like(both), both


def _narrowed(wide: Array, narrow: Array, slots: int) -> Array:
    """(narrow, wide): the first slots and the constant."""
    return narrow[:, :slots] @ wide[:, :slots].T + np.outer(narrow[:, -1], wide[:, PICTURE])


def _pointwise(matrix: Array) -> Array:
    return matrix[:, :, None, None, None].astype(np.float32)


def _spatial(matrix: Array, kernel: Array) -> Array:
    return matrix[:, :, None, None] * kernel


def _in_time(taps: tuple[Array, Array, Array]) -> Array:
    return np.stack(taps, axis=2)[..., None, None]
