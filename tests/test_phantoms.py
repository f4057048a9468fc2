"""Phantoms: images and projections that belong together, structure as promised."""

from __future__ import annotations

import numpy as np
import pytest

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.blobs import blobs
from lowdose_utils.phantoms.ellipses import Ellipse, project_ellipses, rasterise
from lowdose_utils.phantoms.foam import foam
from lowdose_utils.phantoms.shepp_logan import shepp_logan, shepp_logan_projections

ANGLES = np.array([0.0, 0.3, np.pi / 2, 2.2, 3.9])


def test_area_averages_have_the_ellipses_area_and_value():
    ellipse = Ellipse(2.0, 0.1, -0.2, 0.5, 0.25, 0.6)
    image = rasterise([ellipse], 100, supersample=8)
    assert image.max() == 2.0
    assert image.sum() == pytest.approx(2 * np.pi * 0.5 * 0.25 * 50**2, rel=1e-3)
    rows, columns = np.indices(image.shape)
    assert (image * columns).sum() / image.sum() == pytest.approx(49.5 + 0.1 * 50, abs=0.02)
    assert (image * rows).sum() / image.sum() == pytest.approx(49.5 + 0.2 * 50, abs=0.02)


def test_ellipse_tilts_counter_clockwise():
    image = rasterise([Ellipse(1.0, 0.0, 0.0, 0.9, 0.1, np.pi / 4)], 50)
    assert image[10, 39] == 1 and image[10, 10] == 0


def test_image_columns_add_up_to_the_projection_at_angle_zero():
    image, projections = shepp_logan(128, supersample=8), shepp_logan_projections(128, ANGLES)
    assert projections[0] == pytest.approx(image.sum(axis=0), abs=0.15)
    assert projections[2] == pytest.approx(image.sum(axis=1)[::-1], abs=0.15)
    assert projections.sum(axis=1) == pytest.approx(np.full(5, image.sum()), rel=1e-3)


def test_line_through_a_disc_is_its_chord():
    line = project_ellipses([Ellipse(1.0, 0.0, 0.0, 0.5, 0.5)], 101, ANGLES, integrate=False)
    offset = np.arange(101) - 50
    chord = 2 * np.sqrt(np.maximum(25.25**2 - offset**2, 0))
    assert line == pytest.approx(np.tile(chord, (5, 1)))


def test_detector_may_be_narrow_and_off_centre():
    whole = shepp_logan_projections(64, ANGLES, axis=40.0, columns=81)
    part = shepp_logan_projections(64, ANGLES, axis=10.0, columns=20)
    assert part == pytest.approx(whole[:, 30:50])


def test_shepp_logan_levels():
    modified, standard = shepp_logan(200), shepp_logan(200, "standard")
    assert modified[100, 100] == pytest.approx(0.2) and modified.max() == 1
    assert standard[100, 100] == pytest.approx(1.02) and standard.max() == 2
    assert modified[0, 0] == 0
    with pytest.raises(LowdoseError, match="standard or modified"):
        shepp_logan(10, "improved")


def test_foam_bubbles_neither_overlap_nor_leave_the_cylinder():
    found = foam(80, smallest=0.02, radius=0.8, height=1.0, rng=1)
    apart = np.linalg.norm(found.centres[:, None] - found.centres, axis=2)
    touching = found.radii[:, None] + found.radii
    np.fill_diagonal(apart, np.inf)
    assert (apart >= touching - 1e-12).all()
    assert (np.hypot(*found.centres[:, 1:].T) + found.radii <= 0.8 + 1e-12).all()
    assert (found.radii >= 0.02).all()


def test_foam_is_the_same_for_the_same_seed_only():
    one, same, other = (foam(10, rng=seed) for seed in (4, 4, 5))
    assert (one.centres == same.centres).all() and not np.allclose(one.centres, other.centres)


def test_foam_volume_labels_and_projections_agree():
    found = foam(40, smallest=0.05, radius=0.8, height=0.4, rng=2)
    volume, labels = found.volume(64, 12), found.labels(64, 12)
    assert volume.shape == labels.shape == (12, 64, 64)
    assert volume.min() >= -1e-12 and volume.max() <= 1 + 1e-12
    assert set(np.unique(labels)) == {0, 1, 2}
    assert (volume > 0.5)[np.abs(volume - 0.5) > 0.49].tolist() == (labels == 1)[
        np.abs(volume - 0.5) > 0.49
    ].tolist()
    projections = found.projections(64, ANGLES, 12)
    assert projections.shape == (12, 5, 64)
    assert projections[:, 0] == pytest.approx(volume.sum(axis=1), abs=0.3)
    # A bubble's void is 4/3 pi r^3 in the whole.
    alone = foam(1, smallest=0.3, largest=0.3, radius=0.8, rng=0)
    empty = foam(0, radius=0.8, rng=0)
    void = empty.volume(64, 32).sum() - alone.volume(64, 32).sum()
    assert void == pytest.approx(4 / 3 * np.pi * (0.3 * 32) ** 3, rel=2e-3)


def test_foam_without_room_is_refused():
    with pytest.raises(LowdoseError, match="room for"):
        foam(50, smallest=0.3, largest=0.4, rng=0)
    with pytest.raises(LowdoseError):
        foam(5, smallest=0.3, largest=0.2)


def test_blobs_mass_is_in_every_projection():
    found = blobs(5, sigma=(0.05, 0.1), rng=0)
    mass = found.image(100).sum()
    assert found.projections(100, ANGLES, columns=150).sum(axis=1) == pytest.approx(
        np.full(5, mass), rel=1e-4
    )
    expected = 2 * np.pi * (found.values * found.sigmas**2).sum() * 50**2
    assert mass == pytest.approx(expected, rel=1e-3)
