"""Features of volumes: which ones, their names and their order. `solid_filters` and `balls` compute them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import isfinite
from typing import NamedTuple, TypeAlias

from lowdose_utils.classify import balls, solid_filters
from lowdose_utils.classify.selection import FeatureSet
from lowdose_utils.classify.smooth import Image
from lowdose_utils.classify.solid_filters import INTEGRATION, Box, Reach, reaches
from lowdose_utils.errors import LowdoseError

SOLID_FAMILIES = (
    "original",
    "gaussian",
    "difference_of_gaussians",
    "gradient",
    "laplacian",
    "hessian",
    "structure",
    "mean",
    "variance",
    "minimum",
    "maximum",
)
RANKS = ("largest", "middle", "smallest")


@dataclass(frozen=True)
class SolidFeatures:
    """A selection of three-dimensional features, for volumes (slice, row, column).

    They look along the slices as they look within them. A scale is the true standard deviation of a Gaussian
    in pixels, where the plugin, and `FeatureSet` with it, takes 0.4 of it for most families: these numbers
    are not the plugin's.

    ==========================  ========  ====================================================================
    family                      channels  what
    ==========================  ========  ====================================================================
    original                    1         the grey value
    gaussian                    S         the smoothed volume
    difference_of_gaussians     S(S-1)/2  smoothed at a smaller scale minus at a larger one
    gradient                    S         length of the gradient
    laplacian                   S         sum of the three second derivatives
    hessian                     3 S       eigenvalues of the matrix of second derivatives, largest first
    structure                   6 S       eigenvalues, largest first, of the gradient's product with itself,
                                          smoothed with standard deviation 1, then 3 pixels
    mean, variance,             S each    over the ball whose radius is the scale
    minimum, maximum
    ==========================  ========  ====================================================================

    S is the number of scales. Derivatives are per pixel, not scaled by the standard deviation. Outside the
    volume its outermost voxels are repeated.

    Parameters
    ----------
    families : tuple of str
        Any of `SOLID_FAMILIES`; their order does not matter, the stack's is fixed.
    scales : tuple of float
        Rising, in pixels of the slices. A ball of radius below 1 is the voxel alone.
    aspect : float
        Distance of the slices over the pixel size. Along the slices' axis scales are divided by it and so are
        derivatives, so that features mean the same lengths in each direction. Where a scale is well below
        `aspect`, slices are too far apart for that: Gaussians hardly smooth along their axis, and derivatives
        become the differences of neighbouring slices.

    Raises
    ------
    LowdoseError
        If a family is unknown, or scales or aspect are not positive or do not rise.
    """

    families: tuple[str, ...]
    scales: tuple[float, ...]
    aspect: float = 1.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.families) - set(SOLID_FAMILIES))
        if unknown or not self.families or isinstance(self.families, str):
            raise LowdoseError(
                "families",
                found=self.families if isinstance(self.families, str) else ", ".join(unknown) or "none",
                expected="some of " + ", ".join(SOLID_FAMILIES),
                way_out="Take SOLID_FAMILIES for all of them.",
            )
        scales = tuple(float(scale) for scale in self.scales)
        if (
            not scales
            or not all(isfinite(s) and s > 0 for s in scales)
            or list(scales) != sorted(set(scales))
        ):
            raise LowdoseError(
                "scales",
                found=self.scales,
                expected="positive scales in pixels, rising",
                way_out="For instance (1, 2, 4).",
            )
        if not (isfinite(self.aspect) and self.aspect > 0):
            raise LowdoseError(
                "aspect",
                found=self.aspect,
                expected="a positive number",
                way_out="Divide the distance of the slices by the pixel size.",
            )
        # Plain numbers, whatever was given, so that equal selections are stored and named alike.
        object.__setattr__(self, "families", tuple(self.families))
        object.__setattr__(self, "scales", scales)
        object.__setattr__(self, "aspect", float(self.aspect))


Selection: TypeAlias = FeatureSet | SolidFeatures


class SolidStep(NamedTuple):
    """Channels that one call computes from a part of a volume.

    `compute` takes the part, float32 (slice, row, column), and the box of it that is wanted, and gives the
    channels on that box. `reach` is how far it looks around the box, along each axis.
    """

    names: list[str]
    compute: Callable[[Image, Box], Iterable[Image]]
    reach: Reach


def solid_steps(features: SolidFeatures) -> list[SolidStep]:
    """The selection's steps in the stack's order."""
    return [step for step in _all_steps(features) if step.names]


def _all_steps(features: SolidFeatures) -> Iterator[SolidStep]:
    chosen, aspect = features.families, features.aspect
    if "original" in chosen:
        yield SolidStep(["original"], lambda block, inner: [block[inner]], (0, 0, 0))
    for i, scale in enumerate(features.scales):
        near = reaches(scale, aspect)
        local = tuple(family for family in solid_filters.LOCAL if family in chosen)
        names = [name for family in local for name in _local_names(family, scale)]
        compute = partial(solid_filters.local, families=local, sigma=scale, aspect=aspect)
        yield SolidStep(names, compute, near)
        if "difference_of_gaussians" in chosen:
            smaller = features.scales[:i]
            names = [f"Difference_of_gaussians_3D_{scale}_{other}" for other in smaller]
            compute = partial(solid_filters.differences, sigma=scale, smaller=smaller, aspect=aspect)
            yield SolidStep(names, compute, near)
        if "structure" in chosen:
            names = [f"Structure_3D_{rank}_{scale}_{std}" for std, rank in product(INTEGRATION, RANKS)]
            compute = partial(solid_filters.structure, sigma=scale, aspect=aspect)
            yield SolidStep(names, compute, solid_filters.structure_reaches(scale, aspect))
        ball = balls.ball(scale, aspect)
        for function in (balls.mean, balls.variance, balls.minimum, balls.maximum):
            if function.__name__ in chosen:
                names = [f"{function.__name__.capitalize()}_3D_{scale}"]
                yield SolidStep(names, partial(function, ball=ball), balls.ball_reaches(ball))


def _local_names(family: str, scale: float) -> list[str]:
    if family == "hessian":
        return [f"Hessian_3D_{rank}_{scale}" for rank in RANKS]
    return [f"{family.capitalize()}_3D_{scale}"]


def check_volume(shape: tuple[int, ...], thing: str = "image") -> None:
    """Refuse what is no volume, which three-dimensional features need.

    Raises
    ------
    LowdoseError
        If the shape has not three axes, or one is empty.
    """
    if len(shape) != 3 or 0 in shape:
        raise LowdoseError(
            thing,
            found=f"shape {shape}",
            expected="a volume (slice, row, column), as these features look along the slices too",
            way_out="Give the whole stack of slices, or take a FeatureSet, which is for images.",
        )
