"""A small object in one phase, and a microscope for it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from lowdose_utils.holography import Optics
from lowdose_utils.holography.camera import Camera

VOXEL = 200e-9


@dataclasses.dataclass(frozen=True)
class Blobs:
    """A ball of resin with denser balls, as a tissue: `draw` gives the same object on any grid."""

    columns: int = 40
    slices: int = 40
    voxel_um: float = VOXEL * 1e6
    seed: int = 0

    def draw(self, part: slice = slice(None), *, finer: int = 1):
        rng = np.random.default_rng(self.seed)
        rows = range(self.slices)[part]
        places = (np.arange(finer * rows.start, finer * rows.stop) + 0.5) / finer - self.slices / 2
        across = (np.arange(finer * self.columns) + 0.5) / finer - self.columns / 2
        z, y, x = np.meshgrid(places, across, across, indexing="ij", sparse=True)

        def ball(centre, radius):
            away = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
            return np.clip(0.5 + finer * (radius - away), 0, 1)

        density = 390.0 * ball((0, 0, 0), 0.45 * self.columns)
        for _ in range(25):
            centre = rng.uniform(-0.25, 0.25, 3) * self.columns
            density = density + 150.0 * ball(centre, rng.uniform(1.2, 3.0))
        return SimpleNamespace(density=density.astype(np.float32))


@pytest.fixture(scope="session")
def blobs():
    return Blobs()


@pytest.fixture(scope="session")
def optics():
    return Optics.four(VOXEL)


@pytest.fixture(scope="session")
def textured():
    """Phases (angle, 40, 40) that fade to 0 at their border, band-limited; radians."""
    rng = np.random.default_rng(1)
    y, x = np.indices((40, 40)) - 19.5
    window = np.clip((17 - np.hypot(y, x)) / 4, 0, 1)
    waves = [ndimage.gaussian_filter(rng.standard_normal((40, 40)), 1.2) for _ in range(3)]
    return np.stack([-(0.4 + 0.5 * np.clip(w / w.std(), -2, 2) / 4) * window for w in waves]).astype(
        np.float32
    )


@pytest.fixture
def still():
    """A camera without motion, blur and noise."""
    return Camera(128, float("inf")).crime()
