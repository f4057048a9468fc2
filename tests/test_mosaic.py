"""Tiles against a field that is known everywhere: a sum of waves, drawn wherever a tile lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.errors import LowdoseError
from lowdose_utils.mosaic import Placement, blend, levels, placement_error, register, seams

VOXEL = 0.12
CUBE = (40, 40, 40)
pytestmark = pytest.mark.usefixtures("one_thread")


def field(points: np.ndarray) -> np.ndarray:
    """Mean 0, variance 1, wavelengths from some 15 voxels on."""
    rng = np.random.default_rng(5)
    waves, phases = rng.normal(0, 1.6, (120, 3)), rng.uniform(0, 2 * np.pi, 120)
    return np.cos(points @ waves.T + phases).sum(-1) / np.sqrt(60)


def drawn(place: Placement, shape: Sequence[int] = CUBE, noise: float = 0.0, rng: int = 0) -> np.ndarray:
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    tile = field(place.to_sample(grid, shape)) + noise * np.random.default_rng(rng).standard_normal(shape)
    return tile.astype(np.float32)


numbers = st.floats(-2, 2)


@settings(max_examples=30, deadline=None)
@given(st.lists(numbers, min_size=6, max_size=6), st.floats(0.01, 1))
def test_there_and_back_is_where_one_was_and_lengths_scale(values, scale):
    place = Placement.at(values[:3], scale, values[3:])
    points = np.random.default_rng(0).uniform(0, 30, (7, 3))
    there = place.to_sample(points, (30, 20, 10))
    np.testing.assert_allclose(place.to_voxels(there, (30, 20, 10)), points, atol=1e-6)
    lengths = np.linalg.norm(np.diff(there, axis=0), axis=1) / np.linalg.norm(np.diff(points, axis=0), axis=1)
    np.testing.assert_allclose(lengths, scale, rtol=1e-9)


def test_a_quarter_turn_about_z_takes_y_to_x():
    place = Placement.at((0, 0, 0), 2.0, (np.pi / 2, 0, 0))
    np.testing.assert_allclose(place.to_sample((1, 2, 1), (3, 3, 3)), (0, 0, 2), atol=1e-12)


def test_three_tiles_of_two_voxel_sizes_are_found():
    true = [
        Placement.at((0, 0, 0), VOXEL),
        Placement.at((2.1, 0.1, -0.1), 1.003 * VOXEL, (0.01, -0.003, 0.002)),
        Placement.at((3.4, 0.1, 0), 2 * VOXEL, (-0.006, 0, 0)),
    ]
    shapes = [CUBE, CUBE, (24, 24, 24)]
    tiles = [drawn(*both, 0.2, k) for k, both in enumerate(zip(true, shapes, strict=True))]
    away = np.array([0.25, -0.2, 0.15])
    stage = [
        true[0],
        Placement.at(true[1].offset + away, VOXEL),
        Placement.at(true[2].offset - away, 2 * VOXEL),
    ]
    found = register(tiles, stage)

    def error(k: int, places: Sequence[Placement]) -> float:
        return placement_error(places[k], true[k], shapes[k], (found.placements[0], true[0]))

    for k in (1, 2):
        assert error(k, stage) > 0.8
        assert error(k, found.placements) < 0.25  # of its own voxels, at the worst corner
    assert all(np.abs(overlap.apart).max() < 0.1 for overlap in found.overlaps)
    assert {(o.first, o.second) for o in found.overlaps} == {(0, 1), (0, 2), (1, 2)}
    first = next(seam for seam in seams(tiles, found.placements) if (seam.first, seam.second) == (0, 1))
    assert first.noise == pytest.approx(0.2, rel=0.15)
    assert abs(first.step) < 0.05 * first.noise


def test_a_shift_alone_is_found_to_a_fiftieth_of_a_voxel():
    true = [Placement.at((0, 0, 0), VOXEL), Placement.at((2.0, 0.05, -0.03), VOXEL)]
    tiles = [drawn(place) for place in true]
    stage = [true[0], Placement.at((2.24, 0, 0.12), VOXEL)]
    found = register(tiles, stage, only_shift=True).placements
    assert placement_error(found[1], true[1], CUBE, (true[0], true[0])) < 0.02
    assert found[1].scale == VOXEL and not found[1].turn.any()
    assert found[0] is stage[0]


def test_a_blend_shows_the_field_and_nothing_where_no_tile_is():
    places = [Placement.at((0, 0, 0), VOXEL), Placement.at((3.0, 0, 0), VOXEL, (0.02, 0, 0))]
    whole = blend([drawn(place) for place in places], places, VOXEL, (90, 30, 30), (1.5, 0, 0))
    truth = drawn(Placement.at((1.5, 0, 0), VOXEL), (90, 30, 30))
    there = np.isfinite(whole)
    assert np.sqrt(np.mean((whole[there] - truth[there]) ** 2)) < 0.01
    covered = np.flatnonzero(there[:, 15, 15])
    height = np.ptp([place.offset[0] for place in places]) / VOXEL + CUBE[0]
    assert len(covered) == pytest.approx(height, abs=1)
    assert np.isnan(whole[[0, -1]]).all()


def test_weights_change_over_gradually_and_the_finer_tile_rules():
    places = [Placement.at((0, 0, 0), VOXEL), Placement.at((2.4, 0, 0), VOXEL)]
    tiles = [np.zeros(CUBE), np.ones(CUBE)]
    line = blend(tiles, places, VOXEL, (60, 3, 3), (1.2, 0, 0))[:, 1, 1]
    assert line[0] == 0 and line[-1] == 1
    steps = np.diff(line)
    assert (steps > -1e-6).all() and steps.max() < 0.15
    coarse = [places[0], Placement.at((2.4, 0, 0), 2 * VOXEL)]
    ruled = blend(tiles, coarse, VOXEL, (60, 3, 3), (1.2, 0, 0))[:, 1, 1]
    assert ruled[15:30].max() < 0.2


def test_a_step_between_two_tiles_is_measured_with_its_sign():
    places = [Placement.at((0, 0, 0), VOXEL), Placement.at((2.4, 0, 0), VOXEL)]
    tiles = [drawn(places[0], noise=0.1), drawn(places[1], noise=0.1, rng=1) + 0.3]
    (seam,) = seams(tiles, places)
    assert seam.step == pytest.approx(0.3, abs=0.01)
    assert seam.noise == pytest.approx(0.1, rel=0.1)
    tiles[0], tiles[1] = tiles[1], tiles[0]
    assert seams(tiles, places[::-1])[0].step == pytest.approx(-0.3, abs=0.01)


@pytest.mark.parametrize("structure", [False, True])
def test_what_nothing_ties_to_the_others_is_refused(structure):
    near = [Placement.at((0, 0, 0), VOXEL), Placement.at((2.4, 0, 0), VOXEL)]
    far = [near[0], Placement.at((9, 0, 0), VOXEL)]
    places = far if structure else near
    noise = np.random.default_rng(0).standard_normal((2, *CUBE))
    tiles = [drawn(place) for place in places] if structure else list(noise)
    with pytest.raises(LowdoseError, match="tile 1 shares nothing"):
        register(tiles, places)


@pytest.mark.parametrize(
    ("tiles", "count"),
    [([np.zeros((4, 4))], 1), ([np.full(CUBE, np.nan)], 1), ([np.zeros(CUBE)], 2), ([], 0)],
)
def test_what_is_no_tile_is_refused(tiles, count):
    with pytest.raises(LowdoseError, match="tiles, placements"):
        register(tiles, [Placement.at((0, 0, 0), VOXEL)] * count)


def test_a_finer_tile_is_compared_as_the_coarser_would_see_it():
    places = [Placement.at((0, 0, 0), VOXEL), Placement.at((1.2, 0, 0), 2 * VOXEL)]
    tiles = [drawn(places[0], noise=0.5), drawn(places[1], (20, 20, 20))]
    (seam,) = seams(tiles, places)
    # Half a voxel's Gaussian leaves 0.42 of white noise; without it, all would be there.
    assert seam.noise == pytest.approx(0.5 * 0.42 / np.sqrt(2), rel=0.2)


def test_levels_take_the_steps_away():
    places = [Placement.at((k * 2.4, 0, 0), VOXEL) for k in range(3)]
    given = (0.0, 0.4, -0.2)
    tiles = [drawn(place) + grey for place, grey in zip(places, given, strict=True)]
    found = levels(seams(tiles, places), 3)
    np.testing.assert_allclose(found, np.negative(given), atol=0.005)
    np.testing.assert_array_equal(levels([], 2), 0)
