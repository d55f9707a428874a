"""HDR as the editor sees it, and what it made of it as HDR again: one stated curve and its inverse. Arrays only.

Forward, on R'G'B' code values in PQ or HLG with BT.2020 primaries:
1. display light by the EOTF of ITU-R BT.2100-2 (PQ: table 4; HLG: table 5 with the system gamma of 1.2 at 1000 cd/m2);
2. R', G' and B' = (light / peak)^(1/2.4), each through the tone curve of ITU-R BT.2446-1, method A (section 4.2), which
   maps the peak to white at 100 cd/m2 and has an inverse without flat parts;
3. to BT.709 primaries in light (ITU-R BT.2087-0); what lies outside is clipped.

An edit comes back as the difference of two inverses (of what the editor gave and of what it was given), so that what it
left alone stays exactly as it was, clipped or not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from edits.media.lut import Lut, lut_of
from edits.media.records import FrameIndex

Levels = npt.NDArray[np.float32]
"""(H, W, 3) R'G'B' in levels of 8 bits, with fractions: 0 to 255."""

_GAMMA = 2.4
_SDR_PEAK = 100.0
"""cd/m2 of SDR white in method A."""
_STEPS = 1 << 16
_LUMA = np.array([[0.2627, 0.6780, 0.0593]], np.float32)
"""BT.2020's."""
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # fmt: skip
"""BT.2020 light to BT.709 light (ITU-R BT.2407-0, section 2)."""
_TO_2020 = np.linalg.inv(_TO_709.astype(np.float64)).astype(np.float32)
_SYSTEM_GAMMA = 1.2
_HLG_PEAK = 1000.0

Curve = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


class ToneCurve:
    """Between HDR code values and SDR ones, both as `Levels`."""

    def __init__(self, transfer: str, peak: int) -> None:
        """`transfer` is ffmpeg's name of PQ or HLG, `peak` the light in cd/m2 that becomes white."""
        self._hlg = transfer == "arib-std-b67"
        peak = round(_HLG_PEAK) if self._hlg else peak
        to_light, to_code = (_hlg_scene, _hlg_code) if self._hlg else (_relative_pq(peak), _relative_pq_code(peak))
        self._to_light = _Table(to_light, 255.0)
        self._to_code = _Table(lambda v: 255 * to_code(v**_GAMMA), 1.0)
        self._compress = _Table(lambda v: _method_a(v, peak) ** _GAMMA, 1.0)
        self._expand = _Table(_inverse(lambda v: _method_a(v, peak)), 1.0)
        self._from_gamma = _Table(lambda v: v**_GAMMA, 255.0)

    def to_sdr(self, codes: Levels) -> Levels:
        """What the editor sees of HDR code values."""
        light = self._to_light(codes)
        if self._hlg:
            light = light * _overall(light, _SYSTEM_GAMMA - 1)
        narrow = cv2.transform(self._compress(_power(light, 1 / _GAMMA)), _TO_709)
        return np.asarray(_power(np.clip(narrow, 0, 1), 1 / _GAMMA) * np.float32(255))

    def to_hdr(self, levels: Levels) -> Levels:
        """The HDR code values that `to_sdr` maps to `levels`."""
        wide = np.asarray(cv2.transform(self._from_gamma(levels), _TO_2020))
        display = self._expand(_power(np.clip(wide, 0, 1), 1 / _GAMMA))
        if not self._hlg:
            return self._to_code(display)
        light = _power(display, _GAMMA)
        scene = light * _overall(light, 1 / _SYSTEM_GAMMA - 1)
        return self._to_code(_power(scene, 1 / _GAMMA))


def curve_of(index: FrameIndex) -> ToneCurve | Lut | None:
    """The curve between what the source holds and what its editor sees; None for SDR, which is shown as it is."""
    if index.lut is not None:
        return lut_of(index.lut.path, index.lut.sha256)
    return _made(index.colour.transfer, index.hdr_peak) if index.tone_curve else None


@lru_cache(maxsize=4)
def _made(transfer: str, peak: int) -> ToneCurve:
    return ToneCurve(transfer, peak)


class _Table:
    """A function of [0, top] as 65,536 values, looked up without interpolation: finer than 12 bits."""

    def __init__(self, function: Curve, top: float) -> None:
        self._values = function(np.linspace(0, 1, _STEPS)).astype(np.float32)
        self._scale = np.float32((_STEPS - 1) / top)

    def __call__(self, values: Levels) -> Levels:
        places = np.clip(values * self._scale + np.float32(0.5), 0, _STEPS - 1).astype(np.uint16)
        found: Levels = self._values[places]
        return found


def _power(values: npt.NDArray[np.float32], exponent: float) -> Levels:
    return np.asarray(cv2.pow(np.maximum(values, 0), exponent), np.float32)


def _overall(light: Levels, exponent: float) -> Levels:
    """The HLG system gamma works on luminance: (H, W, 1) factors, where black stays black."""
    luminance = np.maximum(np.asarray(cv2.transform(light, _LUMA)), np.float32(1e-6))
    return _power(luminance, exponent).reshape(*light.shape[:2], 1)


def _inverse(function: Curve) -> Curve:
    """Of a rising function from [0, 1] to [0, 1]."""
    grid = np.linspace(0, 1, 4 * _STEPS)
    values = function(grid)
    return lambda wanted: np.interp(wanted, values, grid)


# -- curves, all on [0, 1] --------------------------------------------------------------------------------------------


def _method_a(v: npt.NDArray[np.float64], peak: float) -> npt.NDArray[np.float64]:
    """BT.2446-1, section 4.2, steps 1 to 3."""
    hdr, sdr = (1 + 32 * (nits / 10_000) ** (1 / _GAMMA) for nits in (peak, _SDR_PEAK))
    p = np.log(1 + (hdr - 1) * v) / np.log(hdr)
    c = np.where(
        p <= 0.7399,
        1.0770 * p,
        np.where(p < 0.9909, -1.1510 * p**2 + 2.7811 * p - 0.6302, 0.5 * p + 0.5),
    )
    curve: npt.NDArray[np.float64] = (sdr**c - 1) / (sdr - 1)
    return curve


_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
"""SMPTE ST 2084."""


def _relative_pq(peak: float) -> Curve:
    def light(code: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        root = code ** (1 / _M2)
        nits = 10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)
        return np.minimum(nits / peak, 1)

    return light


def _relative_pq_code(peak: float) -> Curve:
    def code(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        power = (light * peak / 10_000) ** _M1
        return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2

    return code


_A = 0.17883277
_B = 1 - 4 * _A
_C = 0.5 - _A * np.log(4 * _A)


def _hlg_scene(code: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Inverse OETF of HLG."""
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - _C) / _A) + _B) / 12)


def _hlg_code(scene: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """OETF of HLG."""
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), _A * np.log(np.maximum(12 * scene - _B, 1e-9)) + _C)
