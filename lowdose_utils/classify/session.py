"""Working at a classifier in rounds: draw, train, look, draw where it errs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.classify.classifier import PixelClassifier
from lowdose_utils.classify.features import compute
from lowdose_utils.classify.scribbles import Labels, Stroke, label_image
from lowdose_utils.classify.selection import PAPER
from lowdose_utils.classify.slabs import solid_stack, whole
from lowdose_utils.classify.smooth import Image
from lowdose_utils.classify.solid import Selection, SolidFeatures, check_volume
from lowdose_utils.classify.train import Kind, train_classifier
from lowdose_utils.errors import LowdoseError

ROOM = 2**31  # bytes of feature stacks to hold, those last used


class Session:
    """An image or a stack, the strokes drawn on it so far, and what was learned from them last.

    `Panel` puts it on the screen; without one it is the same work in a program. Features are computed once
    for a slice and kept as long as there is room (2 GiB); 252 channels of 512 x 512 pixels take 264 MB.
    Features of labelled pixels are kept in any case.

    Parameters
    ----------
    images : array (row, column) or (slice, row, column)
        Grey values.
    class_names : sequence of str
        Class 1 first.
    strokes : iterable of Stroke, optional
        To begin with. On a stack each needs its `slice`; a single image is slice 0.
    features : FeatureSet or SolidFeatures
        What to look at.
    kind, trees
        As for `train_classifier`.
    rng : int
        Seeds the trees, in each training anew: the same strokes give the same classifier.
    device : str or torch.device
        Where features are computed.

    Raises
    ------
    LowdoseError
        If the images have another number of axes, or a stroke does not fit.
    """

    def __init__(
        self,
        images: npt.ArrayLike,
        class_names: Sequence[str],
        *,
        strokes: Iterable[Stroke] = (),
        features: Selection = PAPER,
        kind: Kind = "forest",
        trees: int | None = None,
        rng: int = 0,
        device: str | torch.device = "auto",
    ) -> None:
        given = np.asarray(images, np.float32)
        if given.ndim not in (2, 3):
            raise LowdoseError(
                "images",
                found=f"shape {given.shape}",
                expected="(row, column) or (slice, row, column)",
                way_out="Take one channel.",
            )
        if isinstance(features, SolidFeatures):
            check_volume(given.shape, "images")
        self.images: Image = given.reshape(-1, *given.shape[-2:])
        self.class_names = tuple(class_names)
        self.features, self.kind, self.trees, self.rng, self.device = features, kind, trees, rng, device
        self.strokes: list[Stroke] = []
        self.classifier: PixelClassifier | None = None
        self._stacks: dict[int, Image] = {}
        self._marked: dict[int, tuple[Labels, Image]] = {}  # a slice's labels, and their pixels' features
        for stroke in strokes:
            self.draw(stroke)

    def draw(self, stroke: Stroke) -> None:
        """Add a stroke; on a stack without a slice it would lie on all of them, so there it needs one."""
        if stroke.slice is None and len(self.images) == 1:
            stroke = replace(stroke, slice=0)
        fits = stroke.slice is not None and 0 <= stroke.slice < len(self.images)
        if not 1 <= stroke.label <= len(self.class_names) or not fits:
            raise LowdoseError(
                "stroke",
                found=f"class {stroke.label}, slice {stroke.slice}",
                expected=f"class 1 to {len(self.class_names)}, slice from 0 to {len(self.images) - 1}",
                way_out="Say Stroke(label, points, slice=number).",
            )
        label_image(self.images.shape[1:], [replace(stroke, slice=None)])  # refuses what lies outside
        self.strokes.append(stroke)

    def with_strokes(self, strokes: Iterable[Stroke], *, trees: int | None = None) -> Session:
        """Another session on the same images, whose features it shares: to try other strokes."""
        other = Session(
            self.images,
            self.class_names,
            strokes=strokes,
            features=self.features,
            kind=self.kind,
            trees=trees or self.trees,
            rng=self.rng,
            device=self.device,
        )
        other._stacks = self._stacks
        return other

    def undo(self) -> None:
        """Take the last stroke back, if there is one."""
        del self.strokes[-1:]

    def clear(self) -> None:
        """Forget all strokes, and what was learned from them."""
        self.strokes.clear()
        self.classifier = None

    @property
    def labels(self) -> Labels:
        """All strokes as a label image, (slice, row, column), 0 where there is none."""
        return label_image(self.images.shape, self.strokes)

    def plane(self, number: int) -> Labels:
        """The strokes on one slice as a label image, (row, column)."""
        here = [replace(stroke, slice=None) for stroke in self.strokes if stroke.slice == number]
        return label_image(self.images.shape[1:], here)

    def stack(self, number: int) -> Image:
        """Feature stack of a slice, (channel, row, column)."""
        stack = self._stacks.pop(number, None)
        if stack is None:
            if isinstance(self.features, SolidFeatures):
                _, rows, columns = whole(self.images.shape)
                box = slice(number, number + 1), rows, columns
                stack = solid_stack(self.images, self.features, box)[:, 0]
            else:
                stack = compute(self.images[number], self.features, device=self.device)
        self._stacks[number] = stack  # the one used last stands last
        while len(self._stacks) > 1 and sum(each.nbytes for each in self._stacks.values()) > ROOM:
            del self._stacks[next(iter(self._stacks))]
        return stack

    def train(self) -> PixelClassifier:
        """Learn from all strokes.

        Raises
        ------
        LowdoseError
            If a class has no stroke.
        """
        if not self.strokes:
            raise LowdoseError(
                "strokes", found="none", expected="some in each class", way_out="Draw into each class."
            )
        marked = [self._pixels(number) for number in sorted({stroke.slice or 0 for stroke in self.strokes})]
        self.classifier = train_classifier(
            np.concatenate([pixels for _, pixels in marked], axis=1)[:, None],
            np.concatenate([plane[plane > 0] for plane, _ in marked])[None],
            features=self.features,
            class_names=self.class_names,
            computed=True,
            kind=self.kind,
            trees=self.trees,
            rng=self.rng,
        )
        return self.classifier

    def _pixels(self, number: int) -> tuple[Labels, Image]:
        """A slice's labels and their pixels' features, computed anew only if the labels have changed."""
        plane = self.plane(number)
        if number not in self._marked or not np.array_equal(self._marked[number][0], plane):
            self._marked[number] = plane, self.stack(number)[:, plane > 0]
        return self._marked[number]

    def classify(self, number: int = 0) -> Labels:
        """Class map of a slice, (row, column), by the latest classifier.

        Raises
        ------
        LowdoseError
            If there is none yet.
        """
        if self.classifier is None:
            raise LowdoseError(
                "classifier", found="none yet", expected="a trained one", way_out="Call train() first."
            )
        return self.classifier.classify(self.stack(number), computed=True)
