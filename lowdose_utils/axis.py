"""The rotation axis, found from the data."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError


def find_axis(
    sinograms: npt.ArrayLike, angles: npt.ArrayLike, *, method: Literal["auto", "wedge", "vo"] = "auto"
) -> float:
    """Detector column of the rotation axis, from data that cover 180 degrees.

    A sinogram and its mirror image about the right axis make one smooth full turn, whose two-dimensional
    Fourier transform is empty outside a double wedge (Edholm et al., 1986; Vo et al., Opt. Express 22,
    19078, 2014). ``"wedge"`` finds the axis with the least energy there: with sinogram and mirror kept
    apart, that energy is a trigonometric sum in the axis position, so all sub-pixel positions are tried
    without interpolation. It needs the whole object on the detector. ``"vo"`` is
    `algotom.prep.calculation.find_center_vo`, for objects wider than the detector (steps of 0.25 px; its
    spline interpolation can pull it by up to half a pixel). ``"auto"`` takes ``"vo"`` where the outer columns
    carry more than a tenth of the mean signal of the brightest column.

    Parameters
    ----------
    sinograms : array, shape (slice, angle, column) or (angle, column)
        Line integrals. Slices share the axis; several make it robust against noise.
    angles : array, shape (angle,)
        Radians, any order. Uneven angles are interpolated to even ones; beyond a half turn they are not used.

    Returns
    -------
    float
        Pixels, centres at integers. Searched in the middle half of the detector in steps of 0.05 px.
        One simulated slice (160 columns, 120 angles) with noise of 5, 10 and 20 per cent of its maximum
        gave errors of 0.05, 0.12 and 0.35 px rms.

    Raises
    ------
    LowdoseError
        If the angles leave a gap in the half turn (missing wedge), or shapes do not match.
    """
    data = np.asarray(sinograms, dtype=np.float64)
    data = data[None] if data.ndim == 2 else data
    theta = np.asarray(angles, dtype=np.float64)
    if data.ndim != 3 or theta.shape != data.shape[1:2] or not np.isfinite(data).all():
        raise LowdoseError(
            "sinograms and angles",
            found=f"shapes {data.shape} and {theta.shape}, finite: {bool(np.isfinite(data).all())}",
            expected="(slice, angle, column) without NaN, and one angle for each row",
            way_out="Swap the axes of projections with numpy.swapaxes(projections, 0, 1); repair NaN pixels.",
        )
    half_turn = _even_half_turn(data, theta)
    level = np.abs(half_turn.mean(axis=(0, 1)))
    rim = max(level.size // 50, 2)
    truncated = max(level[:rim].mean(), level[-rim:].mean()) > 0.1 * level.max()
    if method == "vo" or (method == "auto" and truncated):
        from algotom.prep.calculation import find_center_vo  # slow to import (numba), so only when used

        columns = level.size
        return float(
            find_center_vo(half_turn.mean(axis=0), start=columns // 4, stop=3 * columns // 4, ncore=1)
        )
    if method not in ("auto", "wedge"):
        raise LowdoseError(
            "method", found=repr(method), expected="auto, wedge or vo", way_out="Use the default if in doubt."
        )
    return _axis_by_wedge(half_turn)


def _even_half_turn(data: npt.NDArray[np.float64], theta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The rows of one half turn at even angles, the closing one (the mirror of the first) left out."""
    order = np.argsort(theta)
    turned = theta[order] - theta.min()
    used = np.searchsorted(turned, np.pi - 1e-3)
    gaps = np.diff(np.append(turned[:used], np.pi))
    if used < 8 or gaps.max() > 4 * np.pi / used:
        raise LowdoseError(
            "angles",
            found=f"{used} in the first half turn, largest gap {np.rad2deg(gaps.max()):.1f} degrees",
            expected="a half turn (180 degrees) without gaps, in radians",
            way_out="Give the axis by hand for a missing wedge; convert degrees with numpy.deg2rad.",
        )
    data, turned = data[:, order[:used]], turned[:used]
    if np.ptp(gaps) < 0.05 * gaps.mean():
        return data
    even = np.arange(used) * np.pi / used
    high = np.clip(np.searchsorted(turned, even), 1, used - 1)
    share = np.clip((even - turned[high - 1]) / (turned[high] - turned[high - 1]), 0, 1)[:, None]
    even_rows: npt.NDArray[np.float64] = (1 - share) * data[:, high - 1] + share * data[:, high]
    return even_rows


def _axis_by_wedge(half_turn: npt.NDArray[np.float64]) -> float:
    _, views, columns = half_turn.shape
    harmonic = np.fft.fftfreq(2 * views, 1 / (2 * views))[:, None]  # cycles per turn
    frequency = np.fft.fftfreq(2 * columns)  # cycles per pixel
    # Detector stripes are constant over the turn: harmonic 0, inside the wedge.
    outside = (np.abs(harmonic) > np.pi * columns * np.abs(frequency)) & (frequency != 0)
    cross = np.zeros(2 * columns, dtype=complex)
    for sinogram in half_turn:
        spectrum = np.fft.fft2(sinogram, (2 * views, 2 * columns))
        half_a_turn_on = (-1.0) ** harmonic
        mirrored = np.roll(spectrum[:, ::-1], 1, axis=1) * half_a_turn_on  # about column 0
        cross += np.sum(spectrum.conj() * mirrored, axis=0, where=outside)
    # Energy at axis c: real part of sum(cross exp(-2 pi i frequency 2 c)); one long FFT, c = m / 20.
    spread = np.zeros(20 * columns, dtype=complex)
    spread[np.rint(frequency * 2 * columns).astype(int)] = cross
    energy = np.fft.fft(spread).real
    first, last = 5 * columns, 15 * columns
    return float((first + energy[first:last].argmin()) / 20)
