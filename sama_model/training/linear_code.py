"""What a VAE knows before it is trained: the linear code of the clips that its layers can hold, layer by layer.

x (B, C, T, H, W), T = 4k+1: the first frame for itself, the others in pairs of pairs, as Wan's VAE has them

Of its wide layers the last channel is constant, so that the norms before both heads divide by nearly the same
everywhere; SiLU of small numbers is nearly half of them. Residual branches say nothing at first. Halving the picture
keeps the principal components of 2 x 2, halving time the largest of mean and difference of two frames; what undoes
each of them is found by least squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanAttentionBlock,
    WanResample,
    WanResidualBlock,
    patchify,
)
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, silu, unfold

CONSTANT = 6.0
"""Of the constant channel; a picture's numbers lie in -1..1."""
GAMMA = 0.2
"""Of the norms before the heads."""
LOGVAR = -8.0
"""Of the posterior, whose means have a deviation of 1."""
RIDGE = 1e-5
"""Of the least squares, beside the inputs' mean power."""


@dataclass(frozen=True)
class Stage:
    """What the encoder does at one size, to be undone."""

    features: Tensor
    """(B, F, T, h, w) before it halves the picture."""
    means: int
    """Of what comes of it, features that are means of two frames; the others are differences of the first ones."""


@torch.no_grad()
def begin(vae: AutoencoderKLWan, video: Tensor) -> None:
    """Sets every layer but the branches' first ones from clips (B, 3, T, H, W) in [-1, 1]."""
    for module in vae.modules():
        if isinstance(module, WanResidualBlock):
            silence(module.conv2)
        elif isinstance(module, WanAttentionBlock):
            silence(module.proj)
    pictures = patchify(video, vae.config.patch_size or 1)
    stages, features = set_encoder(vae.encoder, pictures)
    code = set_bottleneck(vae, features)
    set_decoder(vae.decoder, code, stages, pictures)


