"""The simulated microscope, against what its steps must give in the mean."""

import numpy as np
import pytest
from scipy import ndimage

from lowdose_utils import acquire
from lowdose_utils.errors import LowdoseError
from lowdose_utils.exposures import line_integrals, matching_views
from lowdose_utils.microscope import Microscope
from lowdose_utils.readers import Scan
from lowdose_utils.registration import find_shifts

STILL = {"blur": 0.0, "falloff": 0.0, "wander": 0.0, "jitter": 0.0, "read_noise": 0.0}
ANGLES = np.deg2rad([0.0, 30.0, 60.0])


def blobs(seed=0, shape=(3, 64, 80), size=3.0):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), (0, size, size))
    return (0.1 + 0.05 * smooth / smooth.std()).clip(0).astype(np.float32)


def test_counts_are_those_of_beer_and_lambert():
    lines = np.full((3, 40, 40), 0.7, np.float32)
    scan = Microscope(photons=100, dark=50, **STILL).expose(lines, ANGLES, 4.0, rng=0).scan
    signal = scan.projections - 50
    assert signal.mean() == pytest.approx(400 * np.exp(-0.7), rel=0.01)
    assert signal.var() == pytest.approx(400 * np.exp(-0.7), rel=0.05)  # Poisson
    assert scan.flats.mean() == pytest.approx(450, rel=0.01)
    assert np.all(scan.darks == 50)


def test_corrected_counts_give_the_lines_back():
    lines = blobs()
    microscope = Microscope(photons=1e7, read_noise=2, blur=0, wander=0, jitter=0)
    found = line_integrals(microscope.expose(lines, ANGLES, 1.0, rng=1).scan)
    np.testing.assert_allclose(found, lines, atol=3e-3)


def test_fifteen_times_the_exposure_has_a_fifteenth_of_the_variance():
    lines = np.full((6, 50, 50), 0.3, np.float32)
    theta = np.arange(6) * 0.1
    noise = [
        line_integrals(Microscope(photons=500, **STILL).expose(lines, theta, t, flats=400, rng=2).scan).var()
        for t in (2.0, 30.0)
    ]
    assert noise[0] / noise[1] == pytest.approx(15, rel=0.08)


def test_binning_adds_intensities_not_line_integrals():
    lines = np.zeros((1, 2, 2), np.float32)
    lines[0, 0] = 2.0
    scan = Microscope(photons=1e8, dark=0, **STILL).expose(lines, [0.0], 1.0, binning=2, rng=0).scan
    assert scan.projections[0, 0, 0] / 1e8 == pytest.approx((1 + np.exp(-2)) / 2, rel=1e-3)


def test_the_sample_is_where_the_shifts_say():
    lines = blobs(1)
    microscope = Microscope(photons=1e8, **{**STILL, "jitter": 0.5})
    exposed = microscope.expose(lines, ANGLES, 1.0, shift=(1.5, -2.0), rng=3)
    assert np.abs(exposed.shifts - [1.5, -2.0]).max() < 2.5
    moved, _ = acquire.misalign(lines, exposed.shifts)
    inner = np.s_[:, 8:-8, 8:-8]
    np.testing.assert_allclose(line_integrals(exposed.scan)[inner], moved[inner], atol=3e-3)


def test_the_spot_is_darker_in_the_corners_and_wanders():
    nothing = np.zeros((3, 64, 64), np.float32)
    plain = Microscope(photons=1e6, **{**STILL, "falloff": 0.4}).expose(nothing, ANGLES, 1.0, rng=0).scan
    flat = plain.flats.mean(0) - 100
    corner = flat[[0, 0, -1, -1], [0, -1, 0, -1]].mean()
    assert corner / flat[31:33, 31:33].mean() == pytest.approx(0.6, abs=0.02)
    assert line_integrals(plain).std() < 3e-3
    wandering = Microscope(photons=1e6, **{**STILL, "falloff": 0.4, "wander": 0.05})
    assert line_integrals(wandering.expose(nothing, ANGLES, 1.0, rng=0).scan).std() > 5e-3


def test_shrinking_keeps_the_mass_and_moves_outlines_inwards():
    lines = np.zeros((2, 81, 81), np.float32)
    y, x = np.indices((81, 81)) - 40
    lines[:, np.hypot(y, x) < 20] = 0.05
    microscope = Microscope(photons=1e9, shrinkage=0.1, **STILL)
    fresh, aged = line_integrals(microscope.expose(lines, [0.0, 0.1], 1000.0, rng=0).scan)
    assert aged.sum() == pytest.approx(fresh.sum(), rel=0.01)
    widths = [np.sqrt((image > image.max() / 2).sum()) for image in (fresh, aged)]
    assert widths[1] / widths[0] == pytest.approx(0.9, abs=0.01)


def test_fading_blurs_with_the_dose():
    lines = np.zeros((2, 41, 41), np.float32)
    lines[:, :, 20:] = 0.05
    microscope = Microscope(photons=1e10, fading=2.0, **STILL)
    fresh, aged = line_integrals(microscope.expose(lines, [0.0, 0.1], 1000.0, rng=0).scan)
    slope = np.diff(aged[20]).max() / 0.05
    assert np.diff(fresh[20]).max() / 0.05 == pytest.approx(1, abs=0.01)
    assert slope == pytest.approx(1 / (2 * np.sqrt(2 * np.pi)), rel=0.05)


