"""A tile cut out of a pillar shows the pillar, where the tile lies."""

import numpy as np
import pytest
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.optics import Optics
from lowdose_utils.holography.pillar import image_part
from lowdose_utils.mosaic import Placement, placement_error, register

VOXEL = 0.2
ANGLES = np.arange(32) * np.pi / 32
pytestmark = pytest.mark.usefixtures("one_thread")


def pillar(height: int = 72, width: int = 32) -> np.ndarray:
    """Blobs in a cylinder that ends within the volume, electrons per cubic nanometre."""
    z, y, x = (
        np.indices((height, width, width)) - (np.array([height, width, width]) - 1)[:, None, None, None] / 2
    )
    blobs = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(z.shape), 1.5)
    inside = (np.hypot(y, x) < 0.4 * width) & (abs(z) < height / 2 - 3)
    return np.where(inside, 420 + 60 * blobs / blobs.std(), 0).astype(np.float32)


def test_a_tile_is_the_pillar_there():
    drawn = pillar()
    place = Placement.at((2.5, 0.1, -0.05), 1.003 * VOXEL, (0.02, 0, 0))
    tile = image_part(
        drawn, VOXEL, place, (28, 32, 32), Optics.four(VOXEL * 1e-6), ANGLES, 1e5, rng=1, device="cpu"
    )
    assert tile.shape == (28, 32, 32)
    whole = Placement.at((0, 0, 0), VOXEL)
    stage = Placement.at((2.3, 0, 0), VOXEL)
    found = register([drawn, tile], [whole, stage], reach=2).placements[1]
    assert placement_error(stage, place, tile.shape, (whole, whole)) > 0.9
    assert placement_error(found, place, tile.shape, (whole, whole)) < 0.3  # at the worst corner
    assert np.abs(found.offset - place.offset).max() < 0.06 * VOXEL


def test_what_is_no_pillar_is_refused():
    optics = Optics.four(VOXEL * 1e-6)
    with pytest.raises(LowdoseError, match="as many columns"):
        image_part(pillar(), VOXEL, Placement.at((0, 0, 0), VOXEL), (20, 32, 30), optics, ANGLES, 1e4)
