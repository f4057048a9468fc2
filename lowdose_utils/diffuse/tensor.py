"""The diffusion tensor D: from an image's structure, by one of the methods."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch

from lowdose_utils.diffuse.stencils import _blur, _gradient, _mirrored, _reach, _Tensor

Method = Literal["eed", "ced", "hybrid", "linear"]
_ACROSS = 1e-3  # CED's diffusivity across structures (Weickert's alpha)
_EDGE = 3.31488  # makes the flux grow below the contrast and fall above it, for the power 8 (Weickert)
_NOISE_SHARE, _IMAGE_SHARE = 0.99, 0.9  # of gradients taken for noise: in a noise region, in a whole image


@dataclass
class _Rule:
    """How D comes from the image. Levels that are not given are set by the first image it is used on."""

    method: Method
    noise_scale: float
    integration_scale: float
    contrast: float | torch.Tensor | None
    coherence: float | torch.Tensor | None
    region: tuple[slice, ...] | None

    def noise(self, field: torch.Tensor) -> torch.Tensor:
        """The field's values in the noise region, a row for each item of the batch."""
        return (field if self.region is None else field[(slice(None), *self.region)]).flatten(1)

    def level(self, field: torch.Tensor, given: float | torch.Tensor | None) -> torch.Tensor:
        """What the noise stays below: `given`, or a quantile for each item of the batch."""
        if given is None:
            values = self.noise(field)
            share = _IMAGE_SHARE if self.region is None else _NOISE_SHARE
            given = _per_item(values.kthvalue(ceil(share * values.shape[1]), dim=1).values, field)
        return torch.as_tensor(given, dtype=field.dtype, device=field.device)


def _diffusion_tensor(image: torch.Tensor, rule: _Rule) -> _Tensor:
    """Components of D on the cells; sets the rule's levels."""
    margin, reach = _reach(rule.noise_scale), _reach(rule.integration_scale)
    slopes = _gradient(_blur(_mirrored(image, margin + reach + 1), rule.noise_scale))
    inner = (slice(None), *[slice(reach, side + reach + 1) for side in image.shape[1:]])
    squares = torch.stack(slopes).square().sum(dim=0)[inner]
    pairs = [(i, j) for i in range(1, image.ndim) for j in range(i, image.ndim)]
    products = {(i, j): slopes[i - 1] * slopes[j - 1] for i, j in pairs}

    rule.contrast = rule.level(squares.sqrt(), rule.contrast)
    edge = -torch.expm1(-_EDGE / _ratio(squares, rule.contrast**2) ** 4)
    if rule.method == "eed" and not reach:  # the gradient itself is the eigenvector
        across = (1 - edge) / squares.clamp_min(torch.finfo(image.dtype).tiny)
        return {(i, j): float(i == j) - across * product for (i, j), product in products.items()}
    values, projectors = _eigen(
        {pair: _blur(product, rule.integration_scale) for pair, product in products.items()}
    )
    along = [edge, *[torch.ones_like(edge)] * (len(values) - 1)]
    if rule.method != "eed":
        gaps = [values[0] - value for value in values]
        rule.coherence = rule.level(gaps[-1], rule.coherence)
        coherent = [
            _ACROSS + (1 - _ACROSS) * torch.exp(-(_ratio(rule.coherence, gap) ** 2)) for gap in gaps[1:]
        ]
        coherent = [torch.full_like(edge, _ACROSS), *coherent]
        if rule.method == "hybrid":
            structured = gaps[-1] > _per_item(rule.noise(gaps[-1]).mean(dim=1), edge)
            coherent = [torch.where(structured, c, e) for c, e in zip(coherent, along, strict=True)]
        along = coherent
    weighted = [
        {pair: rate * projector[pair] for pair in pairs}
        for rate, projector in zip(along, projectors, strict=True)
    ]
    return {pair: torch.stack([part[pair] for part in weighted]).sum(dim=0) for pair in pairs}


def _eigen(
    tensor: _Tensor,
) -> tuple[list[torch.Tensor], list[_Tensor]]:
    """Eigenvalues of a symmetric tensor field, largest first, and the projectors on their eigenvectors."""
    if len(tensor) == 3:
        first, mixed, last = tensor[1, 1], tensor[1, 2], tensor[2, 2]
        middle, half = (first + last) / 2, torch.hypot((first - last) / 2, mixed)
        safe = torch.where(half > 0, half, torch.ones_like(half))
        cosine, sine = (first - last) / 2 / safe, mixed / safe
        return [middle + half, middle - half], [
            {(1, 1): (1 + sign * cosine) / 2, (1, 2): sign * sine / 2, (2, 2): (1 - sign * cosine) / 2}
            for sign in (1, -1)
        ]
    where = tensor[1, 1].device
    matrix = torch.stack([tensor[min(i, j), max(i, j)] for i in (1, 2, 3) for j in (1, 2, 3)], dim=-1)
    if where.type == "mps":  # has no eigenvalues
        matrix = matrix.cpu()
    values, vectors = torch.linalg.eigh(matrix.view(*matrix.shape[:-1], 3, 3))
    values, vectors = values.to(where), vectors.to(where)
    return [values[..., k] for k in (2, 1, 0)], [
        {(i, j): vectors[..., i - 1, k] * vectors[..., j - 1, k] for i, j in tensor} for k in (2, 1, 0)
    ]


def _per_item(values: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """Shape one value for each item of the batch to multiply the field."""
    return values.view(-1, *[1] * (field.ndim - 1))


def _ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """``above / below``, and 0 / 0 = 0 where a flat image sets an automatic level of 0."""
    return torch.where(above > 0, above / below, torch.zeros_like(above))