def silence(layer: Any) -> None:
    """A layer that says nothing."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


# -- encoder ----------------------------------------------------------------------------------------------------------


def set_encoder(encoder: Any, pictures: Tensor) -> tuple[list[Stage], Tensor]:
    """Everything before its head; what it says at each size, and at last."""
    width = encoder.conv_in.out_channels
    x = widened(pictures, width - 1)
    set_pointwise(encoder.conv_in, torch.eye(width - 1, pictures.shape[1]))
    stages = []
    for layer in encoder.down_blocks:
        if isinstance(layer, WanResample):
            features, x, means = x, halved(layer, x), 0
            if layer.mode == "downsample3d":
                x, means = paired(layer.time_conv, x)
            stages.append(Stage(features, means))
        elif isinstance(layer.conv_shortcut, nn.Conv3d):
            before, after = x.shape[1], layer.conv_shortcut.out_channels - 1
            set_pointwise(layer.conv_shortcut, torch.eye(after, before))
            x = widened(x, after)
    return stages, x


def halved(layer: WanResample, x: Tensor) -> Tensor:
    """(B, F, T, h, w) -> (B, F, T, h/2, w/2): principal components of 2 x 2."""
    conv: Any = layer.resample[1]
    features = x.shape[1]
    b, _, t, h, w = x.shape
    blocks = x.reshape(b, features, t, h // 2, 2, w // 2, 2).permute(0, 1, 4, 6, 2, 3, 5).flatten(1, 3)
    basis = principal(blocks, features) / 2
    silence(conv)
    conv.weight[:features, :features, :2, :2] = basis.T.reshape(features, features, 2, 2)
    conv.bias[-1] = CONSTANT
    return torch.einsum("bcthw,cf->bfthw", blocks, basis)


def paired(conv: Any, x: Tensor) -> tuple[Tensor, int]:
    """(B, F, 2k+1, h, w) -> (B, F, k+1, h, w), and how many features are means."""
    features = x.shape[1]
    early, late = x[:, :, 1::2], x[:, :, 2::2]
    mean, difference = (early + late) / 2, (late - early) / 2
    powers = torch.cat([each.square().mean(dim=(0, 2, 3, 4)) for each in (mean, difference)])
    means = int((powers.topk(features).indices < features).sum())
    rest = features - means
    silence(conv)
    half = torch.eye(features) / 2
    for tap, sign in ((1, -1), (2, 1)):
        conv.weight[:means, :features, tap, 0, 0] = half[:means]
        conv.weight[means:features, :features, tap, 0, 0] = sign * half[:rest]
    conv.bias[-1] = CONSTANT
    kept = torch.cat([mean[:, :means], difference[:, :rest]], dim=1)
    return torch.cat([x[:, :, :1], kept], dim=2), means


def set_bottleneck(vae: AutoencoderKLWan, features: Tensor) -> Tensor:
    """The encoder's head and the decoder's first layer; what comes out of that."""
    z: int = vae.config.z_dim
    encoder: Any = vae.encoder
    basis = principal(features, z)
    code = torch.einsum("bfthw,fz->bzthw", features, basis)
    scale = code.square().mean(dim=(0, 2, 3, 4)).sqrt().clamp(min=1e-3)
    weight, bias = solved(columns(normed(features), 1), 1, code / scale.view(1, -1, 1, 1, 1))
    encoder.norm_out.gamma.fill_(GAMMA)
    head = encoder.conv_out
    set_pointwise(head, weight[..., 0, 0], constant=False)
    head.bias[:z] = bias
    head.bias[z:] = LOGVAR
    for layer in (vae.quant_conv, vae.post_quant_conv):
        set_pointwise(layer, torch.eye(layer.out_channels), constant=False)
    decoder: Any = vae.decoder
    set_pointwise(decoder.conv_in, basis * scale)
    return torch.einsum("bzthw,fz->bfthw", code, basis)


# -- decoder ----------------------------------------------------------------------------------------------------------


def set_decoder(decoder: Any, x: Tensor, stages: list[Stage], pictures: Tensor) -> None:
    """Everything behind its first layer: back to each stage's features, and from the first's to the picture."""
    basis = torch.eye(x.shape[1])
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            if isinstance(resnet.conv_shortcut, nn.Conv3d):
                back = widened(basis.T[..., None, None, None], resnet.conv_shortcut.out_channels - 1)[..., 0, 0, 0].T
                set_pointwise(resnet.conv_shortcut, back)
                x, basis = torch.einsum("bcthw,fc->bfthw", x, back), torch.eye(back.shape[0])
        if block.upsamplers is None:
            continue
        layer, stage = block.upsamplers[0], stages.pop()
        if layer.mode == "upsample3d":
            x = parted(layer.time_conv, x, stage.means)
        x, basis = doubled(layer.resample[1], x, stage.features)
    decoder.norm_out.gamma.fill_(GAMMA)
    head = decoder.conv_out
    weight, bias = solved(columns(normed(x), 3), 3, pictures)
    silence(head)
    head.weight[:, :, 2] = weight
    head.bias[:] = bias


def parted(conv: Any, x: Tensor, means: int) -> Tensor:
    """(B, F, k+1, h, w) -> (B, F, 2k+1, h, w): undoes `paired`."""
    features = x.shape[1]
    rest = features - means
    ways = torch.zeros(2, features, features)
    ways[:, :means, :means] = torch.eye(means)
    shown = min(means, rest)
    for half, sign in ((0, -1), (1, 1)):
        ways[half, :shown, means : means + shown] = sign * torch.eye(shown)
    silence(conv)
    for half in (0, 1):
        first = half * (features + 1)
        conv.weight[first : first + features, :features, 2, 0, 0] = ways[half]
        conv.bias[first + features] = CONSTANT
    late = torch.einsum("bcthw,nfc->bftnhw", x[:, :, 1:], ways).flatten(2, 3)
    return torch.cat([x[:, :, :1], late], dim=2)


def doubled(conv: Any, x: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """(B, F, T, h, w) -> (B, G, T, 2h, 2w): principal components of the features that are wanted, and their basis."""
    b, _, t, _, _ = x.shape
    basis = principal(wanted, conv.out_channels - 1)
    large = interpolate(with_constant(x).transpose(1, 2).flatten(0, 1), scale_factor=2, mode="nearest-exact")
    large = large.reshape(b, t, *large.shape[1:]).transpose(1, 2)
    inputs = columns(large, 3)
    weight, bias = solved(inputs, 3, torch.einsum("bfthw,fg->bgthw", wanted, basis))
    silence(conv)
    conv.weight[:-1], conv.bias[:-1] = weight, bias
    conv.bias[-1] = CONSTANT
    found = inputs @ weight.flatten(1).T + bias
    return found.reshape(b, t, *wanted.shape[3:], -1).permute(0, 4, 1, 2, 3), basis


# -- parts ------------------------------------------------------------------------------------------------------------


def widened(x: Tensor, features: int) -> Tensor:
    """So many features, zeros behind those that there are."""
    return torch.cat([x, x.new_zeros(x.shape[0], features - x.shape[1], *x.shape[2:])], dim=1)


def with_constant(x: Tensor) -> Tensor:
    """The features as their layer has them."""
    return torch.cat([x, torch.full_like(x[:, :1], CONSTANT)], dim=1)


def normed(x: Tensor) -> Tensor:
    """What a head's convolution is shown of them."""
    full = with_constant(x)
    return silu(normalize(full, dim=1) * full.shape[1] ** 0.5 * GAMMA)


def set_pointwise(conv: Any, matrix: Tensor, constant: bool = True) -> None:
    """A causal convolution of the present frame and pixel alone; its last channel constant."""
    middle = conv.kernel_size[1] // 2
    silence(conv)
    conv.weight[: matrix.shape[0], : matrix.shape[1], -1, middle, middle] = matrix
    if constant:
        conv.bias[-1] = CONSTANT


def principal(x: Tensor, count: int) -> Tensor:
    """(B, F, T, h, w) -> (F, count): the directions of most power, the largest first; zeros if there are no more."""
    rows = x.transpose(0, 1).flatten(1).double()
    vectors = torch.linalg.eigh(rows @ rows.T).eigenvectors.flip(1)[:, :count].float()
    return torch.cat([vectors, vectors.new_zeros(len(vectors), count - vectors.shape[1])], dim=1)


def columns(x: Tensor, size: int) -> Tensor:
    """(B, F, T, h, w) -> (B * T * h * w, F * size^2): every pixel's surroundings in its frame, zeros outside."""
    frames = x.transpose(1, 2).flatten(0, 1)
    return unfold(frames, size, padding=size // 2).transpose(1, 2).flatten(0, 1)


def solved(inputs: Tensor, size: int, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of (N, F * size^2) to (B, G, T, h, w): weight (G, F, size, size) and bias (G,)."""
    rows = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
    power = (rows.T @ rows).double()
    ridge = RIDGE * power.diagonal().mean() * torch.eye(len(power), dtype=torch.float64)
    found = torch.linalg.solve(power + ridge, (rows.T @ wanted.permute(0, 2, 3, 4, 1).flatten(0, 3)).double()).float()
    return found[:-1].T.reshape(wanted.shape[1], -1, size, size), found[-1]
