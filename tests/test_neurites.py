"""The stand-in for neural tissue: what is drawn against the geometry that it is drawn from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms import neurites
from lowdose_utils.phantoms.neurite_crowd import yielding
from lowdose_utils.phantoms.neurite_territory import Territory
from lowdose_utils.phantoms.neurite_trees import STEP, Neuron
from lowdose_utils.phantoms.shapes import voxel_centres

TISSUE = (neurites.CYTOPLASM, neurites.MEMBRANE, neurites.MITOCHONDRION, neurites.NUCLEUS, neurites.LABELLED)


@pytest.fixture(scope="module")
def tissue():
    return neurites.tissue(72, 56, rng=2)


@pytest.fixture(scope="module")
def drawn(tissue):
    return tissue.draw()


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.floats(0.01, 10), st.integers(0, 11))
def test_finer_voxels_fill_the_coarser_ones_and_a_part_lies_where_the_whole_has_it(s, n, finer, edge, first):
    whole = voxel_centres(slice(None), 1, slices=s, columns=n, voxel=edge)
    fine = voxel_centres(slice(None), finer, slices=s, columns=n, voxel=edge)
    for coarse, divided in zip(whole, fine, strict=True):
        assert np.allclose(divided.reshape(-1, finer).mean(axis=1), coarse, atol=1e-9)
        assert np.allclose(coarse, -coarse[::-1], atol=1e-9)
    first = min(first, s - 1)
    part = voxel_centres(slice(first, None), finer, slices=s, columns=n, voxel=edge)
    assert np.allclose(part[0], fine[0][first * finer :])


def straight(y, x, radius, half=3.0):
    """A neuron along z."""
    z = np.arange(-half, half + 0.01, STEP)
    nodes = np.stack([z, np.full_like(z, y), np.full_like(z, x)], axis=1)
    return Neuron("cable", nodes, np.arange(len(z)) - 1, np.full(len(z), radius))


def pair(one, other, voxel_um=0.1):
    return neurites.Tissue(64, 24, voxel_um, (one, other), (), (), False, 0)


def test_every_voxel_of_the_tissue_is_a_neuron_s_or_membrane(tissue, drawn):
    inside = np.isin(drawn.materials, TISSUE)
    assert np.array_equal(inside, (drawn.labels > 0) | (drawn.materials == neurites.MEMBRANE))
    places = np.stack(np.indices(inside.shape), axis=-1)
    middle = (np.array(inside.shape) - 1) / 2
    assert np.array_equal(inside, tissue.surface((places - middle) * tissue.voxel_um) < 0)
    assert 0.05 < (drawn.materials == neurites.MEMBRANE)[inside].mean() < 0.3


def test_lines_lie_in_their_own_labels(tissue):
    fine = tissue.draw(slice(20, 36), finer=3)  # voxels of 0.04 um
    held = []
    for number, neuron in enumerate(tissue.neurons, 1):
        places = (tissue.voxels(neuron.nodes) + 0.5 - np.array([20, 0, 0])) * 3 - 0.5
        places = np.rint(places).astype(int)
        good = (places >= 0).all(1) & (places < fine.labels.shape).all(1) & (neuron.radii > 0.06)
        held.extend(fine.labels[tuple(places[good].T)] == number)
    assert len(held) > 300 and np.mean(held) >= 0.95


def test_labels_hang_together(drawn, tissue):
    """Most of each neuron is one piece; what thin branches lose on this grid is little."""
    shares = []
    for number, box in enumerate(ndimage.find_objects(drawn.labels), 1):
        if box is None:
            continue
        pieces, _ = ndimage.label(drawn.labels[box] == number, np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        shares.append(sizes.max() / sizes.sum())
    assert len(shares) > 0.9 * len(tissue.neurons)
    assert np.mean(shares) > 0.9 and np.median(shares) > 0.97


def test_calibres_cover_the_asked_range():
    radii = np.concatenate([n.radii for n in neurites.tissue(80, 80, nuclei=0, labelled=0, rng=0).neurons])
    assert 0.025 <= radii.min() < 0.05 and 0.8 < radii.max() <= 1.0
    assert 0.1 < np.median(radii) < 0.6
    few = neurites.tissue(48, 48, nuclei=0, labelled=0, calibres_um=(0.3, 0.6), rng=0)
    radii = np.concatenate([n.radii for n in few.neurons])
    assert radii.min() >= 0.15 and radii.max() <= 0.3


def test_a_hundred_neurons_at_the_default_size():
    found = neurites.tissue(rng=1)
    assert len(found.neurons) >= 100 and len(found.nuclei) == 3
    assert [n.labelled for n in found.nuclei] == [True, True, False]
    kinds = [n.kind for n in found.neurons]
    assert all(abs(kinds.count(k) / len(kinds) - 0.25) < 0.03 for k in neurites.KINDS)


def test_membranes_lie_in_all_directions_alike():
    """Squared components of the gradient across membranes, along z, y and x: a third each."""
    shares = []
    for seed in (0, 3):
        drawn = neurites.tissue(64, 64, nuclei=0, labelled=0, rng=seed).draw(slice(12, 52))
        inside = ndimage.binary_erosion(np.isin(drawn.materials, TISSUE), iterations=5)
        value = drawn.density.astype(float)
        slopes = np.stack(
            [ndimage.gaussian_filter(value, 1.0, order=np.eye(3, dtype=int)[k]) for k in range(3)]
        )
        power = (slopes**2)[:, inside].mean(1)
        shares.append(power / power.sum())
    assert np.abs(np.mean(shares, axis=0) - 1 / 3).max() < 0.05


def test_two_cylinders_share_the_gap_between_them():
    """Equal cylinders: the border lies in the middle; unequal ones have equal distances from it."""
    tissue = pair(straight(0, -0.8, 0.5), straight(0, 0.8, 0.5))
    drawn = tissue.draw(slice(10, 14))
    columns = (np.arange(64) - 31.5) * 0.1
    row = drawn.labels[1, 32]
    assert set(row[(columns > -1.5) & (columns < -0.1)]) == {1} and set(
        row[(columns > 0.1) & (columns < 1.5)]
    ) == {2}
    unequal = pair(straight(0, -0.8, 0.8), straight(0, 0.8, 0.4)).draw(slice(10, 14), finer=4)
    row = unequal.labels[1, 32 * 4]
    columns = (np.arange(256) - 127.5) * 0.025
    border = columns[(row == 1)].max() / 2 + columns[row == 2].min() / 2
    assert border == pytest.approx(0.2, abs=0.02)  # 0.2 um from either


def test_a_membrane_has_its_thickness_and_mass():
    """The integral across a membrane is its thickness times what it adds, whatever the voxel."""
    one, two = straight(0, -0.8, 0.5), straight(0, 0.8, 0.5)
    excess = neurites.ELECTRON_DENSITY[neurites.MEMBRANE] - neurites.ELECTRON_DENSITY[neurites.CYTOPLASM]
    for finer in (1, 2, 6):
        tissue = pair(one, two)
        with_it = tissue.draw(slice(11, 13), finer=finer)
        row = with_it.density[0, 32 * finer].astype(float) - neurites.ELECTRON_DENSITY[neurites.CYTOPLASM]
        columns = np.abs((np.arange(64 * finer) + 0.5) / finer - 32) * 0.1
        mass = row[columns < 0.3].sum() * 0.1 / finer
        assert mass == pytest.approx(2 * neurites.HALF * excess, rel=0.25)  # the texture is in it


def test_thin_ones_swell_less():
    drawn = pair(straight(0, -0.5, 0.05), straight(0, 0.5, 0.6)).draw(slice(11, 13), finer=4)
    row = drawn.labels[0, 32 * 4]
    columns = (np.arange(256) - 127.5) * 0.025
    # Gap of 0.35 um: f = 7 (d - 0.05) against 1 (1 - d - 0.6) meet at d = 0.094.
    edge = columns[(row == 1) & (columns < 0)].max(), columns[(row == 2) & (columns > -0.5)].min()
    assert np.mean(edge) == pytest.approx(-0.5 + 0.094, abs=0.02)


def test_weeding_out_loses_nothing():
    """Blocks that leave cylinders out find what all cylinders at once give."""
    tissue = neurites.tissue(40, 40, nuclei=1, labelled=0, rng=5)
    bodies = [(n.neuron, n.centre, n.body) for n in tissue.nuclei]
    whole = Territory(tissue.neurons, bodies)
    grids = [(np.arange(40) - 19.5) * 0.12] * 3
    labels, wall = whole.fill(*grids, tissue.surface, 0.1)
    rng, near = np.random.default_rng(0), 0
    for place in rng.integers(4, 36, (400, 3)):
        point = (place - 19.5) * 0.12
        if tissue.surface(point) > 0:
            continue
        ends = whole.tails + whole.ways
        along = np.clip(
            ((point - whole.tails) * whole.ways).sum(1) / np.maximum((whole.ways**2).sum(1), 1e-12), 0, 1
        )
        away = np.linalg.norm(point - whole.tails - along[:, None] * (ends - whole.tails), axis=1)
        value = whole.speeds * (away - whole.radii)
        first = value.argmin()
        others = np.where(whole.owners == whole.owners[first], np.inf, value)
        second = others.argmin()
        assert labels[tuple(place)] == whole.owners[first]
        ways = point - whole.tails - along[:, None] * whole.ways
        slopes = whole.speeds[:, None] * ways / np.linalg.norm(ways, axis=1)[:, None]
        steep = np.linalg.norm(slopes[second] - slopes[first])
        distance = (others[second] - value[first]) / max(steep, 0.05)
        if distance < 0.1:
            near += 1
            assert wall[tuple(place)] == pytest.approx(distance, abs=2e-3)
        else:
            assert wall[tuple(place)] > 0.095
    assert near > 20


def test_slabs_are_parts_of_the_whole(tissue, drawn):
    for part in (slice(0, 5), slice(11, 37)):
        slab = tissue.draw(part)
        np.testing.assert_allclose(slab.density, drawn.density[part], atol=0.1)
        assert (slab.labels != drawn.labels[part]).mean() < 1e-4
        assert (slab.nuclei != drawn.nuclei[part]).mean() < 1e-4


def test_a_finer_grid_shows_the_same_tissue(tissue, drawn):
    fine = tissue.draw(slice(20, 36), finer=2)
    binned = fine.density.reshape(16, 2, 72, 2, 72, 2).mean((1, 3, 5))
    coarse = drawn.density[20:36]
    inside = ndimage.binary_erosion(np.isin(drawn.materials[20:36], TISSUE), iterations=2)
    assert np.corrcoef(binned[inside], coarse[inside])[0, 1] > 0.93
    assert binned[inside].mean() == pytest.approx(coarse[inside].mean(), rel=4e-3)
    assert binned.mean() == pytest.approx(coarse.mean(), rel=4e-3)
    both = (drawn.labels[20:36] > 0) & (fine.labels[1::2, 1::2, 1::2] > 0)
    assert (drawn.labels[20:36] == fine.labels[1::2, 1::2, 1::2])[both].mean() > 0.93


def test_densities_are_those_stated(drawn):
    for material in (neurites.RESIN, neurites.CYTOPLASM, neurites.MITOCHONDRION, neurites.LABELLED):
        where = drawn.materials == material
        inner = ndimage.binary_erosion(where) if material != neurites.RESIN else where
        found = np.median(drawn.density[inner if inner.any() else where])
        assert found == pytest.approx(neurites.ELECTRON_DENSITY[material], rel=0.04)
    assert drawn.density.max() < 1.2 * max(neurites.ELECTRON_DENSITY)
    assert drawn.density.min() == 0 == neurites.ELECTRON_DENSITY[neurites.AIR]


def test_mass_of_the_sample_is_that_of_its_pieces(tissue, drawn):
    """Electrons in all, against the counts of voxels of each material: shares at edges average out."""
    by_material = np.bincount(drawn.materials.ravel(), minlength=7) @ np.array(neurites.ELECTRON_DENSITY)
    assert drawn.density.sum(dtype=float) == pytest.approx(by_material, rel=0.01)


def test_nuclei_are_ellipsoids_in_their_own_neurons(tissue, drawn):
    assert len(tissue.nuclei) == 3
    for number, nucleus in enumerate(tissue.nuclei, 1):
        where = drawn.nuclei == number
        volume = 4 / 3 * np.pi * nucleus.radii.prod()
        assert where.sum() * tissue.voxel_um**3 == pytest.approx(volume, rel=0.12)
        centre = tissue.voxels(nucleus.centre)
        np.testing.assert_allclose(ndimage.center_of_mass(where), centre, atol=1.0)
        inner = ndimage.binary_erosion(where)
        assert (drawn.labels[inner] == nucleus.neuron).mean() > 0.95
    labelled, others = (
        drawn.density[
            np.isin(drawn.nuclei, [k for k, n in enumerate(tissue.nuclei, 1) if n.labelled is flag])
        ]
        for flag in (True, False)
    )
    assert labelled.mean() > 1.1 * others.mean()


def test_a_closed_sample_is_inside_its_volume_and_an_open_one_runs_through(drawn):
    for side in (drawn.density, drawn.labels):
        for axis in range(3):
            assert not np.take(side, [0, -1], axis).any()
    fine = neurites.tissue(40, 20, nuclei=0, labelled=0, rng=0).draw(finer=2)
    assert not fine.density[[0, -1]].any()
    open_ended = neurites.tissue(40, 16, nuclei=0, labelled=0, closed=False, rng=0).draw()
    assert all((open_ended.labels[k] > 0).mean() > 0.3 for k in (0, -1))


def test_trees_are_what_their_kind_says(tissue):
    for neuron in neurites.tissue(64, 64, nuclei=1, labelled=1, rng=4).neurons:
        assert neuron.parents[0] == -1 and (neuron.parents[1:] < np.arange(1, len(neuron.parents))).all()
        children = np.bincount(neuron.parents[1:], minlength=len(neuron.nodes))
        children[0] -= 1  # the root's line goes both ways
        branches = (children > 1).sum()
        if neuron.kind == "cable":
            assert branches == 0
        elif neuron.kind == "fork":
            assert branches <= 1
        else:
            assert children.max() <= 2
    for neuron in tissue.neurons:
        assert (tissue.surface(neuron.nodes) < 0).all()
        assert neuron.lengths()[1:].max() < 6 * STEP
        assert np.median(neuron.lengths()[1:]) == pytest.approx(STEP, rel=0.2)


def test_crossing_lines_yield():
    one = straight(0, 0, 0.4)
    other = Neuron("cable", one.nodes[:, [2, 1, 0]] + [0, 0.02, 0], one.parents, one.radii)
    moved = yielding([one, other], [], lambda p: np.linalg.norm(p, axis=-1) - 8)
    away = np.linalg.norm(moved[0].nodes[:, None] - moved[1].nodes[None], axis=-1)
    assert away.min() > 0.75
    still = yielding([one, straight(0, 3, 0.4)], [], lambda p: np.linalg.norm(p, axis=-1) - 8)
    np.testing.assert_allclose(still[0].nodes, one.nodes, atol=1e-6)


def test_bodies_stay_and_push():
    ball = (0, np.zeros(3), 1.5)
    owner = straight(0, 0, 0.3)
    owner = Neuron("cable", owner.nodes - owner.nodes[0], owner.parents, owner.radii)
    moved = yielding(
        [owner, straight(0.3, 0, 0.3, half=4.0)], [ball], lambda p: np.linalg.norm(p, axis=-1) - 8
    )
    assert not moved[0].nodes[0].any()
    assert np.linalg.norm(moved[1].nodes, axis=1).min() > 1.5


def test_seeds_decide():
    one, same, other = (neurites.tissue(40, 40, nuclei=1, labelled=1, rng=s).draw() for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.labels, other.labels)


def test_voxels_turn_places_into_indices():
    found = pair(straight(0, 0, 0.1), straight(0, 1, 0.1)).voxels(np.array([[0.0, 0.5, -1.0]]))
    np.testing.assert_allclose(found, [[11.5, 36.5, 21.5]])


def test_a_given_number_of_neurons_is_kept():
    found = neurites.tissue(40, 40, neurons=5, nuclei=0, labelled=0, rng=0)
    assert len(found.neurons) == 5
    assert set(np.unique(found.draw().labels)) <= set(range(6))


@settings(max_examples=5, deadline=None)
@given(
    columns=st.integers(32, 44),
    slices=st.integers(20, 28),
    seed=st.integers(0, 50),
    closed=st.booleans(),
    voxel=st.sampled_from([0.12, 0.2]),
)
def test_any_size_can_be_drawn(columns, slices, seed, closed, voxel):
    found = neurites.tissue(columns, slices, voxel_um=voxel, nuclei=0, labelled=0, closed=closed, rng=seed)
    drawn = found.draw()
    assert drawn.density.shape == drawn.labels.shape == (slices, columns, columns)
    assert np.isfinite(drawn.density).all() and drawn.density.min() >= 0
    assert drawn.labels.max() <= len(found.neurons)
    assert (drawn.labels[np.isin(drawn.materials, (neurites.AIR, neurites.RESIN))] == 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": 8},
        {"slices": 4},
        {"voxel_um": 0},
        {"neurons": 0},
        {"nuclei": 1, "labelled": 2},
        {"rng": -1},
        {"nuclei": 1.5},
        {"calibres_um": (0.5, 0.1)},
    ],
)
def test_impossible_tissue_is_refused(wrong):
    with pytest.raises(LowdoseError, match="columns, slices, voxel_um"):
        neurites.tissue(**{"columns": 32, "slices": 16, "nuclei": 0, "labelled": 0, **wrong})


def test_too_many_nuclei_and_too_little_tissue_are_refused():
    with pytest.raises(LowdoseError, match="nuclei"):
        neurites.tissue(40, 40, nuclei=60, labelled=0, rng=0)
    with pytest.raises(LowdoseError, match="um thick"):
        neurites.tissue(32, 32, voxel_um=0.05, nuclei=0, labelled=0)


@pytest.mark.parametrize("wrong", [{"part": slice(3, 3)}, {"part": slice(0, 8, 2)}, {"finer": 0}])
def test_impossible_parts_are_refused(tissue, wrong):
    with pytest.raises(LowdoseError, match="part, finer"):
        tissue.draw(**wrong)
