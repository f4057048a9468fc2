"""The stack's order: which channels a selection has, and what computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from typing import NamedTuple

import torch

from lowdose_utils.classify import derivatives, edge, oriented, rank, smooth, texture
from lowdose_utils.classify.neighbours import neighbours
from lowdose_utils.classify.selection import FeatureSet
from lowdose_utils.classify.smooth import Image


class Step(NamedTuple):
    """Channels that one call computes, one after the other, from an image (row, column).

    `reach` is how far a channel's pixel looks, in pixels; None if it depends on the whole image. `needs`
    names statistics of the whole image, ``low`` and ``high``, that are given along. `cost` is a rough share
    of the time, to start the longest first.
    """

    family: str
    names: list[str]
    compute: Callable[..., Iterable[Image]]
    reach: int | None
    cost: float = 1
    needs: tuple[str, ...] = ()


def steps(features: FeatureSet, device: torch.device) -> list[Step]:
    """The selection's steps in the stack's order."""
    return [step for step in _all_steps(features, device) if step.family in features.families and step.names]


def _all_steps(features: FeatureSet, device: torch.device) -> Iterator[Step]:
    scales, patch, compat = features.scales, features.membrane_patch, features.compat
    yield Step("original", ["original"], lambda image: [image], 0)
    waves = [(i, *wave) for wave in oriented.gabor_parameters() for i in (1, 2)]
    names = [f"Gabor_{i}_{s}_{g}_{phase}_{f}" for i, s, g, phase, f in waves]
    yield Step("gabor", names, partial(oriented.gabor, device=device), None, 60)
    for whole in _whole(scales).values():
        yield from _diffusion(whole, features, device)
    for r in edge.BILATERAL_RADII:
        compute = partial(edge.bilateral, radius=r, compat=compat, device=device)
        names = [f"Bilateral_{r}_{limit}" for limit in edge.BILATERAL_RANGES]
        yield Step("bilateral", names, compute, int(r), r * r / 5, ("low", "high"))
    slopes = [f"Lipschitz_true_true_{slope}" for slope in edge.SLOPES]
    yield Step("lipschitz", slopes, edge.lipschitz, None, 10)
    lines = [f"Kuwahara_{patch}_ {oriented.ANGLES}_{criterion}" for criterion in range(3)]
    compute = partial(oriented.kuwahara, length=patch, compat=compat, device=device)
    yield Step("kuwahara", lines, compute, 2 * (patch // 2), 20, ("low",))
    if scales[0] < 2:
        yield from _sobel_and_hessian(0.0)
    for i, scale in enumerate(scales):
        yield from _blurs(scale, scales[:i])
        yield from _ranks(scale)
        yield from _derivatives(scale)
        if whole := _whole(scales).get(scale, 0):
            compute = partial(texture.entropy, radius=whole, compat=compat, device=device)
            names = [f"Entropy_{whole}_{bins}" for bins in texture.BINS]
            yield Step("entropy", names, compute, whole, 4 + whole, ("low", "high"))
    thickness = features.membrane_thickness
    names = [f"Membrane_projections_{i}_{patch}_{thickness}" for i in range(6)]
    compute = partial(oriented.membrane, patch=patch, thickness=thickness, compat=compat)
    yield Step("membrane", names, compute, patch // 2, 5)
    for whole in _whole(scales).values():
        names = [f"Neighbors_{whole}_{k}" for k in range(8)]
        yield Step("neighbours", names, partial(neighbours, step=whole), whole)


def _whole(scales: tuple[float, ...]) -> dict[float, int]:
    """Whole pixels of the scales that have some not had before, for the families that count in them."""
    first: dict[int, float] = {}
    for scale in scales:
        first.setdefault(int(scale), scale)
    return {scale: whole for whole, scale in first.items() if whole}


def _diffusion(smoothings: int, features: FeatureSet, device: torch.device) -> Iterator[Step]:
    threshold = float(features.membrane_thickness)
    for along in edge.DIFFUSION_ALONG:
        name = f"{edge.DIFFUSION_ITERATIONS}_{smoothings}_{along}_{edge.DIFFUSION_ACROSS}_{threshold}"
        compute = partial(
            edge.anisotropic_diffusion,
            smoothings=smoothings,
            along=along,
            edge=threshold,
            compat=features.compat,
            device=device,
        )
        yield Step("anisotropic_diffusion", [f"Anisotropic_diffusion_{name}"], compute, None, 5 * smoothings)


def _sobel_and_hessian(scale: float) -> Iterator[Step]:
    reach = smooth.gaussian_reach(scale)
    yield Step("sobel", [f"Sobel_filter_{scale}"], partial(smooth.sobel, scale=scale), reach + 1)
    names = [f"Hessian_{name}{scale}" for name in smooth.HESSIAN]
    yield Step("hessian", names, partial(smooth.hessian, scale=scale), reach + 2)


def _blurs(scale: float, smaller: tuple[float, ...]) -> Iterator[Step]:
    reach = smooth.gaussian_reach(scale)
    yield Step("gaussian", [f"Gaussian_blur_{scale}"], partial(smooth.gaussian, scale=scale), reach)
    yield from _sobel_and_hessian(scale)
    names = [f"Difference_of_gaussians_{scale}_{other}" for other in smaller]
    compute = partial(smooth.difference_of_gaussians, scale=scale, smaller=smaller)
    yield Step("difference_of_gaussians", names, compute, reach)


def _ranks(scale: float) -> Iterator[Step]:
    for function in (rank.variance, rank.mean, rank.minimum, rank.maximum, rank.median):
        name, cost = function.__name__, scale / 2 if function is rank.median else 1
        names = [f"{name.capitalize()}_{scale}"]
        yield Step(name, names, partial(function, radius=scale), rank.rank_reach(scale), cost)


def _derivatives(scale: float) -> Iterator[Step]:
    names = [f"Derivatives_{order}_{order}_{scale}" for order in derivatives.ORDERS]
    compute = partial(derivatives.derivatives, sigma=scale)
    reach = derivatives.kernel_reach(scale, max(derivatives.ORDERS))
    yield Step("derivatives", names, compute, reach)
    compute = partial(derivatives.laplacian, sigma=scale)
    yield Step("laplacian", [f"Laplacian_{scale}"], compute, derivatives.kernel_reach(scale, 2))
    ends = product(derivatives.INTEGRATION, ("largest", "smallest"))
    names = [f"Structure_{which}_{scale}_{std}" for std, which in ends]
    compute = partial(derivatives.structure, sigma=scale)
    yield Step("structure", names, compute, derivatives.structure_reach(scale))
