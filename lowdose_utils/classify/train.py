"""Training a pixel classifier on the pixels that a person has labelled."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import sklearn
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from lowdose_utils.classify.classifier import PixelClassifier
from lowdose_utils.classify.scribbles import Labels, check_labels
from lowdose_utils.classify.selection import PAPER
from lowdose_utils.classify.slabs import boxes, solid_stack
from lowdose_utils.classify.slices import check_channels, feature_stack, finite, slices_of
from lowdose_utils.classify.smooth import Image
from lowdose_utils.classify.solid import Selection, SolidFeatures, check_volume
from lowdose_utils.errors import LowdoseError

Kind = Literal["forest", "boosting"]
TREES = {"forest": 200, "boosting": 100}


def train_classifier(
    given: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    features: Selection = PAPER,
    class_names: Sequence[str] | None = None,
    computed: bool = False,
    kind: Kind = "forest",
    trees: int | None = None,
    split_features: int = 2,
    balance: bool = False,
    rng: np.random.Generator | int,
    device: str | torch.device = "auto",
    tile: int | None = None,
    workers: int | None = None,
) -> PixelClassifier:
    """Train a classifier on the labelled pixels of an image, or of slices of a stack.

    The forest's defaults are those of FastRandomForest in Trainable Weka Segmentation (Arganda-Carreras et
    al., Bioinformatics 33, 2424, 2017): 200 trees of unlimited depth, each on as many pixels as there are,
    drawn with replacement; splits by entropy among two features; the trees' class fractions are averaged.

    Parameters
    ----------
    given : array (row, column) or (slice, row, column)
        Grey values; or, if `computed`, their feature stack with the channels first. Only slices with labels
        are worked on, one after the other; `SolidFeatures` look at those around too, as far as they reach.
    labels : integer array of the image's shape
        0 where not labelled, else the class, from 1.
    features : FeatureSet or SolidFeatures
        What to look at, or what the stack holds.
    class_names : sequence of str, optional
        Class 1 first; by default ``"1"``, ``"2"``, ... up to the largest label.
    computed : bool
        Whether `given` is a feature stack: saves its time in rounds of correction.
    kind : {"forest", "boosting"}
        ``"boosting"`` is scikit-learn's histogram gradient boosting, faster to apply.
    trees : int, optional
        Number of trees (rounds, for boosting); 200, or 100 for boosting, if not given.
    split_features : int
        Features that a forest tries at each split.
    balance : bool
        Give each class the same weight whatever its number of pixels. The plugin's option draws pixels anew
        instead, to the same shares; weights leave the out-of-bag pixels unseen.
    rng : Generator or int
        Seeds the trees.
    device, tile, workers
        As for `PixelClassifier.probabilities`.

    Returns
    -------
    PixelClassifier

    Raises
    ------
    LowdoseError
        If shapes do not fit, labels are not such or fewer than two classes, a class has no pixel, channels
        are of another selection, or values are not finite.
    """
    if kind not in TREES:
        raise LowdoseError("kind", found=repr(kind), expected=" or ".join(TREES), way_out="Choose one.")
    for thing, number in (("trees", trees), ("split_features", split_features)):
        if number is not None and number < 1:
            raise LowdoseError(thing, found=number, expected="1 or more", way_out="Leave it out.")
    marks = check_labels(labels)
    named = _class_names(marks, class_names)
    shape = np.shape(given)
    if computed:
        check_channels(shape, features)
        shape = shape[1:]
    if shape != marks.shape:
        raise LowdoseError(
            "labels",
            found=f"shape {marks.shape}",
            expected=f"{shape}, as the image",
            way_out="Draw them on this image; give a feature stack with computed=True.",
        )
    if isinstance(features, SolidFeatures) and not computed:
        check_volume(shape)
        parts = list(_labelled_voxels(given, marks, features, tile, workers))
    else:
        parts = []
        planes = marks.reshape(-1, *marks.shape[-2:])
        for image, plane in zip(slices_of(given, computed), planes, strict=True):
            if plane.any():
                with feature_stack(image, features, computed, device, tile, workers) as stack:
                    parts.append((finite(stack[:, plane > 0].T), plane[plane > 0]))
    x = np.concatenate([pixels for pixels, _ in parts])
    y = np.concatenate([classes for _, classes in parts]).astype(np.int64) - 1
    seed = int(np.random.default_rng(rng).integers(2**31))
    number = trees or TREES[kind]
    settings = (features, named, kind, number, split_features, balance, seed, sklearn.__version__)
    fingerprint = sha256(x.tobytes() + y.tobytes() + repr(settings).encode()).hexdigest()
    weight = "balanced" if balance else None
    if kind == "boosting":
        boosted = HistGradientBoostingClassifier(max_iter=number, class_weight=weight, random_state=seed)
        return PixelClassifier(boosted.fit(x, y), features, named, fingerprint)
    forest = RandomForestClassifier(
        number,
        criterion="entropy",
        max_features=min(split_features, x.shape[1]),
        oob_score=True,
        class_weight=weight,
        random_state=seed,
        n_jobs=workers or os.cpu_count(),
    )
    with warnings.catch_warnings():
        # With few trees some pixels lie in every tree's bag; they are left out of the figure below.
        warnings.filterwarnings("ignore", "Some inputs do not have OOB scores")
        forest.fit(x, y)
    forest.set_params(n_jobs=1)
    votes = np.nan_to_num(forest.oob_decision_function_)
    voted = votes.sum(1) > 0
    oob = float((votes.argmax(1) == y)[voted].mean()) if voted.any() else None
    return PixelClassifier(forest, features, named, fingerprint, oob)


def _labelled_voxels(
    given: Any, marks: Labels, features: SolidFeatures, tile: int | None, workers: int | None
) -> Iterator[tuple[Image, Labels]]:
    """Features and labels of the labelled voxels of each run of labelled slices.

    Features are computed in the box around a run's labels, so that a few strokes take little time."""
    source = given if hasattr(given, "shape") else np.asarray(given)
    used = np.flatnonzero(marks.any((1, 2)))
    for run in np.split(used, np.flatnonzero(np.diff(used) > 1) + 1):
        z = slice(int(run[0]), int(run[-1]) + 1)
        y, x = (np.flatnonzero(marks[z].any(axes)) for axes in ((0, 2), (0, 1)))
        region = (z, slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1))
        for box in boxes(region, tile):
            plane = marks[box]
            if plane.any():
                stack = solid_stack(source, features, box, workers=workers)
                yield finite(stack[:, plane > 0].T), plane[plane > 0]


def _class_names(marks: Labels, given: Sequence[str] | None) -> tuple[str, ...]:
    """The classes' names, after checking that each has pixels."""
    counts = np.bincount(marks.ravel())[1:]
    named = tuple(str(k + 1) for k in range(len(counts))) if given is None else tuple(given)
    if np.count_nonzero(counts) < 2:
        raise LowdoseError(
            "labels",
            found="no labelled pixel" if not counts.any() else f"one class only, {marks.max()}",
            expected="labelled pixels of two classes at least, numbered from 1",
            way_out="Draw scribbles into each class.",
        )
    if len(named) < len(counts) or len(set(named)) < len(named):
        raise LowdoseError(
            "class_names",
            found=named,
            expected=f"{len(counts)} different names, as the largest label is {len(counts)}",
            way_out="Name each class, class 1 first.",
        )
    empty = [name for k, name in enumerate(named) if k >= len(counts) or not counts[k]]
    if empty:
        raise LowdoseError(
            "labels",
            found=f"no pixel of class {', '.join(empty)}",
            expected="labelled pixels of each class",
            way_out="Draw some, or number the classes without a gap.",
        )
    return named