@pytest.mark.parametrize("wrong", [{"photons": 0.0}, {"falloff": 1.0}, {"jitter": -1.0}, {"blur": np.nan}])
def test_impossible_microscopes_are_refused(wrong):
    with pytest.raises(LowdoseError, match="microscope"):
        Microscope(**wrong)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"binning": 3}, "lines, angles, binning"),
        ({"angles": [0.0]}, "lines, angles, binning"),
        ({"seconds": 0.0}, "seconds"),
        ({"flats": 0}, "seconds"),
    ],
)
def test_impossible_exposures_are_refused(how, message):
    given = {"lines": blobs(), "angles": ANGLES, "seconds": 1.0, **how}
    with pytest.raises(LowdoseError, match=message):
        Microscope().expose(**given)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_known_shifts_are_found(noise):
    rng = np.random.default_rng(4)
    images = blobs(2, (5, 72, 90))
    shifts = rng.uniform(-4, 4, (5, 2))
    moved, _ = acquire.misalign(images, shifts)
    found = find_shifts(
        images + noise * rng.standard_normal(images.shape), moved + noise * rng.standard_normal(images.shape)
    )
    assert np.abs(found - shifts).max() < (0.06 if noise == 0 else 0.25)


def test_shifts_are_unmoved_by_an_uneven_beam():
    images = blobs(3)
    shifts = np.array([[1.2, -0.7], [0.0, 2.5], [-3.1, 0.4]])
    moved, _ = acquire.misalign(images, shifts)
    y, x = np.indices(images.shape[1:]) / 80
    assert np.abs(find_shifts(images + 0.2 * y, moved + 0.3 * x**2) - shifts).max() < 0.1


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(LowdoseError, match="fixed, moving"):
        find_shifts(blobs(), blobs()[:2])
    with pytest.raises(LowdoseError, match="not all finite"):
        find_shifts(blobs(), np.full_like(blobs(), np.nan))


def scan(count=12, shape=(4, 6), values="line_integral", turned=0.0, **fields):
    angles = np.arange(count) * np.pi / count + turned
    data = np.random.default_rng(0).random((count, *shape)).astype(np.float32)
    return Scan(projections=data, angles=angles, provenance={"values": values}, **fields)


def test_partners_are_found_by_angle():
    low = scan()
    high = Scan(projections=low.projections[[5, 2]], angles=low.angles[[5, 2]] + 0.01)
    assert matching_views(low, high) == [5, 2]


def test_a_projection_without_partner_is_named():
    with pytest.raises(LowdoseError, match=r"projection 0: found 0*7\.500 deg, 7\.500 deg from its nearest"):
        matching_views(scan(), scan(turned=np.deg2rad(7.5)))


def test_other_pixels_are_refused():
    with pytest.raises(LowdoseError, match="same pixels"):
        matching_views(scan(), scan(shape=(4, 7)))


def test_line_integrals_of_what_a_scan_says_it_is():
    lines = scan()
    np.testing.assert_array_equal(line_integrals(lines), lines.projections)
    through = scan(values="transmission")
    np.testing.assert_allclose(line_integrals(through), -np.log(through.projections), rtol=1e-5)
    counted = scan(values="counts", flats=np.full((2, 4, 6), 2.0, np.float32))
    np.testing.assert_allclose(line_integrals(counted), -np.log(counted.projections / 2), rtol=1e-5)
    with pytest.raises(LowdoseError, match="open-beam fields"):
        line_integrals(scan(values="counts"))


def test_air_is_brought_to_one_in_each_projection():
    through = np.ones((2, 4, 10), np.float32)
    through[:, :, 3:7] = np.exp(-0.4)
    through *= np.array([0.5, 2.0], np.float32)[:, None, None]  # the beam's intensity
    given = Scan(projections=through, angles=np.arange(2.0), provenance={"values": "transmission"})
    found = line_integrals(given, air=2)
    np.testing.assert_allclose(found[:, :, 3:7], 0.4, atol=1e-6)
    np.testing.assert_allclose(found[:, :, [0, 9]], 0, atol=1e-6)


def test_exposure_before_the_scan_counts_as_dose():
    lines = np.zeros((1, 81, 81), np.float32)
    lines[:, 20:60, 20:60] = 0.05
    microscope = Microscope(photons=1e9, shrinkage=0.1, **STILL)
    widths = [
        (line_integrals(microscope.expose(lines, [0.0], 1.0, before=t, rng=0).scan)[0, 40] > 0.03).sum()
        for t in (0.0, 2000.0)
    ]
    assert widths[1] / widths[0] == pytest.approx(0.8, abs=0.03)


def test_jitter_has_its_size():
    microscope = Microscope(**{**STILL, "jitter": 0.3})
    lines = np.zeros((400, 4, 4), np.float32)
    shifts = microscope.expose(lines, np.zeros(400), 1.0, rng=0).shifts
    assert shifts.std() == pytest.approx(0.3, rel=0.08)


def test_without_noise_is_the_limit_of_many_photons():
    lines = blobs(5, (3, 60, 80))
    shifts = np.array([[0.4, -1.3], [0.0, 0.0], [2.0, 0.6]])
    still = Microscope(photons=1e11, **{**STILL, "blur": 0.7})
    views = still.without_noise(lines, binning=2, shifts=shifts)
    for one, view, shift in zip(lines, views, shifts, strict=True):
        scan = still.expose(one[None], [0.0], 1.0, binning=2, shift=tuple(shift), rng=0).scan
        np.testing.assert_allclose(line_integrals(scan)[0], view, atol=2e-4)
    assert still.without_noise(lines).shape == lines.shape
    with pytest.raises(LowdoseError, match="lines, angles, binning"):
        still.without_noise(lines, shifts=shifts[:2])
