"""A pixel classifier: a forest over the feature stack, applied to images of any size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from lowdose_utils.classify.features import names
from lowdose_utils.classify.scribbles import Labels
from lowdose_utils.classify.slabs import boxes, solid_stack, whole
from lowdose_utils.classify.slices import check_channels, feature_stack, finite, slices_of
from lowdose_utils.classify.smooth import Image
from lowdose_utils.classify.solid import Selection, SolidFeatures, check_volume
from lowdose_utils.errors import LowdoseError

BLOCK = 2**15  # pixels that pass the trees at once


@dataclass(frozen=True)
class PixelClassifier:
    """A trained classifier with all that its use needs.

    Class maps and scribbles count classes from 1; 0 is "not labelled".

    Attributes
    ----------
    model : RandomForestClassifier or HistGradientBoostingClassifier
        Fitted to classes 0, 1, ...
    features : FeatureSet or SolidFeatures
        What `model` looks at; `names` tells the order.
    class_names : tuple of str
        Class 1 first.
    fingerprint : str
        SHA-256 of training pixels and settings: tells one training from another.
    oob_accuracy : float or None
        Share of training pixels that the trees not trained on them classify rightly. It is no accuracy of the
        image: too good for strokes at random, whose pixels are alike, and too bad once the hardest places
        were labelled. None for boosting, which has no such pixels.
    """

    model: RandomForestClassifier | HistGradientBoostingClassifier
    features: Selection
    class_names: tuple[str, ...]
    fingerprint: str
    oob_accuracy: float | None = None

    def __post_init__(self) -> None:
        found = (int(self.model.n_features_in_), len(self.model.classes_))
        wanted = (len(names(self.features)), len(self.class_names))
        if found != wanted:
            raise LowdoseError(
                "model",
                found=f"one for {found[0]} channels and {found[1]} classes",
                expected=f"{wanted[0]} channels and {wanted[1]} classes",
                way_out="Give the feature selection and class names that it was trained with.",
            )

    def importances(self) -> dict[str, float]:
        """Channels by name with their share of the entropy that the forest's splits remove, highest first.

        Raises
        ------
        LowdoseError
            For boosting, where scikit-learn has no such figure.
        """
        if not isinstance(self.model, RandomForestClassifier):
            raise LowdoseError(
                "importances",
                found="a boosted model",
                expected="a forest",
                way_out='Train with kind="forest", or use sklearn.inspection.permutation_importance.',
            )
        pairs = zip(names(self.features), self.model.feature_importances_.tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    def probabilities(
        self,
        given: npt.ArrayLike,
        *,
        computed: bool = False,
        slices: slice | None = None,
        device: str | torch.device = "auto",
        tile: int | None = None,
        workers: int | None = None,
    ) -> Image:
        """Probability of each class at each pixel.

        Parameters
        ----------
        given : array (row, column) or (slice, row, column)
            Grey values on the scale of the training image; or, if `computed`, the feature stack of such,
            channels first. Slices are worked on one after the other, with `SolidFeatures` slabs of them.
        computed : bool
            Whether `given` is a feature stack.
        slices : slice, optional
            Only these slices of a stack; `SolidFeatures` still look at those around.
        device : {"auto", "cpu", "cuda", "mps"} or torch.device
            As for `compute`.
        tile : int, optional
            Compute features in tiles of this side and keep them in a temporary file (in ``TMPDIR``), not in
            memory: for images whose stack is larger than it. The result is the same but for float32 rounding.
            With `SolidFeatures`, work on cubes of this side, one after the other.
        workers : int, optional
            Threads; the machine's processors if not given. The result does not depend on them.

        Returns
        -------
        float32 array (class, row, column) or (class, slice, row, column)

        Raises
        ------
        LowdoseError
            If the shape is none of these, the channels are of another selection, or a value is not finite.
        """
        shape, kept = self._shape(given, computed, slices)
        result = np.empty((len(self.class_names), *shape), np.float32)
        flat = result.reshape(len(result), -1, *shape[-2:])
        for place, part in self._parts(given, kept, computed, device, tile, workers):
            flat[(slice(None), *place)] = part
        return result

    def classify(
        self,
        given: npt.ArrayLike,
        *,
        computed: bool = False,
        slices: slice | None = None,
        device: str | torch.device = "auto",
        tile: int | None = None,
        workers: int | None = None,
    ) -> Labels:
        """The most probable class at each pixel, counted from 1: uint8 of the image's shape.

        Parameters and errors are those of `probabilities`. Of equally probable classes the first is taken.
        """
        shape, kept = self._shape(given, computed, slices)
        result = np.empty(shape, np.uint8)
        flat = result.reshape(-1, *shape[-2:])
        for place, part in self._parts(given, kept, computed, device, tile, workers):
            flat[place] = part.argmax(0) + 1
        return result

    def _shape(
        self, given: npt.ArrayLike, computed: bool, slices: slice | None
    ) -> tuple[tuple[int, ...], range]:
        """The result's shape, and which slices it has."""
        shape = np.shape(given)
        if computed:
            check_channels(shape, self.features)
            shape = shape[1:]
        if len(shape) not in (2, 3):
            raise LowdoseError(
                "feature stack" if computed else "image",
                found=f"shape {np.shape(given)}",
                expected="(channel, row, column)" if computed else "(row, column) or (slice, row, column)",
                way_out="Say computed=True for a feature stack, and leave it out for an image.",
            )
        if isinstance(self.features, SolidFeatures) and not computed:
            check_volume(shape)
        if slices is None:
            return shape, range(shape[0] if len(shape) == 3 else 1)
        kept = range(*slices.indices(shape[0])) if len(shape) == 3 else range(0)
        if not kept or kept.step != 1:
            raise LowdoseError(
                "slices",
                found=f"{slices} of shape {shape}",
                expected="some neighbouring slices of a stack",
                way_out="Say slice(first, last + 1).",
            )
        return (len(kept), *shape[1:]), kept

    def _parts(
        self,
        given: Any,
        kept: range,
        computed: bool,
        device: str | torch.device,
        tile: int | None,
        workers: int | None,
    ) -> Iterator[tuple[tuple[int | slice, ...], Image]]:
        """Probabilities (class, row, column) of each slice, or (class, slice, row, column) of each box, with
        their places in the result."""
        # A forest asked by one thread adds its trees in order, so that threads do not change the rounding;
        # boosting has threads of its own.
        threads = (workers or os.cpu_count() or 1) if isinstance(self.model, RandomForestClassifier) else 1
        if isinstance(self.features, SolidFeatures) and not computed:
            source = given if hasattr(given, "shape") else np.asarray(given)
            _, rows, columns = whole(source.shape)
            for box in boxes((slice(kept.start, kept.stop), rows, columns), tile):
                stack = solid_stack(source, self.features, box, workers=workers)
                place = slice(box[0].start - kept.start, box[0].stop - kept.start)
                yield (place, *box[1:]), self._predict(stack, threads)
            return
        for z, image in enumerate(slices_of(given, computed, kept)):
            with feature_stack(image, self.features, computed, device, tile, workers) as stack:
                yield (z,), self._predict(stack, threads)

    def _predict(self, stack: Image, threads: int) -> Image:
        flat = stack.reshape(len(stack), -1)
        result = np.empty((len(self.class_names), flat.shape[1]), np.float32)

        def fill(start: int) -> None:
            pixels = finite(flat[:, start : start + BLOCK].T)
            result[:, start : start + BLOCK] = self.model.predict_proba(pixels).T

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(fill, range(0, flat.shape[1], BLOCK)):
                pass
        return result.reshape(len(result), *stack.shape[1:])
