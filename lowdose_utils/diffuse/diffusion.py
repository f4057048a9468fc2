"""The diffusion itself: options checked, slices or volume taken through their steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Literal, get_args

import torch

from lowdose_utils.device import ArrayT, like, resolve_device, to_tensor
from lowdose_utils.diffuse.stencils import LONGEST_STEP, _change
from lowdose_utils.diffuse.tensor import Method, _diffusion_tensor, _Rule
from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import check_stack

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


def _run(image: torch.Tensor, rule: _Rule, iterations: int, step: float) -> torch.Tensor:
    for _ in range(iterations):
        tensor = None if rule.method == "linear" else _diffusion_tensor(image, rule)
        image = image + step * _change(image, tensor)
    return image


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
