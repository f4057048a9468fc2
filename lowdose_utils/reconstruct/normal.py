"""The normal operator A'A of the projector A, quickly as a convolution or exactly as a pair.

All iterative methods here start from `Problem`, which checks the input and sets up the operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy.typing as npt
import torch
from scipy import fft as scipy_fft

from lowdose_utils.device import Array
from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import Projector, check_angles, check_stack
from lowdose_utils.reconstruct.fbp import angular_weights, check_choice, filter_response

Normal = Literal["toeplitz", "exact"]


class NormalOperator(Protocol):
    """What A'A does to a stack (slice, y, x)."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor: ...


class ToeplitzNormal:
    """A'A as a convolution, for a detector without ends.

    Projecting and back-projecting smears each pixel with one and the same point spread function, about
    ``number of angles / (pi distance)``. On a doubled grid that is a product of FFTs, whatever the number
    of angles. It equals A'A as long as all projections of the object fall on the detector.
    """

    def __init__(self, projector: Projector) -> None:
        self.size = projector.size
        self.grid = int(scipy_fft.next_fast_len(2 * self.size - 1, real=True))
        # An odd side has a pixel right on the axis, where all rays of a single bright column meet.
        spreader = Projector(
            projector.angles,
            2 * self.size - 1,
            columns=2,
            axis=0.0,
            kernel_width=6,
            padding=1.0,
            oversampling=1.5,
            device=projector.device,
            dtype=projector.dtype,
        )
        point = torch.zeros((1, len(projector.angles), 2), dtype=projector.dtype, device=projector.device)
        point[:, :, 0] = 1
        self.spread = spreader.adjoint(point)[0]
        extra = self.grid - (2 * self.size - 1)
        padded = torch.nn.functional.pad(self.spread, (0, extra, 0, extra))
        kernel = torch.fft.rfft2(padded.roll((1 - self.size, 1 - self.size), (0, 1))).real
        # A'A has no negative eigenvalues; what is below zero is the gridding's error.
        self.kernel = kernel.clamp_(min=0)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft2(images, s=(self.grid, self.grid)) * self.kernel
        spread: torch.Tensor = torch.fft.irfft2(spectrum, s=(self.grid, self.grid))
        return spread[:, : self.size, : self.size]


@dataclass(frozen=True)
class ExactNormal:
    """A'A by projecting and back-projecting: right where objects leave the field, too."""

    projector: Projector

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self.projector.adjoint(self.projector.forward(images))


class Problem:
    """Checked sinograms on the device, in units of attenuation per pixel, and their projector."""

    def __init__(
        self,
        sinograms: Array,
        angles: npt.ArrayLike,
        *,
        size: int | None,
        axis: float | None,
        pixel_size: float,
        device: str | torch.device,
        normal: Normal = "exact",
    ) -> None:
        check_choice("normal", normal, get_args(Normal))
        theta = check_angles(angles)
        given = check_stack("sinograms", sinograms, (len(theta), None))
        if not pixel_size > 0:
            raise LowdoseError(
                "pixel_size", found=pixel_size, expected="a positive length", way_out="Use metres."
            )
        double = isinstance(sinograms, torch.Tensor) and sinograms.dtype == torch.float64
        self.projector = Projector(
            theta,
            given.shape[2] if size is None else size,
            columns=given.shape[2],
            axis=axis,
            # Convolution and back-projected data come from two different griddings, which must agree.
            kernel_width=6 if normal == "toeplitz" else 4,
            device=device,
            dtype=torch.float64 if double else torch.float32,
        )
        self.sinograms: torch.Tensor = given.to(self.projector.device, self.projector.dtype)
        self._normal = normal

    def normal(self) -> NormalOperator:
        """The normal operator of the kind asked for."""
        return ToeplitzNormal(self.projector) if self._normal == "toeplitz" else ExactNormal(self.projector)

    def fbp(self) -> torch.Tensor:
        """Filtered back-projection in attenuation per pixel."""
        return self.projector.backproject(
            self.sinograms,
            response=filter_response(self.projector.period, "ramp"),
            weights=angular_weights(self.projector.angles),
        )


def check_iterations(iterations: int) -> None:
    """Raise LowdoseError unless there is at least one iteration."""
    if iterations < 1:
        raise LowdoseError(
            "iterations", found=iterations, expected="at least 1", way_out="Ask for more iterations."
        )


def per_slice(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Inner product of each slice, shaped to multiply the stack."""
    return (first * second).flatten(1).sum(dim=1).view(-1, *[1] * (first.ndim - 1))
