"""Non-linear anisotropic diffusion: smoothing that follows the structure of an image or volume.

``du/dt = div(D grad u)``, where the diffusion tensor D has the eigenvectors of the structure tensor of u
(Weickert, "Anisotropic Diffusion in Image Processing", 1998). Lengths are in pixels; a diffusion with D = 1
for the time t is a Gaussian blur of variance 2t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import Literal, get_args

import torch

from lowdose_utils.device import ArrayT, like, resolve_device, to_tensor
from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import check_stack

Method = Literal["eed", "ced", "hybrid", "linear"]
_Tensor = dict[tuple[int, int], torch.Tensor]  # upper triangle, by axes counted from 1

LONGEST_STEP = 0.5  # derived in `_change`
_DISSIPATION = 0.1  # blurs oblique edges a little; up to 1/3 it does not shorten the step
_ACROSS = 1e-3  # CED's diffusivity across structures (Weickert's alpha)
_EDGE = 3.31488  # makes the flux grow below the contrast and fall above it, for the power 8 (Weickert)
_NOISE_SHARE, _IMAGE_SHARE = 0.99, 0.9  # of gradients taken for noise: in a noise region, in a whole image
_CHUNK = 2**22  # pixels of slices worked on together


def diffuse(
    volume: ArrayT,
    method: Method = "eed",
    *,
    dimensions: Literal[2, 3] = 2,
    noise_scale: float = 1.0,
    integration_scale: float | None = None,
    contrast: float | None = None,
    coherence: float | None = None,
    noise_region: Sequence[slice] | None = None,
    iterations: int = 20,
    step: float = 0.25,
    device: str | torch.device = "auto",
) -> ArrayT:
    """Diffuse a volume in 3-D, or each of its slices for itself in 2-D.

    Let the structure tensor J, smoothed with `integration_scale`, have the eigenvalues mu_1 >= ... >= mu_d,
    and let u_s be the image blurred with `noise_scale`. The eigenvalues of D along J's eigenvectors are

    - ``"eed"``, edge-enhancing: ``g = 1 - exp(-3.31488 / (|grad u_s| / contrast)^8)`` across the edge, 1
      along it (Weickert 1998, section 1.5);
    - ``"ced"``, coherence-enhancing: 0.001 across the structure, and along the k-th eigenvector
      ``0.001 + 0.999 exp(-(coherence / (mu_1 - mu_k))^2)``. In 3-D that smooths along planes and along lines
      (Weickert 1998, section 5.2; Fernandez and Li, J. Struct. Biol. 144 (2003));
    - ``"hybrid"``: CED where ``mu_1 - mu_d`` is above its mean over the noise region at that iteration, EED
      elsewhere (Frangakis and Hegerl, J. Struct. Biol. 135 (2001));
    - ``"linear"``: 1, a Gaussian blur of variance ``2 iterations step``, to compare with.

    The mean is kept, and the sum of squares never grows. Values may leave the range of the input slightly
    where D is strongly anisotropic and oblique to the axes. The borders let nothing through (Neumann).

    Parameters
    ----------
    volume : array of shape (z, y, x)
        Any finite real values.
    method : {"eed", "ced", "hybrid", "linear"}
        See above.
    dimensions : {2, 3}
        2: each (y, x) slice for itself, with its own automatic parameters. 3: the volume as a whole.
    noise_scale : float
        Standard deviation in pixels of the blur before gradients are taken; 0 for none.
    integration_scale : float, optional
        Standard deviation in pixels that smooths the structure tensor: 0 for EED, else 3, if not given.
    contrast : float, optional
        Gradient of the blurred image, in values per pixel, above which EED takes it for an edge. If not
        given, 99 % of the gradients in `noise_region` lie below it, or, without a region, 90 % of all
        (as Perona and Malik, IEEE Trans. Pattern Anal. Mach. Intell. 12 (1990), section V).
    coherence : float, optional
        Difference of eigenvalues, in (values per pixel)², above which CED smooths along a structure. If not
        given, found in the same way from ``mu_1 - mu_d``.
    noise_region : slices, optional
        One for each diffused axis, such as ``np.s_[0:50, 0:50]`` in 2-D: a part that holds only noise.
        If it touches structure, the contrast comes out too high and edges erode.
        Without it the hybrid's mean is over the whole image.
    iterations : int
        Steps. D is computed anew for each; `contrast` and `coherence` stay.
    step : float
        Time of one step, in pixels²; at most 0.5, beyond which the explicit scheme is unstable.
    device : str
        Where to compute. An array of float64 is computed in float32, a tensor of float64 in float64.

    Returns
    -------
    array of shape (z, y, x)
        Of the kind of `volume`.

    Raises
    ------
    LowdoseError
        If shapes, values or options are wrong, or the step is unstable.
    """
    check_stack("volume", volume, (None, None))
    _check_options(method, dimensions, iterations, step)
    if integration_scale is None:
        integration_scale = 0.0 if method == "eed" else 3.0
    for given in (noise_scale, integration_scale, contrast, coherence):
        if given is not None and not (isfinite(given) and given >= 0):
            raise LowdoseError(
                "noise_scale, integration_scale, contrast, coherence",
                found=given,
                expected="0 or positive numbers",
                way_out="Leave them out for automatic ones.",
            )
    work = to_tensor(volume, resolve_device(device))
    if dimensions == 3:
        work = work[None]
    region = None if noise_region is None else _cells_inside(noise_region, work.shape[1:])
    rule = _Rule(method, noise_scale, integration_scale, contrast, coherence, region)
    size = max(1, _CHUNK // work[0].numel())
    parts = (work[first : first + size] for first in range(0, len(work), size))
    result = torch.cat([_run(part, replace(rule), iterations, step) for part in parts])
    return like(result[0] if dimensions == 3 else result, volume)


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


def _run(image: torch.Tensor, rule: _Rule, iterations: int, step: float) -> torch.Tensor:
    for _ in range(iterations):
        tensor = None if rule.method == "linear" else _diffusion_tensor(image, rule)
        image = image + step * _change(image, tensor)
    return image


def _change(image: torch.Tensor, tensor: _Tensor | None) -> torch.Tensor:
    """``div(D grad u)`` as minus the gradient of an energy, with D (None: 1) on cells between the pixels.

    A cell has 2^d pixels at its corners and 2^(d-1) differences along each axis i, of mean m_i and variance
    v_i. Its energy is ``(m' D m + q sum_i D_ii v_i) / 2``. The first part alone would not see checkerboards;
    q = 0.1 is their share (the idea of Weickert, Welk and Wickert, "L²-stable nonstandard finite
    differences for anisotropic image diffusion", SSVM 2013). D having eigenvalues of 0 to 1, the energy is
    at least 0 and at most that of D = 1, whose largest eigenvalue is ``4 max(1, q d)``, found by Fourier
    transform: a step is stable up to ``2 / 4``.
    """
    axes = range(1, image.ndim)
    padded = _mirrored(image, 1)
    slopes = _gradient(padded)
    if tensor is None:
        tensor = {(i, j): torch.full_like(slopes[0], float(i == j)) for i in axes for j in axes if i <= j}
    change = torch.zeros_like(image)
    for axis in axes:
        flux, weight = -_DISSIPATION * tensor[axis, axis] * slopes[axis - 1], tensor[axis, axis]
        for other in axes:
            flux += tensor[min(axis, other), max(axis, other)] * slopes[other - 1]
        difference = padded.diff(dim=axis)
        for other in axes:
            if other != axis:
                flux, weight = _halfway(flux, other), _halfway(weight, other)
                difference = difference.narrow(other, 1, image.shape[other])
        flux += _DISSIPATION * weight * difference
        # Nothing flows through the border. By symmetry it is so already, but for rounding.
        flux.select(axis, 0).zero_()
        flux.select(axis, -1).zero_()
        change += flux.diff(dim=axis)
    return change


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


def _gradient(image: torch.Tensor) -> list[torch.Tensor]:
    """Mean differences along each axis on the cells between the pixels: one fewer than pixels."""
    slopes = []
    for axis in range(1, image.ndim):
        slope = image.diff(dim=axis)
        for other in range(1, image.ndim):
            if other != axis:
                slope = _halfway(slope, other)
        slopes.append(slope)
    return slopes


def _halfway(field: torch.Tensor, axis: int) -> torch.Tensor:
    size = field.shape[axis] - 1
    return (field.narrow(axis, 0, size) + field.narrow(axis, 1, size)) / 2


def _mirrored(image: torch.Tensor, margin: int) -> torch.Tensor:
    """Continue the image beyond its borders by mirrors at the pixels' outer faces, as often as it takes."""
    for axis in range(1, image.ndim):
        size = image.shape[axis]
        index = torch.arange(-margin, size + margin, device=image.device).remainder(2 * size)
        image = image.index_select(axis, torch.minimum(index, 2 * size - 1 - index))
    return image


def _reach(sigma: float) -> int:
    return ceil(4 * sigma)


def _blur(field: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur; the result is smaller by the kernel's reach at every border."""
    if not (reach := _reach(sigma)):
        return field
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2)
    for axis in range(1, field.ndim):
        size = field.shape[axis] - 2 * reach
        blurred = torch.zeros_like(field.narrow(axis, 0, size))
        for shift, weight in enumerate((weights / weights.sum()).tolist()):
            blurred += weight * field.narrow(axis, shift, size)
        field = blurred
    return field


def _cells_inside(region: Sequence[slice], shape: Sequence[int]) -> tuple[slice, ...]:
    """The cells whose corners all lie in a region of pixels."""
    parts = tuple(region) if isinstance(region, (tuple, list)) else (region,)
    if len(parts) == len(shape) and all(isinstance(part, slice) for part in parts):
        spans = [part.indices(size) for part, size in zip(parts, shape, strict=True)]
        if all(stop - start >= 2 and stride == 1 for start, stop, stride in spans):
            return tuple(slice(start + 1, stop) for start, stop, _ in spans)
    raise LowdoseError(
        "noise_region",
        found=region,
        expected=f"{len(shape)} slices of at least two pixels each within {tuple(shape)}",
        way_out="Give one slice for each diffused axis, without a stride: np.s_[0:50, 0:50].",
    )


def _check_options(method: str, dimensions: int, iterations: int, step: float) -> None:
    for name, given, known in (("method", method, get_args(Method)), ("dimensions", dimensions, (2, 3))):
        if given not in known:
            raise LowdoseError(
                name, found=given, expected=" or ".join(map(str, known)), way_out="Choose one."
            )
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 0:
        raise LowdoseError(
            "iterations", found=iterations, expected="a whole number, 0 or more", way_out="Count steps."
        )
    if not 0 < step <= LONGEST_STEP:
        raise LowdoseError(
            "step",
            found=step,
            expected=f"more than 0 and at most {LONGEST_STEP}",
            way_out="A longer step is unstable: take more iterations.",
        )
