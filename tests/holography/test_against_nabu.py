"""Single distances against nabu (gitlab.esrf.fr/tomotools/nabu, MIT licence), where it is installed."""

import numpy as np
import pytest

from lowdose_utils.holography import Optics
from lowdose_utils.holography.model import Model
from lowdose_utils.holography.retrieve import ctf, paganin

pytest.importorskip("nabu")
SIDE = 128


@pytest.fixture(scope="module")
def hologram():
    """A blob that fades at the border, where the two packages continue images differently, and noise."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    rng = np.random.default_rng(0)
    waves = 0.2 * np.sin(x / 3) * np.cos(y / 4) * np.exp(-(x**2 + y**2) / 500)
    return (1 + waves + 0.01 * rng.standard_normal((SIDE, SIDE))).astype(np.float32)


def test_transfer_function(hologram):
    from nabu.preproc.ctf import CTFPhaseRetrieval, GeoPars

    optics = Optics.four(120e-9, distances=1)
    nearest = optics.focus_distances[0]
    geometry = GeoPars(
        z1_vh=nearest,
        z2=optics.focus_to_detector - nearest,
        pix_size_det=optics.detector_pixel,
        wavelength=optics.wavelength,
    )
    theirs = CTFPhaseRetrieval((SIDE, SIDE), geometry, 9.0, padded_shape=None, lim1=1e-5, lim2=0.2)
    wanted = theirs.retrieve_phase(hologram)
    model = Model(optics, (SIDE, SIDE), delta_beta=9.0, device="cpu")
    found = ctf(hologram[None, None], model)[0]
    assert np.abs(found - wanted).max() < 1e-4 * np.ptp(wanted)


def test_paganin(hologram):
    from nabu.preproc.phase import PaganinPhaseRetrieval

    optics = Optics.four(120e-9, distances=1)
    theirs = PaganinPhaseRetrieval(
        (SIDE, SIDE),
        distance=optics.effective_distances[0],
        energy=optics.energy_kev,
        delta_beta=9.0,
        pixel_size=optics.voxel_size,
        padding="symmetric",
    )
    doubled = np.pad(hologram, SIDE // 2, "symmetric")
    wanted = 9.0 / 2 * np.log(theirs.retrieve_phase(hologram))
    model = Model(optics, doubled.shape, delta_beta=9.0, device="cpu")
    found = paganin(doubled[None, None], model, limit=0.0)[0]
    inner = slice(SIDE // 2, SIDE // 2 + SIDE)
    found = found[inner, inner]
    assert np.abs(found - wanted).max() < 1e-3 * np.ptp(wanted)
