"""The phantom of spheres in a cube: placement as promised; volume, labels and projections belong together."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.errors import LowdoseError
from lowdose_utils.measure import psnr
from lowdose_utils.phantoms.spheres import Spheres, spheres
from lowdose_utils.reconstruct import fbp

ANGLES = np.array([0.0, 0.3, np.pi / 4, np.pi / 2, 2.2, np.pi, 3.9])


@pytest.fixture(scope="module")
def many() -> Spheres:
    """Ten times the paper's density, to have something everywhere."""
    return spheres(64, 20, diameters=(4.0, 11.0), rng=3)


def one(size: int = 48, centre: tuple[float, float, float] = (3.2, 8.1, -5.3), diameter: float = 9.4):
    return Spheres(size, 0.6 * size, np.array([centre]), np.array([diameter]))


def mass(phantom: Spheres) -> float:
    return 0.3 * phantom.side**3 + 0.7 * np.pi / 6 * (phantom.diameters**3).sum()


def hollow(phantom: Spheres) -> Spheres:
    """The same without its spheres."""
    return replace(phantom, centres=np.zeros((0, 3)), diameters=np.zeros(0))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 30),
    st.floats(1, 6),
    st.floats(0, 6),
    st.sampled_from([40.0, 60.0, 70.7]),
)
def test_spheres_neither_overlap_nor_leave_the_cube(seed, count, smallest, more, side):
    made = spheres(100, count, diameters=(smallest, smallest + more), side=side, rng=seed)
    radii = made.diameters / 2
    assert made.centres.shape == (count, 3) and radii.shape == (count,)
    assert ((made.diameters >= smallest) & (made.diameters <= smallest + more)).all()
    assert (np.abs(made.centres).max(axis=1, initial=0) + radii <= side / 2 + 1e-9).all()
    apart = np.linalg.norm(made.centres[:, None] - made.centres, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (apart >= radii[:, None] + radii - 1e-9).all()


def test_the_papers_phantom():
    made = spheres(rng=0)
    assert made.size == 512 and made.side == pytest.approx(307.2) and len(made.diameters) == 1000
    assert 4 <= made.diameters.min() < 4.1 and 19.9 < made.diameters.max() <= 20
    assert made.diameters.mean() == pytest.approx(12, abs=0.5)
    assert [len(spheres(size, rng=0).diameters) for size in (128, 256)] == [16, 125]


def test_same_seed_same_phantom_only():
    first, same, other = (spheres(64, 10, rng=seed) for seed in (4, 4, 5))
    assert (first.centres == same.centres).all() and (first.diameters == same.diameters).all()
    assert not np.allclose(first.centres, other.centres)


def test_every_projection_and_the_volume_have_the_whole_mass(many):
    projections = many.projections(ANGLES)
    assert projections.dtype == np.float32 and projections.shape == (7, 64, 64)
    assert projections.sum(axis=(1, 2), dtype=float) == pytest.approx(np.full(7, mass(many)), rel=1e-6)
    assert many.volume().sum(dtype=float) == pytest.approx(mass(many), rel=1e-4)


def test_projection_of_a_sphere_is_its_chord_averaged_over_pixels():
    phantom = one()
    seen = phantom.projections(ANGLES) - hollow(phantom).projections(ANGLES)
    fine = (np.arange(48 * 40) + 0.5) / 40 - 24
    z, y, x = phantom.centres[0]
    for angle, image in zip(ANGLES, seen, strict=True):
        across = fine - x * np.cos(angle) - y * np.sin(angle)
        chord = 2 * np.sqrt(np.maximum(4.7**2 - (fine[:, None] - z) ** 2 - across**2, 0))
        expected = 0.7 * chord.reshape(48, 40, 48, 40).mean(axis=(1, 3))
        assert image == pytest.approx(expected, abs=2e-3)


def test_projection_of_the_cube_is_a_squares_chord_averaged_over_columns():
    side, angles = 30.5, np.append(ANGLES, 1e-9)
    seen = Spheres(48, side, np.zeros((0, 3)), np.zeros(0)).projections(angles)
    fine = ((np.arange(48 * 400) + 0.5) / 400 - 24)[None]
    cosine, sine = np.abs(np.cos(angles))[:, None], np.abs(np.sin(angles))[:, None]
    # Ways along the ray to where it leaves the two pairs of sides.
    with np.errstate(divide="ignore"):
        lengths = ((side / 2 * (cosine + sine) - np.abs(fine)) / (cosine * sine), side / cosine, side / sine)
    chord = np.maximum(np.minimum.reduce(np.broadcast_arrays(*lengths)), 0)
    expected = 0.3 * chord.reshape(len(angles), 48, 400).mean(axis=2)
    assert seen[:, 24] == pytest.approx(expected, abs=2e-3)
    # The cube's faces cut the outermost rows, 8 and 39, at a quarter of their height.
    assert seen[:, 8] == pytest.approx(0.25 * seen[:, 24]) and seen[:, 39] == pytest.approx(seen[:, 8])
    assert not seen[:, :8].any() and not seen[:, 40:].any()


def test_volume_adds_up_to_the_projections_along_its_axes(many):
    volume, seen = many.volume(supersample=8), many.projections([0.0, np.pi / 2])
    assert seen[0] == pytest.approx(volume.sum(axis=1), abs=0.05)
    assert seen[1] == pytest.approx(volume.sum(axis=2)[:, ::-1], abs=0.05)


def test_labels_and_volume_agree(many):
    volume, labels = many.volume(), many.labels()
    assert volume.shape == labels.shape == (64, 64, 64)
    assert volume.dtype == np.float32 and labels.dtype == np.uint16
    assert (labels[volume == 0] == 0).all() and (labels[volume > 0.999] > 1).all()
    assert (labels[np.abs(volume - 0.3) < 1e-4] == 1).all()
    assert volume.min() == 0 and volume.max() <= 1 + 1e-6
    sizes = np.bincount(labels.ravel(), minlength=22)[2:]
    assert sizes == pytest.approx(np.pi / 6 * many.diameters**3, rel=0.15)
    for i, (z, y, x) in enumerate(many.centres):
        assert labels[round(z + 31.5), round(31.5 - y), round(x + 31.5)] == i + 2


@pytest.mark.parametrize(
    "part", [slice(20, 30), slice(31, 32), slice(None, None, 3), slice(-10, 5, -7), slice(60, 64)]
)
def test_parts_are_the_same_as_parts_of_the_whole(many, part):
    assert (many.volume(part) == many.volume()[part]).all()
    assert (many.labels(part) == many.labels()[part]).all()
    assert many.projections(ANGLES, part) == pytest.approx(many.projections(ANGLES)[:, part], abs=1e-5)


def test_blocks_are_parts_of_the_whole(many):
    rows, whole = slice(10, 40), many.projections(ANGLES, slice(10, 40))
    together = np.full_like(whole, np.nan)
    lengths = []
    for part, block in many.projection_blocks(ANGLES, block=3, rows=rows):
        together[part] = block
        lengths.append(len(block))
    assert lengths == [3, 3, 1] and (together == whole).all()


def test_blocks_come_one_at_a_time(many):
    angles = np.linspace(0, np.pi, 4000)
    tracemalloc.start()
    try:
        blocks = many.projection_blocks(angles, block=4)
        for _ in range(3):
            next(blocks)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.1 * 4 * 4000 * 64 * 64


def test_detector_may_be_narrow_and_off_centre(many):
    whole = many.projections(ANGLES, columns=81, axis=40.0)
    assert many.projections(ANGLES, columns=20, axis=10.0) == pytest.approx(whole[:, :, 30:50], abs=1e-5)


def test_filtered_back_projection_gives_the_volume_the_right_way_round():
    phantom, angles = one(64, (2.0, 9.0, -6.0), 14.0), np.linspace(0, np.pi, 101)
    slices = slice(24, 48)
    truth = phantom.volume(slices)
    found = fbp(phantom.projections(angles, slices).transpose(1, 0, 2).copy(), angles, device="cpu")
    assert psnr(found, truth, 1.0) > 42
    assert max(psnr(wrong, truth, 1.0) for wrong in (found[::-1], found[:, ::-1], found[..., ::-1])) < 25
    weight = np.where(phantom.labels(slices) == 2, found, 0)
    z, y, x = (np.average(index, weights=weight) for index in np.indices(weight.shape))
    assert (z + 24 - 31.5, 31.5 - y, x - 31.5) == pytest.approx((2.0, 9.0, -6.0), abs=0.1)
    # Nowhere else is anything as bright.
    assert found[weight == 0].max() < 0.8 < np.median(found[weight > 0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"side": 46.0}, r"side: found 46.0; expected above 0, and at most 45.3"),
        ({"side": 0.0}, "side"),
        ({"side": np.nan}, "side"),
        ({"size": 20}, "diameters"),
        ({"diameters": (4.0, 39.0)}, "38.4"),
        ({"diameters": (5.0, 4.0)}, "smallest <= largest"),
        ({"diameters": (0.0, 4.0)}, "0 < smallest"),
        ({"count": -1}, "count not negative"),
        ({"count": 200, "diameters": (10.0, 12.0)}, r"room for \d+; expected 200"),
    ],
)
def test_phantoms_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(LowdoseError, match=message):
        spheres(**{"size": 64, "rng": 0, **wrong})


def test_requests_that_make_no_sense_are_refused_at_the_call(many):
    for slices in (slice(64, 70), slice(5, 5)):
        for ask in (many.volume, many.labels, lambda part: many.projections([0.0], part)):
            with pytest.raises(LowdoseError, match="some of 0 to 63"):
                ask(slices)
    with pytest.raises(LowdoseError, match="supersample"):
        many.volume(supersample=0)
    with pytest.raises(LowdoseError, match="angles"):
        many.projection_blocks([np.nan])
    for wrong in ({"block": 0}, {"columns": 0}, {"axis": np.inf}):
        with pytest.raises(LowdoseError, match="block, columns, axis"):
            many.projection_blocks([0.0], **wrong)
