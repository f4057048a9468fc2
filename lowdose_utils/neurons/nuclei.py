"""Labelled nuclei from a few strokes: a random forest on three-dimensional features, objects, and their
score."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lowdose_utils.classify import PixelClassifier, SolidFeatures, annotate, train_classifier
from lowdose_utils.errors import LowdoseError
from lowdose_utils.tracing import trace

Floats = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]

NUCLEUS, REST = 1, 2  # classes of strokes
FAMILIES = ("original", "gaussian", "gradient", "laplacian", "hessian", "mean", "variance")
SCALES_UM = (0.12, 0.24, 0.48, 0.96)  # um: a nucleus is some 3 wide, a membrane 0.05


class Settings(NamedTuple):
    """How objects are made of probabilities; to be chosen on other tissue than what is scored.

    `threshold` on the probability of a nucleus; `opening_um`, radius of the ball that parts what barely
    touches and drops specks; `smallest_um3`, least volume of an object.
    """

    threshold: float
    opening_um: float
    smallest_um3: float


class NucleusScore(NamedTuple):
    """Objects against true nuclei: how many there are, how many were found, and how many correspond."""

    true: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        """Share of the objects that are nuclei; 1 if there is no object."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the nuclei that were found; 1 if there is none."""
        return self.right / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.right / (self.true + self.found) if self.true + self.found else 1.0


def features(voxel_um: float) -> SolidFeatures:
    """The forest's features, at the same lengths in um whatever the voxels, if they hold them.

    Raises
    ------
    LowdoseError
        If `voxel_um` is not positive.
    """
    if not 0 < voxel_um < np.inf:
        raise LowdoseError(
            "voxel_um", found=voxel_um, expected="a length in um", way_out="Give the voxel's edge."
        )
    scales = sorted({round(max(um / voxel_um, 0.5), 3) for um in SCALES_UM})
    return SolidFeatures(FAMILIES, tuple(scales))


def draw_strokes(
    labelled: npt.ArrayLike,
    others: npt.ArrayLike,
    tissue: npt.ArrayLike,
    *,
    slices: int = 2,
    voxels: int = 60,
    brush: float = 2.0,
    length: int = 15,
    rng: np.random.Generator | int,
) -> Labels:
    """Strokes as a person draws them who knows which nuclei are labelled.

    The person turns to the slice with most of labelled nuclei in it, then to the next one well away from
    it, and so on. In each the strokes run through labelled nuclei, through nuclei without a label if it
    shows any, and through the rest of the tissue, `voxels` in each of these. If no such slice shows a
    nucleus without a label, the last one is followed by that which shows most of these.

    Parameters
    ----------
    labelled, others, tissue : bool arrays (z, y, x)
        Nuclei with the label, nuclei without, and all tissue.
    slices : int
        How many to draw in.
    voxels, brush, length
        Of each kind in each slice, and as for `classify.annotate`.
    rng : Generator or int

    Returns
    -------
    uint8 array (z, y, x)
        1 in strokes through labelled nuclei, 2 in the others, 0 elsewhere.

    Raises
    ------
    LowdoseError
        If shapes differ, no nucleus has the label, or a number is below 1.
    """
    marked, plain, inside = (np.asarray(mask, bool) for mask in (labelled, others, tissue))
    alike = marked.ndim == 3 and marked.shape == plain.shape == inside.shape
    if not alike or not marked.any() or slices < 1:
        raise LowdoseError(
            "labelled, others, tissue, slices",
            found=(marked.shape, plain.shape, inside.shape, f"{marked.sum()} voxels labelled", slices),
            expected="volumes of one shape, a labelled nucleus, and at least one slice",
            way_out="Draw on a part that shows a labelled nucleus.",
        )
    generator = np.random.default_rng(rng)
    chosen = _slices(marked.sum((1, 2)), slices)
    if plain.any() and not plain[chosen].any():
        chosen.append(int(plain.sum((1, 2)).argmax()))
    strokes = np.zeros(marked.shape, np.uint8)
    for z in chosen:
        kinds = np.where(marked[z], 1, np.where(plain[z], 2, np.where(inside[z], 3, 0)))
        drawn = annotate(kinds.astype(np.uint8), voxels, generator, brush=brush, length=length)
        strokes[z] = np.where(drawn == 0, 0, np.where(drawn == 1, NUCLEUS, REST))
    return strokes


