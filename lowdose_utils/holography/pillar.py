"""A scan of one part of a pillar that runs on beyond the field of view, as a tile of a mosaic."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.gridding import even_fast
from lowdose_utils.holography.align import register, rescale
from lowdose_utils.holography.camera import Camera
from lowdose_utils.holography.matter import projected_phase
from lowdose_utils.holography.model import Model
from lowdose_utils.holography.optics import Optics
from lowdose_utils.holography.refine import refine
from lowdose_utils.holography.scan import central, density_of
from lowdose_utils.holography.simulate import expose
from lowdose_utils.mosaic.tiles import Placement, as_coarse
from lowdose_utils.project import check_angles

Floats = npt.NDArray[np.float32]
CHUNK = 12  # angles exposed together


def image_part(
    density: npt.ArrayLike,
    voxel_um: float,
    place: Placement,
    shape: tuple[int, int, int],
    optics: Optics,
    angles: npt.ArrayLike,
    photons: float,
    *,
    delta_beta: float = 9.0,
    rng: int = 0,
    device: str | torch.device = "auto",
) -> Floats:
    """What a microscope makes of the part of a pillar that lies before it.

    The pillar's axis is the rotation axis, or nearly so. Above and below, it runs out of the field, which
    reaches farther than the tile by the fringes' spread; beyond, holograms are continued by their mirror
    images. Distances lie off one another; they are registered with a taper, since the mirror images move
    against them. Exposures of one distance do not shake here: to find that, the whole sample must be in view
    (`align.align_angles`). The waves are on the grid of the tile's voxels.

    Parameters
    ----------
    density : array (z, y, x)
        The pillar, electrons per cubic nanometre, its middle at the sample's origin, air at its borders.
    voxel_um : float
        Of `density`.
    place : Placement
        Where the tile truly lies.
    shape : (int, int, int)
        Slices, rows and columns of the tile, wide enough for the pillar.
    optics : Optics
        Its voxel is the tile's by name; the true one is `place.scale`.
    angles : array (angle,)
        Radians.
    photons : float
        Counts per detector pixel and exposure in the open beam.
    delta_beta : float
        Of the sample, and known.
    rng : int
        Seed.
    device : str or torch.device

    Returns
    -------
    float32 array of `shape`
        Electrons per cubic nanometre.

    Raises
    ------
    LowdoseError
        If shapes or numbers do not fit.
    """
    pillar, theta = np.asarray(density, np.float32), check_angles(angles)
    slices, width = shape[0], shape[2]
    if pillar.ndim != 3 or shape[1] != width or min(shape) < 8 or not voxel_um > 0:
        raise LowdoseError(
            "density, voxel_um, shape",
            found=f"{pillar.shape}, {voxel_um}, {shape}",
            expected="(z, y, x), a length in um, and slices, rows and as many columns, 8 at least",
            way_out="The tile's shape is that of its volume.",
        )
    whole = Placement.at((0, 0, 0), voxel_um)
    # All of the pillar, however far the tile lies from its middle, on the tile's own voxels.
    height = len(pillar) * voxel_um / 2 + abs(float(place.offset[0]))
    rows = even_fast(2 * height / place.scale + 2)
    spline = ndimage.spline_filter(pillar, order=3, output=np.float32)
    spline = as_coarse(spline, place.scale / voxel_um)
    seen = np.empty((rows, width, width), np.float32)
    y, x = np.meshgrid(np.arange(width), np.arange(width), indexing="ij")
    for z in range(rows):
        voxels = np.stack([np.full_like(y, z), y, x], axis=-1)
        points = whole.to_voxels(place.to_sample(voxels, seen.shape), pillar.shape)
        seen[z] = ndimage.map_coordinates(spline, points.reshape(-1, 3).T, order=3, prefilter=False).reshape(
            width, width
        )
    phase = projected_phase(np.maximum(seen, 0), theta, optics.wavelength, optics.voxel_size, device=device)

    still = Camera(2, photons, jitter=0.0)
    columns = even_fast(optics.needed_columns(width, still.wander))
    camera = Camera(even_fast(optics.needed_columns(max(rows, width), still.wander)), photons, jitter=0.0)
    field = min(even_fast(optics.needed_columns(slices)), camera.columns)
    taken = [
        central(
            expose(
                phase[first : first + CHUNK],
                optics,
                camera,
                finer=1,
                delta_beta=delta_beta,
                which=range(first, min(first + CHUNK, len(theta))),
                of=len(theta),
                rng=rng,
                device=device,
            ).images,
            field,
            columns,
        )
        for first in range(0, len(theta), CHUNK)
    ]
    images = rescale(np.concatenate(taken, axis=1), optics, device=device)
    before = (min(even_fast(1.6 * field), 2 * field) - field) // 2
    images = np.pad(images, ((0, 0), (0, 0), (before, before), (0, 0)), mode="symmetric")
    taper = np.pad(np.hanning(field), before).astype(np.float32)[:, None]
    size = (field + 2 * before, columns)
    shifts = register(1 + (images - 1) * taper, Model(optics, size, delta_beta=delta_beta, device=device))
    exact = Model(
        optics,
        size,
        delta_beta=delta_beta,
        exact=True,
        source=camera.source,
        detector_blur=camera.detector_blur,
        device=device,
    )
    found = refine(images, exact, shifts=shifts, registrations=0).phase
    return density_of(found, theta, optics, size=width, slices=slices, device=device)
