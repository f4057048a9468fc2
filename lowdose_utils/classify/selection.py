"""Which features: families, scales, and whether the plugin's bugs are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from math import isfinite
from typing import Literal

from lowdose_utils.errors import LowdoseError

FAMILIES = (
    "original",
    "gaussian",
    "sobel",
    "hessian",
    "difference_of_gaussians",
    "membrane",
    "variance",
    "mean",
    "minimum",
    "maximum",
    "median",
    "anisotropic_diffusion",
    "bilateral",
    "lipschitz",
    "kuwahara",
    "gabor",
    "derivatives",
    "laplacian",
    "structure",
    "entropy",
    "neighbours",
)
NOT_IN_PAPER = ("mean", "minimum", "maximum", "lipschitz")


@dataclass(frozen=True)
class FeatureSet:
    """A selection of Trainable Weka Segmentation's 2-D features.

    Parameters
    ----------
    families : tuple of str
        Any of `FAMILIES`; their order does not matter, the stack's is fixed.
    minimum_sigma, maximum_sigma : float
        The scales are `minimum_sigma`, doubled as long as `maximum_sigma` is not passed, in pixels. The
        plugin calls them sigmas, but for the Gaussian, Sobel, Hessian and difference-of-Gaussians families
        they are radii: the standard deviation is 0.4 of them. Sobel and Hessian have a further scale 0, the
        image not blurred, if the smallest scale is below 2.
    sigmas : tuple of float, optional
        The scales one by one, instead of the doubling ones.
    membrane_thickness, membrane_patch : int
        Width of the line and side (odd) of the square kernel of the membrane projections, in pixels. As in
        the plugin, the thickness is diffusion's edge threshold and the patch is Kuwahara's line length too.
    compat : {"weka", None}
        ``"weka"`` repeats the plugin's bugs and truncations to whole grey levels, for equal numbers. ``None``
        computes what the features' names say. Each family's docstring tells the difference.

    Raises
    ------
    LowdoseError
        If a family is unknown, a scale is not positive, or a size is out of range.
    """

    families: tuple[str, ...]
    minimum_sigma: float = 1.0
    maximum_sigma: float = 16.0
    sigmas: tuple[float, ...] | None = None
    membrane_thickness: int = 1
    membrane_patch: int = 19
    compat: Literal["weka"] | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.families) - set(FAMILIES))
        if unknown or not self.families:
            raise LowdoseError(
                "families",
                found=", ".join(unknown) or "none",
                expected="some of " + ", ".join(FAMILIES),
                way_out="Take PAPER.families or DEFAULT.families for the usual selections.",
            )
        scales = (self.minimum_sigma, self.maximum_sigma) if self.sigmas is None else self.sigmas
        if not scales or not all(isfinite(s) and s > 0 for s in scales) or self.scales == ():
            raise LowdoseError(
                "scales",
                found=scales,
                expected="positive scales in pixels, the smallest first",
                way_out="Give minimum_sigma <= maximum_sigma, or list the scales in sigmas.",
            )
        if len(set(self.scales)) < len(self.scales) or list(self.scales) != sorted(self.scales):
            raise LowdoseError(
                "sigmas", found=scales, expected="rising scales", way_out="Sort them and drop repeated ones."
            )
        if self.membrane_patch < 3 or self.membrane_patch % 2 == 0:
            raise LowdoseError(
                "membrane_patch",
                found=self.membrane_patch,
                expected="an odd side of at least 3 pixels",
                way_out="The plugin's default is 19.",
            )
        if not 1 <= self.membrane_thickness < self.membrane_patch:
            raise LowdoseError(
                "membrane_thickness",
                found=self.membrane_thickness,
                expected=f"1 to {self.membrane_patch - 1} pixels, less than the patch",
                way_out="The plugin's default is 1.",
            )
        if self.compat not in ("weka", None):
            raise LowdoseError(
                "compat",
                found=repr(self.compat),
                expected="'weka' or None",
                way_out='Use compat="weka" for the plugin\'s numbers.',
            )

    @property
    def scales(self) -> tuple[float, ...]:
        """The scales in pixels, smallest first."""
        if self.sigmas is not None:
            return tuple(float(s) for s in self.sigmas)
        doubling = (self.minimum_sigma * 2.0**k for k in range(64))
        return tuple(takewhile(lambda s: s <= self.maximum_sigma, doubling))


PAPER = FeatureSet(tuple(name for name in FAMILIES if name not in NOT_IN_PAPER))
"""The 252 features of Staniewicz and Midgley, Adv. Struct. Chem. Imaging 1, 9 (2015)."""

DEFAULT = FeatureSet(("original", "gaussian", "sobel", "hessian", "difference_of_gaussians", "membrane"))
"""The 76 features that the plugin selects when it starts."""