def _slices(areas: npt.NDArray[np.integer], count: int) -> list[int]:
    """The slices with most in them, a tenth of the volume apart."""
    left = areas.astype(float)
    chosen: list[int] = []
    while len(chosen) < count and left.max() > 0:
        z = int(left.argmax())
        chosen.append(z)
        apart = max(1, len(left) // 10)
        left[max(0, z - apart) : z + apart + 1] = 0
    return chosen


def train_nuclei(
    volume: npt.ArrayLike,
    strokes: npt.ArrayLike,
    voxel_um: float,
    *,
    trees: int = 100,
    rng: np.random.Generator | int,
) -> PixelClassifier:
    """A random forest on the strokes, each class of the same weight; errors are `train_classifier`'s."""
    return train_classifier(
        volume,
        strokes,
        features=features(voxel_um),
        class_names=("labelled nucleus", "rest"),
        trees=trees,
        split_features=4,
        balance=True,
        rng=rng,
        device="cpu",
    )


def nuclei_of(probability: npt.ArrayLike, voxel_um: float, settings: Settings) -> npt.NDArray[np.int32]:
    """Numbered objects, by decreasing size: threshold, holes filled, opening, size, by `tracing.trace`.

    Parameters
    ----------
    probability : array (z, y, x)
        Of being in a labelled nucleus: ``classifier.probabilities(volume)[0]``.
    voxel_um : float
    settings : Settings

    Raises
    ------
    LowdoseError
        If there is no volume of probabilities, or a number makes no sense.
    """
    return trace(
        probability,
        threshold=settings.threshold,
        opening=round(settings.opening_um / voxel_um),
        smallest=max(1, round(settings.smallest_um3 / voxel_um**3)),
    )


def score_nuclei(found: npt.ArrayLike, truth: npt.ArrayLike, *, overlap: float = 0.5) -> NucleusScore:
    """Match objects and nuclei whose intersection is more than `overlap` of their union.

    From 0.5 on, an object can match one nucleus only and the other way round.

    Parameters
    ----------
    found, truth : integer arrays of one shape
        Objects, and the nuclei that are to be found, from 1; 0 elsewhere.
    overlap : float
        0.5 or more, below 1.

    Raises
    ------
    LowdoseError
        If shapes differ, or the overlap is out of range.
    """
    ours, known = np.asarray(found), np.asarray(truth)
    if ours.shape != known.shape or not 0.5 <= overlap < 1:
        raise LowdoseError(
            "found, truth, overlap",
            found=(ours.shape, known.shape, overlap),
            expected="one shape, and a share from 0.5, below 1",
            way_out="Give label volumes of one field of view.",
        )
    asked = (ours > 0) | (known > 0)
    numbers, true = np.unique(np.append(known[asked], 0), return_inverse=True)
    objects, one = np.unique(np.append(ours[asked], 0), return_inverse=True)
    shape = (len(numbers), len(objects))
    table = np.bincount(true * shape[1] + one, minlength=shape[0] * shape[1]).reshape(shape)
    union = table.sum(1)[:, None] + table.sum(0)[None] - table
    match = (table > overlap * union) & (numbers > 0)[:, None] & (objects > 0)[None]
    return NucleusScore(int((numbers > 0).sum()), int((objects > 0).sum()), int(match.sum()))


def choose_settings(
    probability: npt.ArrayLike,
    truth: npt.ArrayLike,
    voxel_um: float,
    *,
    thresholds: Sequence[float] = (0.5, 0.65, 0.8, 0.9),
    openings_um: Sequence[float] = (0.24, 0.48),
    smallest_um3: Sequence[float] = (0.5, 2.0),
) -> tuple[Settings, NucleusScore]:
    """The settings of most F1 on tissue whose nuclei are known, and that score.

    Of settings that find the same nuclei those are taken whose objects are most like them: with few nuclei
    most settings find them all, and some leave little of each.

    Raises
    ------
    LowdoseError
        As `nuclei_of` and `score_nuclei`.
    """
    known = np.asarray(truth) > 0
    tried: list[tuple[tuple[float, float], Settings, NucleusScore]] = []
    for opening, threshold in product(openings_um, thresholds):
        found = nuclei_of(probability, voxel_um, Settings(threshold, opening, 0.0))
        volumes = np.bincount(found.ravel()) * voxel_um**3
        for smallest in smallest_um3:
            kept = np.where(volumes[found] >= smallest, found, 0)
            score = score_nuclei(kept, truth)
            both, either = ((kept > 0) & known).sum(), ((kept > 0) | known).sum()
            likeness = float(both) / max(float(either), 1.0)
            tried.append(((score.f1, likeness), Settings(threshold, opening, smallest), score))
    _, settings, score = max(tried, key=lambda one: one[0])
    return settings, score
