"""LUTs from a log curve to BT.709, written by formula, so that every entry's truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

A, B, C, D, CUT, E, F = 5.555556, 0.052272, 0.247190, 0.385537, 0.010591, 5.367655, 0.092809
"""ARRI LogC3 at EI 800: code = C log10(A x + B) + D above CUT, else E x + F."""
MATRIX = np.array([[1.20, -0.15, -0.05], [-0.04, 1.12, -0.08], [-0.01, -0.07, 1.08]])
"""A wider gamut's light to BT.709 light."""
ALONE = np.eye(3)
"""No channel has a part in another."""


def light_of(log: np.ndarray) -> np.ndarray:
    """Scene light of log code values from 0 to 1."""
    return np.where(log > E * CUT + F, (10 ** ((log - D) / C) - B) / A, (log - F) / E)


def shown(log: np.ndarray, matrix: np.ndarray = ALONE) -> np.ndarray:
    """(N, 3) log to display values: a soft shoulder, then a gamma."""
    light = np.maximum(np.maximum(light_of(log), 0) @ matrix.T, 0)
    return (light / (light + 0.6)) ** (1 / 2.2)


def light_of_slog3(log: np.ndarray) -> np.ndarray:
    """Sony's S-Log3 (Technical Summary for S-Gamut3.Cine/S-Log3 and S-Gamut3/S-Log3): reflection of code values."""
    code = 1023 * log
    low = (code - 95) * 0.01125 / (171.2102946929 - 95)
    return np.where(code >= 171.2102946929, 10 ** ((code - 420) / 261.5) * 0.19 - 0.01, low)


def to_xyz(red: tuple, green: tuple, blue: tuple) -> np.ndarray:
    """(3, 3) from light of these primaries (x, y) and the white D65 to XYZ (SMPTE RP 177)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (red, green, blue)]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return columns * np.linalg.solve(columns, white)


BT709 = to_xyz((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
CAMERAS = {
    "S-Log3, S-Gamut3.Cine": (light_of_slog3, to_xyz((0.766, 0.275), (0.225, 0.800), (0.089, -0.087))),
    "LogC3, ARRI Wide Gamut 3": (light_of, to_xyz((0.6840, 0.3130), (0.2210, 0.8480), (0.0861, -0.1020))),
}
"""Name -> the curve and the gamut that its maker publishes."""


def to_709(log: np.ndarray, camera: str) -> np.ndarray:
    """(N, 3) log to BT.709: what lies outside its gamut, and above white, is clipped, as in a maker's technical LUT."""
    curve, gamut = CAMERAS[camera]
    light = np.maximum(curve(log) @ (np.linalg.inv(BT709) @ gamut).T, 0)
    return np.clip(np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099), 0, 1)


def write_of_camera(path: Path, camera: str, side: int = 33) -> Path:
    axis = np.linspace(0, 1, side)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    log = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    return _write(path, f"LUT_3D_SIZE {side}", to_709(log, camera))


def write_1d(path: Path, entries: int = 4096) -> Path:
    axis = np.linspace(0, 1, entries)
    return _write(path, f"LUT_1D_SIZE {entries}", shown(np.repeat(axis[:, None], 3, axis=1)))


def write_3d(path: Path, side: int = 33, matrix: np.ndarray = MATRIX) -> Path:
    axis = np.linspace(0, 1, side)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    log = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    return _write(path, f"LUT_3D_SIZE {side}", shown(log, matrix))


def _write(path: Path, size: str, rows: np.ndarray) -> Path:
    lines = [f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in rows]
    path.write_text("\n".join(["# drawn by formula", 'TITLE "log to 709"', size, *lines]) + "\n")
    return path
