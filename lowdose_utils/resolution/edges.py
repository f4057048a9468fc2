"""Edges: profiles across them, along a rim or an outline, and their width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize, special
from skimage.measure import find_contours

from lowdose_utils.errors import LowdoseError
from lowdose_utils.resolution.checks import Floats


@dataclass(frozen=True)
class Edge:
    """A blurred step fitted to a profile; lengths in pixels.

    Attributes
    ----------
    width : float
        From 10 to 90 per cent of the step, 2.563 sigma.
    fwhm : float
        Full width at half maximum of the line spread, 2.355 sigma.
    position : float
        Where the step is half done, in samples of the profile times its spacing.
    contrast : float
        Height of the step, signed.
    residual : float
        Root mean square misfit over the height: above about 0.1 the profile is no single edge.
    """

    width: float
    fwhm: float
    position: float
    contrast: float
    residual: float


def edge_width(profile: npt.ArrayLike, spacing: float = 1.0) -> Edge:
    """Width of an edge: least-squares fit of an error function, a step blurred by a Gaussian.

    Parameters
    ----------
    profile : array, shape (samples,)
        Values across one edge, with some of the plateau on both sides (see `disc_profile`).
    spacing : float
        Pixels between samples.

    Raises
    ------
    LowdoseError
        If the profile has fewer than 6 samples, is flat, or no error function fits.
    """
    values = np.asarray(profile, dtype=np.float64)
    if values.ndim != 1 or values.size < 6 or not np.isfinite(values).all() or np.ptp(values) == 0:
        raise LowdoseError(
            "profile",
            found=f"shape {values.shape}, not finite or flat",
            expected="6 samples or more across an edge",
            way_out="Sample farther to both sides of the edge.",
        )
    place = np.arange(values.size) * spacing

    def step(
        at: npt.NDArray[np.floating], base: float, height: float, position: float, sigma: float
    ) -> Floats:
        blurred: Floats = base + height / 2 * (1 + special.erf((at - position) / (np.sqrt(2) * abs(sigma))))
        return blurred

    start = (
        values[0],
        values[-1] - values[0],
        place[np.abs(np.diff(values)).argmax()] + spacing / 2,
        spacing,
    )
    try:
        (base, height, position, sigma), _ = optimize.curve_fit(step, place, values, p0=start, maxfev=5000)
    except RuntimeError as error:
        raise LowdoseError(
            "profile",
            found="no error function that fits",
            expected="one edge between two plateaus",
            way_out="Look at the profile; average more of them if it is noisy.",
        ) from error
    misfit = np.sqrt(np.mean((step(place, base, height, position, sigma) - values) ** 2)) / max(
        abs(height), 1e-300
    )
    sigma = abs(sigma)
    width = 2 * np.sqrt(2) * special.erfinv(0.8) * sigma
    fwhm = 2 * np.sqrt(2 * np.log(2)) * sigma
    return Edge(float(width), float(fwhm), float(position), float(height), float(misfit))


def disc_profile(
    image: npt.ArrayLike, centre: tuple[float, float], radius: float, reach: float, spacing: float = 0.25
) -> Floats:
    """Mean profile across the rim of a disc, along its normals, from inside to outside.

    Parameters
    ----------
    image : array, shape (row, column)
    centre : (row, column), radius : float
        The disc, in pixels.
    reach : float
        Pixels to sample on each side of the rim.
    spacing : float
        Pixels between samples (give the same to `edge_width`); cubic interpolation.

    Returns
    -------
    array, shape (samples,)
        Sample i lies ``radius - reach + i * spacing`` from the centre.
    """
    plane = np.asarray(image, dtype=np.float64)
    away = np.arange(radius - reach, radius + reach + spacing / 2, spacing)
    turn = np.linspace(0, 2 * np.pi, max(int(2 * np.pi * radius), 16), endpoint=False)[:, None]
    rows, columns = centre[0] + away * np.sin(turn), centre[1] + away * np.cos(turn)
    if plane.ndim != 2 or away[0] < 0 or not _covers(plane.shape, rows, columns):
        raise LowdoseError(
            "disc",
            found=f"centre {centre}, radius {radius}, reach {reach} in shape {plane.shape}",
            expected="a rim with its reach inside a (row, column) image",
            way_out="Use a smaller reach.",
        )
    return np.asarray(ndimage.map_coordinates(plane, [rows, columns], order=3).mean(axis=0))


def contour_profile(image: npt.ArrayLike, level: float, reach: float, spacing: float = 0.25) -> Floats:
    """Mean profile across the longest outline of a sample, along its normals, from inside to outside.

    Parameters
    ----------
    image : array, shape (row, column)
        The sample is brighter than what surrounds it.
    level : float
        Grey value of the outline, between the two.
    reach : float
        Pixels to sample on each side.
    spacing : float
        Pixels between samples (give the same to `edge_width`); cubic interpolation.

    Returns
    -------
    array, shape (samples,)
        The median over the outline's points: stretches with something else close by count little.

    Raises
    ------
    LowdoseError
        If there is no outline at that level whose reach stays inside the image.

    Notes
    -----
    Outline and normals come from a copy smoothed by 2 px, so that noise does not draw the line along which
    its own edge is then averaged.
    """
    plane = np.asarray(image, dtype=np.float64)
    smooth = ndimage.gaussian_filter(plane, 2)
    outlines = find_contours(smooth, level)
    points = max(outlines, key=len) if outlines else np.empty((0, 2))
    slope = np.stack([ndimage.map_coordinates(g, points.T, order=1) for g in np.gradient(smooth)], axis=-1)
    steep = np.linalg.norm(slope, axis=1, keepdims=True)
    normals = -slope / np.maximum(steep, 1e-30)  # down the slope: outwards
    away = np.arange(-reach, reach + spacing / 2, spacing)
    rows, columns = (points[:, axis, None] + away * normals[:, axis, None] for axis in (0, 1))
    if not len(points) or not _covers(plane.shape, rows, columns):
        raise LowdoseError(
            "level",
            found=f"{level:g}, with {len(points)} points of an outline in shape {plane.shape}",
            expected="an outline that stays farther than its reach from the image's border",
            way_out="Choose a level between sample and surroundings, or a smaller reach.",
        )
    return np.asarray(np.median(ndimage.map_coordinates(plane, [rows, columns], order=3), axis=0))


def _covers(shape: tuple[int, ...], rows: Floats, columns: Floats) -> bool:
    return bool(
        min(rows.min(), columns.min()) >= 0 and rows.max() <= shape[0] - 1 and columns.max() <= shape[1] - 1
    )
