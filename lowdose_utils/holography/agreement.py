"""How well phase maps and volumes agree with a truth, over spatial frequency and across an edge."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.resolution import (
    Edge,
    FourierCorrelation,
    disc_profile,
    edge_width,
    frc_resolution,
    frc_threshold,
    same_shape,
)

Floats = npt.NDArray[np.float64]
SPACING = 0.25  # pixels between the samples of a profile


def ring_agreement(found: npt.ArrayLike, truth: npt.ArrayLike) -> FourierCorrelation:
    """Correlation of many images with their truth over spatial frequency, in rings of all together.

    Nothing is tapered: for images that fade to the same value all around.

    Parameters
    ----------
    found, truth : array of shape (image, row, column), square images
    """
    first, second = same_shape(found, truth)
    side = first.shape[-1]
    if first.ndim != 3 or first.shape[1] != side or side < 8:
        raise LowdoseError(
            "found, truth",
            found=f"shape {first.shape}",
            expected="(image, row, column), square, 8 pixels or more",
            way_out="Crop the longer side.",
        )
    rings = side // 2 + 1
    away = np.hypot(np.fft.fftfreq(side, 1 / side)[:, None], np.fft.fftfreq(side, 1 / side))
    ring = np.rint(away).astype(int).ravel()
    sums = np.zeros((3, rings))
    for one, other in zip(first, second, strict=True):
        a, b = (np.fft.fft2(image - image.mean()).ravel() for image in (one, other))
        for total, values in zip(sums, ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2), strict=True):
            total += np.bincount(ring, values)[:rings]
    power = np.sqrt(sums[1] * sums[2])
    correlation = np.divide(sums[0], power, out=np.zeros(rings), where=power > 0)
    return FourierCorrelation(
        np.arange(rings) / side, correlation, len(first) * np.bincount(ring)[:rings] / 2
    )


def truth_threshold(
    n_independent: npt.ArrayLike, threshold: Literal["half-bit", "one-bit"] = "half-bit"
) -> Floats:
    """What a correlation with the truth must reach where the halves' correlation reaches its threshold.

    Halves that correlate by T make a whole that correlates with the noise-free truth by ``sqrt(2 T / (1 +
    T))`` (Rosenthal and Henderson, J. Mol. Biol. 333, 721, 2003): the same signal-to-noise ratio, looked at
    from elsewhere. Errors that both halves share count here, and not there.
    """
    halves = frc_threshold(n_independent, threshold)
    return np.asarray(np.sqrt(2 * halves / (1 + halves)))


def resolution_against_truth(
    curve: FourierCorrelation,
    *,
    threshold: Literal["half-bit", "one-bit"] = "half-bit",
    min_frequency: float = 0.02,
) -> float | None:
    """Full period in pixels at which a correlation with the truth first falls below `truth_threshold`.

    As `resolution.frc_resolution`, which is for two halves.

    Returns
    -------
    float or None
        None if it never does.
    """
    # The curve moves by as much as its threshold differs from that of halves: then they cross where they did.
    raised = truth_threshold(curve.n_independent, threshold) - frc_threshold(curve.n_independent, threshold)
    moved = replace(curve, correlation=curve.correlation - raised)
    return frc_resolution(moved, threshold=threshold, min_frequency=min_frequency)


def rim_edge(volume: npt.ArrayLike, radius: float, *, slices: int, reach: float = 4.0) -> Edge:
    """Width of the edge of an upright cylinder in the middle of a volume: mean profile along its normals.

    Parameters
    ----------
    volume : array of shape (z, y, x)
        Wide enough for the cylinder and `reach` around it.
    radius : float
        Of the cylinder, in voxels.
    slices : int
        How many to average, about the middle.
    reach : float
        Voxels to both sides.

    Raises
    ------
    LowdoseError
        If the cylinder does not fit, or no error function fits.
    """
    stack = np.asarray(volume, np.float64)
    first = (len(stack) - slices) // 2
    middle = (stack.shape[1] - 1) / 2, (stack.shape[2] - 1) / 2
    profiles = [
        disc_profile(plane, middle, radius, reach, SPACING)
        for plane in stack[max(first, 0) : max(first, 0) + slices]
    ]
    return edge_width(np.mean(profiles, axis=0), SPACING)
