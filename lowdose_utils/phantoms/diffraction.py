"""X-ray diffraction tomography (XRD-CT) of a sample of several phases, each with a pattern of its own.

As the scan in Hendriksen et al., "Deep denoising for multi-dimensional synchrotron X-ray tomography without
high-quality reference data", Sci. Rep. 11, 11895 (2021): a pencil beam goes over the sample point by point
and angle by angle; of each diffraction pattern the counts in a few windows are kept, and every window is a
channel with sinograms of its own.

What is simulated is the sum of what lies along the beam: each phase scatters its pattern in proportion to
its share of the volume, whichever way it is turned (a fine powder), and nothing is absorbed on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.data import Store, fetch
from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import Projector

Floats = npt.NDArray[np.floating]

#: Where the phases of `gaussian_patterns` diffract, in 1/angstrom, and how strongly: strongest line 1.
PEAKS: Mapping[str, Mapping[float, float]] = {
    "A": {2.25: 0.6, 2.69: 1.0, 3.66: 0.4, 4.33: 0.3},
    "B": {2.36: 1.0, 2.98: 0.5, 3.41: 0.3, 4.05: 0.7},
    "C": {2.52: 0.3, 3.09: 1.0, 3.87: 0.5},
    "D": {2.18: 0.5, 2.81: 0.8, 3.52: 1.0, 4.48: 0.4},
    "E": {2.43: 0.7, 3.22: 0.4, 3.77: 1.0, 4.21: 0.6},
}


class Patterns(NamedTuple):
    """Diffraction patterns of phases.

    `names` (phase) say whose, `q` (bin) is the length of the scattering vector in 1/angstrom,
    ``4 pi sin(theta) / wavelength``, and `intensities` (phase, bin) are per pixel of a pure phase.
    """

    names: tuple[str, ...]
    q: Floats
    intensities: Floats


def measured_patterns(store: Store | None = None) -> Patterns:
    """Patterns of aluminium, copper, iron, platinum and zinc, from the dataset ``xrd_patterns``.

    They make a scan semi-synthetic: say so where it is shown.

    Raises
    ------
    LowdoseError
        If the dataset cannot be had.
    """
    with h5py.File(fetch("xrd_patterns/Patterns.h5", store=store)) as file:
        names = tuple(sorted(set(file) - {"q", "tth"}))
        return Patterns(names, file["q"][:], np.stack([file[name][:] for name in names]))


def gaussian_patterns(
    q: npt.ArrayLike | None = None,
    *,
    peaks: Mapping[str, Mapping[float, float]] = PEAKS,
    width: float = 0.03,
    background: float = 0.01,
) -> Patterns:
    """Simulated patterns: Gaussian peaks at stated places over a flat background.

    Parameters
    ----------
    q : array of shape (bin,), optional
        In 1/angstrom; 250 bins from 2.1 to 4.59 by default.
    peaks : mapping of mappings
        For each phase the height of the peak at each q.
    width : float
        Standard deviation in 1/angstrom.
    background : float
        Added everywhere.

    Raises
    ------
    LowdoseError
        If `q` does not grow from bin to bin, or `width` is not positive.
    """
    bins = np.linspace(2.1, 4.59, 250) if q is None else np.asarray(q, dtype=np.float64)
    if bins.ndim != 1 or bins.size < 2 or not (np.diff(bins) > 0).all() or not 0 < width < np.inf:
        raise LowdoseError(
            "q, width",
            found=(f"shape {bins.shape}", width),
            expected="growing values, and a positive number",
            way_out="Leave both at their defaults if in doubt.",
        )
    lines = [
        background + sum(h * np.exp(-((bins - at) ** 2) / (2 * width**2)) for at, h in lines.items())
        for lines in peaks.values()
    ]
    return Patterns(tuple(peaks), bins, np.stack(lines))


def windows(patterns: Patterns, edges: int | npt.ArrayLike = 11) -> Floats:
    """Sum patterns over windows of q.

    Parameters
    ----------
    patterns : Patterns
        Of all phases.
    edges : int or array of shape (channel + 1,)
        How many windows of (nearly) as many bins each, or where in q they begin and end.

    Returns
    -------
    array of shape (phase, channel)
        What a pixel of a pure phase scatters into each channel.

    Raises
    ------
    LowdoseError
        If a window is empty.
    """
    if isinstance(edges, int | np.integer):
        first = np.round(np.linspace(0, len(patterns.q), edges + 1)).astype(int) if edges > 0 else np.zeros(1)
    else:
        first = np.searchsorted(patterns.q, np.asarray(edges, dtype=np.float64).ravel())
    if len(first) < 2 or not (np.diff(first) > 0).all():
        raise LowdoseError(
            "edges",
            found=edges,
            expected=f"growing places within {patterns.q[0]:g} to {patterns.q[-1]:g} with bins between them",
            way_out=f"Ask for at most {len(patterns.q)} windows.",
        )
    sums = np.concatenate(
        [np.zeros((len(patterns.names), 1)), np.cumsum(patterns.intensities, axis=1)], axis=1
    )
    result: Floats = np.diff(sums[:, first], axis=1)
    return result


def channel_images(fractions: Floats, scattering: Floats) -> npt.NDArray[np.float32]:
    """Images (slice, channel, y, x) of a sample with `fractions` (slice, phase, y, x).

    `scattering` (phase, channel) is what `windows` gives.

    Raises
    ------
    LowdoseError
        If the phases are not as many.
    """
    if fractions.ndim != 4 or scattering.ndim != 2 or fractions.shape[1] != scattering.shape[0]:
        raise LowdoseError(
            "shapes of fractions and scattering",
            found=f"{fractions.shape} and {scattering.shape}",
            expected="(slice, phase, y, x) and (phase, channel), with as many phases",
            way_out="Give the ceramic as many phases as there are patterns.",
        )
    images: npt.NDArray[np.float32] = np.einsum("spyx,pc->scyx", fractions, scattering).astype(np.float32)
    return images


def channel_sinograms(
    images: Floats, angles: npt.ArrayLike, *, finer: int = 1, device: str | torch.device = "auto"
) -> npt.NDArray[np.float32]:
    """Sinograms (slice, channel, angle, column) of a sample with `images` (slice, channel, y, x).

    Parameters
    ----------
    images : array of shape (slice, channel, y, x)
        Intensity scattered by each pixel.
    angles : array of shape (angle,)
        In radians.
    finer : int
        Pixels of the images across one step of the beam; a step's value is their mean.
    device : str or torch.device
        Where to project.

    Returns
    -------
    array of float32
        In value times steps of the beam.

    Raises
    ------
    LowdoseError
        If the images are not square or not a multiple of `finer` wide, or `angles` is no vector of finite
        numbers.
    """
    if images.ndim != 4 or images.shape[2] != images.shape[3] or finer < 1 or images.shape[3] % finer:
        raise LowdoseError(
            "shape of images, finer",
            found=(images.shape, finer),
            expected="(slice, channel, y, x) with y as long as x, and a divisor of that",
            way_out="Make them with channel_images.",
        )
    stack = images.reshape(-1, *images.shape[2:])
    lines = Projector(angles, images.shape[-1], device=device).forward(stack)
    lines = lines.reshape(*images.shape[:2], lines.shape[1], -1, finer).mean(axis=4) / np.float32(finer)
    # Intensities cannot be negative, but a band-limited projector rings a little beside edges.
    result: npt.NDArray[np.float32] = np.maximum(lines, 0)
    return result


def count_photons(
    sinograms: Floats, counts: float, *, time: float = 1.0, rng: np.random.Generator | int | None = None
) -> npt.NDArray[np.float32]:
    """What a detector that counts photons measures in a part of the full time.

    Parameters
    ----------
    sinograms : array, any shape
        Expected intensities, none negative.
    counts : float
        Mean of the expected photons in the full time, over all of `sinograms`.
    time : float
        Part of the full time, such as 1, 0.7 or 0.2.
    rng : Generator or int, optional
        Source of randomness.

    Returns
    -------
    array of float32
        Poisson counts, scaled to the units of `sinograms`: right in the mean, and with a variance that
        grows as 1 / `time`.

    Raises
    ------
    LowdoseError
        If an intensity is negative or not finite, or `counts` or `time` is not positive.
    """
    expected = np.asarray(sinograms, dtype=np.float64)
    if not np.isfinite(expected).all() or expected.min(initial=0) < 0 or not expected.any():
        raise LowdoseError(
            "sinograms",
            found="negative values, values that are not finite, or none above 0",
            expected="finite intensities from 0 up",
            way_out="Make them with channel_sinograms.",
        )
    if not (0 < counts < np.inf and 0 < time < np.inf):
        raise LowdoseError(
            "counts, time",
            found=(counts, time),
            expected="positive numbers",
            way_out="time 1 is the full time.",
        )
    photons = counts * time / expected.mean()
    counted: npt.NDArray[np.int64] = np.random.default_rng(rng).poisson(expected * photons)
    result: npt.NDArray[np.float32] = (counted / photons).astype(np.float32)
    return result
