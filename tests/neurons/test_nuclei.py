"""Nuclei from strokes: on balls in noise, and objects counted by hand."""

import numpy as np
import pytest
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.nuclei import (
    NUCLEUS,
    REST,
    NucleusScore,
    Settings,
    choose_settings,
    draw_strokes,
    features,
    nuclei_of,
    score_nuclei,
    train_nuclei,
)

CENTRES = [(14, 14, 14), (14, 34, 34), (34, 14, 34), (34, 34, 14)]


@pytest.fixture(scope="module")
def sample():
    """Four balls of 7 voxels, two of them denser, in noise; and the ball around all."""
    grid = np.stack(np.indices((48, 48, 48)), axis=-1)
    numbers = np.zeros((48, 48, 48), int)
    for number, centre in enumerate(CENTRES, 1):
        numbers[np.linalg.norm(grid - centre, axis=-1) < 7] = number
    value = 1.0 + 0.4 * (numbers > 0) + 0.6 * ((numbers > 0) & (numbers < 3))
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(value.shape), 0.7)
    tissue = np.linalg.norm(grid - 23.5, axis=-1) < 30
    return (value + 2.0 * noise).astype(np.float32), numbers, tissue


def strokes_of(sample, **options):
    _, numbers, tissue = sample
    return draw_strokes((numbers > 0) & (numbers < 3), numbers > 2, tissue, **{"rng": 0, **options})


def test_strokes_lie_where_a_person_draws_them(sample):
    _, numbers, tissue = sample
    strokes = strokes_of(sample, slices=1, voxels=30)
    drawn = np.flatnonzero(strokes.any((1, 2)))
    # The labelled nuclei show in the lower slices only: one more slice for those without a label.
    assert len(drawn) == 2 and abs(drawn[0] - 14) < 7 and abs(drawn[1] - 34) < 7
    assert np.isin(numbers[strokes == NUCLEUS], (1, 2)).all()
    assert not np.isin(numbers[strokes == REST], (1, 2)).any()
    assert (strokes == NUCLEUS).sum() == 30
    assert (numbers[strokes == REST] > 2).sum() == 30 and (strokes == REST).sum() == 30 + 2 * 30
    assert tissue[strokes > 0].all()


def test_slices_are_apart_and_more_strokes_are_more_voxels(sample):
    few, many = (strokes_of(sample, slices=n, voxels=20) for n in (1, 2))
    assert (many > 0).sum() > (few > 0).sum()
    with_label = np.flatnonzero((many == NUCLEUS).any((1, 2)))
    assert len(with_label) == 2 and np.diff(with_label)[0] > 4
    assert np.array_equal(few, strokes_of(sample, slices=1, voxels=20))
    assert not np.array_equal(few, strokes_of(sample, slices=1, voxels=20, rng=1))


def test_labelled_nuclei_are_found_and_others_are_not(sample):
    volume, numbers, _ = sample
    strokes = strokes_of(sample, slices=2, voxels=40)
    classifier = train_nuclei(volume, strokes, 0.12, trees=25, rng=0)
    probability = classifier.probabilities(volume, device="cpu")[0]
    truth = np.where(numbers < 3, numbers, 0)
    settings, score = choose_settings(probability, truth, 0.12)
    assert score == NucleusScore(2, 2, 2)
    assert (strokes > 0).mean() < 0.01
    found = nuclei_of(probability, 0.12, settings)
    assert score_nuclei(found, numbers) == NucleusScore(4, 2, 2)


def test_features_look_at_the_same_lengths_on_any_grid():
    assert features(0.12).scales == (1.0, 2.0, 4.0, 8.0)
    assert features(0.06).scales == (2.0, 4.0, 8.0, 16.0)
    assert features(0.5).scales == (0.5, 0.96, 1.92)
    with pytest.raises(LowdoseError, match="voxel_um"):
        features(0)


def test_objects_are_opened_and_the_small_left_out():
    probability = np.zeros((20, 20, 20))
    probability[2:10, 2:10, 2:10] = 0.95
    probability[14, 14, 14:18] = 0.95
    probability[12:18, 2:8, 12:18] = 0.6
    assert nuclei_of(probability, 0.1, Settings(0.9, 0.0, 0.001)).max() == 2
    assert nuclei_of(probability, 0.1, Settings(0.9, 0.1, 0.001)).max() == 1
    assert nuclei_of(probability, 0.1, Settings(0.5, 0.1, 0.001)).max() == 2
    assert nuclei_of(probability, 0.1, Settings(0.5, 0.1, 0.3)).max() == 1


def test_precision_and_recall_counted_by_hand():
    truth, found = np.zeros((2, 10, 30), int), np.zeros((2, 10, 30), int)
    truth[0, :, 0:6], truth[0, :, 10:16], truth[0, :, 20:26] = 5, 6, 7
    found[0, :, 1:6] = 1  # 5 of 6 columns: right
    found[0, :, 10:13] = 2  # exactly half: not right
    found[1, 0, 0] = 3  # nowhere
    score = score_nuclei(found, truth)
    assert score == NucleusScore(3, 3, 1)
    assert score.precision == score.recall == pytest.approx(1 / 3) == score.f1
    assert score_nuclei(found, truth, overlap=0.9).right == 0
    # One object over two nuclei is none of them.
    assert score_nuclei((truth > 0).astype(int), truth).right == 0
    nothing = score_nuclei(np.zeros_like(truth), truth)
    assert (nothing.precision, nothing.recall, nothing.f1) == (1.0, 0.0, 0.0)
    assert score_nuclei(found * 0, truth * 0).f1 == 1.0


def test_settings_are_chosen_by_score():
    probability = np.zeros((24, 24, 24))
    probability[3:13, 3:13, 3:13] = 0.95
    probability[14:22, 14:22, 14:22] = 0.75
    truth = (probability > 0.9).astype(int)
    settings, score = choose_settings(probability, truth, 0.12)
    assert settings.threshold > 0.75 and score.f1 == 1


def test_of_settings_that_find_the_same_the_most_alike_is_chosen():
    """A ball that is surest in its middle is found at every threshold, at the highest only its core."""
    away = np.linalg.norm(np.stack(np.indices((32, 32, 32)), axis=-1) - 15.5, axis=-1)
    truth = (away < 10).astype(int)
    probability = np.clip(1.0 - 0.05 * away, 0, 1)  # 0.5 where the ball ends
    settings, score = choose_settings(
        probability, truth, 0.12, thresholds=(0.5, 0.55, 0.58, 0.59), openings_um=(0.12,)
    )
    assert score.f1 == 1 and settings.threshold == 0.5


def test_nonsense_is_refused(sample):
    with pytest.raises(LowdoseError, match="labelled, others"):
        draw_strokes(np.zeros((4, 4, 4)), np.zeros((4, 4, 4)), np.ones((4, 4, 4)), rng=0)
    with pytest.raises(LowdoseError, match="labelled, others"):
        strokes_of(sample, slices=0)
    with pytest.raises(LowdoseError, match="overlap"):
        score_nuclei(np.zeros((2, 2)), np.zeros((2, 2)), overlap=0.2)
    with pytest.raises(LowdoseError, match="found, truth"):
        score_nuclei(np.zeros((2, 2)), np.zeros((3, 2)))
