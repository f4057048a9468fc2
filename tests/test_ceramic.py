"""The ceramic and its diffraction scan: shares and channels that add up, counts with Poisson's noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.data import Store
from lowdose_utils.errors import LowdoseError
from lowdose_utils.measure import psnr
from lowdose_utils.phantoms.ceramic import Ceramic, ceramic
from lowdose_utils.phantoms.diffraction import (
    PEAKS,
    Patterns,
    channel_images,
    channel_sinograms,
    count_photons,
    gaussian_patterns,
    measured_patterns,
    windows,
)
from lowdose_utils.reconstruct import fbp


@pytest.fixture(scope="module")
def sample() -> Ceramic:
    return ceramic(rng=1)


@pytest.fixture(scope="module")
def fractions(sample) -> np.ndarray:
    return sample.fractions(48)


def test_shares_add_up_to_the_solid_in_the_cylinder(sample, fractions):
    assert fractions.shape == (3, 5, 48, 48) and fractions.dtype == np.float32
    whole = fractions.sum(axis=1)
    assert fractions.min() == 0 and whole.max() <= 1 + 1e-5
    radius = np.hypot(*(np.indices((48, 48)) - 23.5)) / 24
    assert not whole[:, radius > 0.9 + 0.03].any()
    # Five per cent of the grains are pores; a slice has few of them.
    assert 0.8 < whole[:, radius < 0.87].mean() < 1
    solid = ceramic(porosity=0.0, rng=1).fractions(48).sum(axis=1)
    assert solid[:, radius < 0.87] == pytest.approx(1, abs=1e-5)
    assert solid[0].sum() == pytest.approx(np.pi * (0.9 * 24) ** 2, rel=5e-3)


def test_a_pixel_belongs_to_the_nearest_grain():
    # y is up, so the first grain is at the top; the last is a pore.
    made = Ceramic(1.0, np.array([[0, 0.5, 0.0], [0, -0.5, 0.25], [0, -0.5, -0.25]]), np.array([0, 1, -1]), 2)
    shares = made.fractions(40, 1)[0]
    assert (shares[0, 4:19, 15:25] == 1).all() and not shares[0, 24:, 12:28].any()
    assert (shares[1, 24:35, 20:28] == 1).all() and not shares[1, :16, 12:28].any()
    assert not shares[:, 24:, 12:20].any()


def test_slices_differ_with_their_distance_and_finer_points_are_parts(sample, fractions):
    assert (fractions[0] != fractions[1]).any()
    far = sample.fractions(48, spacing=3.0)
    assert (far[1] == fractions[1]).all()
    near, away = (np.abs(stack[0] - stack[1]).mean() for stack in (fractions, far))
    assert away > 1.5 * near
    fine = sample.fractions(48, finer=2)
    assert fine.shape == (3, 5, 96, 96)
    assert np.abs(fine.reshape(3, 5, 48, 2, 48, 2).mean(axis=(3, 5)) - fractions).mean() < 0.01


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.floats(0, 1), min_size=1, max_size=5).filter(lambda shares: sum(shares) > 0.1),
)
def test_grains_are_dealt_out_in_the_shares_asked_for(seed, shares):
    made = ceramic(len(shares), 300, shares=shares, porosity=0.1, rng=seed)
    dealt = np.bincount(made.phases + 1, minlength=len(shares) + 1)
    assert dealt[0] == 30 and dealt.sum() == 300
    assert dealt[1:] == pytest.approx(270 * np.array(shares) / sum(shares), abs=1)
    assert np.hypot(made.seeds[:, 1], made.seeds[:, 2]).max() <= 0.9 + 1e-9
    assert np.abs(made.seeds[:, 0]).max() <= 0.15


def test_same_seed_same_ceramic_only(sample, fractions):
    assert (ceramic(rng=1).fractions(48) == fractions).all()
    assert (ceramic(rng=2).fractions(48) != fractions).any()


def test_gaussian_patterns_have_their_peaks():
    patterns = gaussian_patterns()
    assert patterns.names == tuple(PEAKS) and patterns.intensities.shape == (5, 250)
    assert (patterns.q[0], patterns.q[-1]) == (2.1, pytest.approx(4.59))
    one = gaussian_patterns(np.linspace(1, 3, 2001), peaks={"X": {2.0: 3.0}}, width=0.05, background=0.5)
    assert one.q[one.intensities[0].argmax()] == pytest.approx(2.0)
    assert one.intensities[0].max() == pytest.approx(3.5)
    area = (one.intensities[0] - 0.5).sum() * 1e-3
    assert area == pytest.approx(3 * 0.05 * np.sqrt(2 * np.pi), rel=1e-3)


def test_measured_patterns(real_data):
    path = real_data("xrd_patterns/Patterns.h5")
    patterns = measured_patterns(replace(Store.default(), folder=path.parents[1]))
    assert patterns.names == ("Al", "Cu", "Fe", "Pt", "Zn") and patterns.intensities.shape == (5, 250)
    with h5py.File(path) as file:
        assert (patterns.intensities[1] == file["Cu"][:]).all() and (patterns.q == file["q"][:]).all()
    # Cubic face-centred aluminium, a = 4.05 angstrom: its 111 line.
    assert patterns.q[patterns.intensities[0].argmax()] == pytest.approx(2 * np.pi * 3**0.5 / 4.05, abs=0.05)
    assert (windows(patterns).max(axis=1) > 0).all()


def test_windows_keep_every_count():
    patterns = gaussian_patterns()
    for edges in (11, 1, 250):
        scattering = windows(patterns, edges)
        assert scattering.shape == (5, edges)
        assert scattering.sum(axis=1) == pytest.approx(patterns.intensities.sum(axis=1))
    chosen = windows(patterns, [2.5, 3.0, 4.0])
    inside = (patterns.q >= 3.0) & (patterns.q < 4.0)
    assert chosen[:, 1] == pytest.approx(patterns.intensities[:, inside].sum(axis=1))
    # With eleven windows the phases can be told apart.
    assert np.linalg.cond(windows(patterns)) < 30


def test_channels_are_sums_of_phases(fractions):
    scattering = windows(gaussian_patterns())
    images = channel_images(fractions, scattering)
    assert images.shape == (3, 11, 48, 48) and images.dtype == np.float32
    expected = sum(fractions[1, p, 20, 30] * scattering[p] for p in range(5))
    assert images[1, :, 20, 30] == pytest.approx(expected, rel=1e-5)
    solved = np.linalg.lstsq(scattering.T, images[2].reshape(11, -1), rcond=None)[0]
    assert solved.reshape(5, 48, 48) == pytest.approx(fractions[2], abs=1e-4)


def test_sinograms_are_those_of_the_channels(sample, fractions):
    scattering, angles = windows(gaussian_patterns(), 3), np.linspace(0, np.pi, 90, endpoint=False)
    images = channel_images(fractions, scattering)
    sinograms = channel_sinograms(images, angles, device="cpu")
    assert sinograms.shape == (3, 3, 90, 48) and sinograms.min() >= 0
    assert sinograms[:, :, 0] == pytest.approx(images.sum(axis=2), abs=0.01 * float(sinograms.max()))
    mass = images.sum(axis=(2, 3), dtype=float)
    assert sinograms.sum(axis=3) == pytest.approx(np.repeat(mass[..., None], 90, 2), rel=5e-3)
    finer = channel_sinograms(
        channel_images(sample.fractions(48, finer=2), scattering), angles, finer=2, device="cpu"
    )
    assert finer.shape == sinograms.shape
    assert finer == pytest.approx(sinograms, abs=0.03 * float(sinograms.max()))
    for s in range(2):
        for c in range(3):
            found = fbp(finer[s, c][None], angles, device="cpu")[0]
            assert psnr(found, images[s, c], float(images.max())) > 20


@pytest.mark.parametrize("time", [1.0, 0.7, 0.2])
def test_counts_are_poissons(time):
    expected = np.linspace(0, 6, 7)[:, None] * np.ones((7, 40000))
    measured = count_photons(expected, 30.0, time=time, rng=0)
    assert measured.dtype == np.float32
    photons = 30 * time / 3
    assert measured.mean(axis=1) == pytest.approx(expected[:, 0], rel=0.01, abs=1e-9)
    assert measured.var(axis=1) * photons == pytest.approx(expected[:, 0], rel=0.04, abs=1e-9)
    counts = measured * photons
    assert np.abs(counts - np.round(counts)).max() < 1e-3
    assert (count_photons(expected, 30.0, time=time, rng=0) == measured).all()
    assert (count_photons(expected, 30.0, time=time, rng=1) != measured).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"phases": 0}, "at least one phase"),
        ({"shares": [1.0, 2.0]}, "phases, shares"),
        ({"shares": [0.0] * 5}, "phases, shares"),
        ({"shares": [1.0, 1.0, 1.0, 1.0, -1.0]}, "phases, shares"),
        ({"grains": 4}, "at least 5"),
        ({"porosity": 1.0}, "porosity"),
        ({"radius": 1.2}, "radius"),
        ({"height": 0.0}, "height"),
    ],
)
def test_ceramics_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(LowdoseError, match=message):
        ceramic(**{"rng": 0, **wrong})


def test_requests_that_make_no_sense_are_refused(sample, fractions, tmp_path: Path):
    for wrong in ({"size": 0}, {"slices": 0}, {"finer": 0}, {"supersample": 0}, {"spacing": np.nan}):
        with pytest.raises(LowdoseError, match="size, slices, finer, supersample, spacing"):
            sample.fractions(**{"size": 8, **wrong})
    for wrong in ({"q": [2.0, 2.0]}, {"q": [3.0]}, {"width": 0.0}):
        with pytest.raises(LowdoseError, match="q, width"):
            gaussian_patterns(**wrong)
    patterns = Patterns(("X",), np.linspace(2, 3, 11), np.ones((1, 11)))
    for edges in (0, 12, [2.0], [2.5, 2.4], [2.51, 2.52], [3.5, 3.6]):
        with pytest.raises(LowdoseError, match="edges"):
            windows(patterns, edges)
    store = Store.default()
    with pytest.raises(LowdoseError, match="xrd_patterns"):
        measured_patterns(replace(store, folder=tmp_path, registry=replace(store.registry, urls={})))
    with pytest.raises(LowdoseError, match="shapes of fractions and scattering"):
        channel_images(fractions, np.ones((4, 11)))
    images = channel_images(fractions, np.ones((5, 2)))
    for wrong_images, finer in ((images[..., 1:], 1), (images[0], 1), (images, 5), (images, 0)):
        with pytest.raises(LowdoseError, match="shape of images, finer"):
            channel_sinograms(wrong_images, [0.0], finer=finer)
    with pytest.raises(LowdoseError, match="angles"):
        channel_sinograms(images, [np.inf], device="cpu")
    for sinograms in ([-1.0, 2.0], [np.nan, 1.0], [0.0, 0.0]):
        with pytest.raises(LowdoseError, match="sinograms"):
            count_photons(np.array(sinograms), 10.0)
    for counts, time in ((0.0, 1.0), (10.0, 0.0), (np.inf, 1.0)):
        with pytest.raises(LowdoseError, match="counts, time"):
            count_photons(np.ones(3), counts, time=time)
