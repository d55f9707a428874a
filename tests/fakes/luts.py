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
