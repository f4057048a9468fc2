"""What retrieval knows: contrast transfers, propagators and the instrument's response on the images' grid."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import Array, as_tensor, resolve_device
from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.optics import Optics
from lowdose_utils.holography.response import contrast_transfer, frequencies, photon_weights, responses

CHUNK_PIXELS = 1 << 20  # of all distances of a few angles, that go through the FFT together


class Model:
    """Optics on a grid of pixels of the first distance, and what is assumed of sample and blur.

    Parameters
    ----------
    optics : Optics
    shape : (int, int)
        Rows and columns of the images.
    delta_beta : float
        Ratio of delta to beta, the same in the whole sample; infinite for no absorption.
    exact : bool
        Whether the model knows that coarser pixels average over more and count for less, and the blur. False
        takes all distances as images of the finest pixels without blur, as the published filters do.
    source, detector_blur : float
        Known blur, as for `simulate.Camera`, of no effect unless `exact`.
    device : str or torch.device
        Where to work.

    Raises
    ------
    LowdoseError
        If delta_beta is not above 0, or the shape is none.
    """

    def __init__(
        self,
        optics: Optics,
        shape: tuple[int, int],
        *,
        delta_beta: float = 9.0,
        exact: bool = False,
        source: float = 0.0,
        detector_blur: float = 0.0,
        device: str | torch.device = "auto",
    ) -> None:
        if len(shape) != 2 or min(shape) < 2:
            raise LowdoseError(
                "shape", found=shape, expected="(rows, columns), 2 or more each", way_out="images.shape[-2:]"
            )
        self.optics, self.shape = optics, (int(shape[0]), int(shape[1]))
        self.delta_beta = float(delta_beta)
        self.device = resolve_device(device)
        # Half of the intensity's spectrum over that of the phase: sin chi + cos chi / delta_beta.
        self.transfer = contrast_transfer(optics, self.shape, delta_beta, self.device) / 2
        self.response = torch.ones_like(self.transfer)
        self.weights = torch.ones((len(self.transfer), 1, 1), device=self.device)
        if exact:
            self.response = responses(
                optics, self.shape, source=source, detector_blur=detector_blur, device=self.device
            )
            self.weights = photon_weights(optics).to(self.device)[:, None, None]
        self.y, self.x = (f.float() for f in frequencies(self.shape, 1.0, self.device))
        # Each coefficient of rfft2 stands for itself and its mirror image, but for those that are their own.
        self.count = torch.full_like(self.x, 2.0)
        self.count[:, [0, -1] if self.shape[1] % 2 == 0 else [0]] = 1.0

    def __len__(self) -> int:
        """Number of distances."""
        return len(self.transfer)

    def propagators(self) -> torch.Tensor:
        """Spectral factors (distance, row, column of ``fft2``) of a wave's way to each effective distance."""
        rows, columns = (
            torch.fft.fftfreq(side, self.optics.voxel_size, dtype=torch.float64) ** 2 for side in self.shape
        )
        scale = -math.pi * self.optics.wavelength
        found = []
        for distance in self.optics.effective_distances:
            chi = scale * distance * (rows[:, None] + columns)
            found.append(torch.polar(torch.ones_like(chi), chi).to(self.device, torch.complex64))
        return torch.stack(found)

    def damping(self, low: float, high: float) -> torch.Tensor:
        """Regularisation (row, column of ``rfft2``): `low` at low frequencies, `high` at high ones.

        It goes over at the first maximum of the farthest distance's transfer, ``f = 1 / sqrt(2 wavelength
        D)``, over a hundredth of a cycle per pixel, as in the program holotomo_slave of the ESRF that the
        package nabu (MIT licence) follows.
        """
        if not (0 <= low < math.inf and 0 <= high < math.inf and low + high > 0):
            raise LowdoseError(
                "limits", found=(low, high), expected="two numbers from 0 up, not both 0", way_out="1e-5, 0.2"
            )
        longest = self.optics.wavelength * max(self.optics.effective_distances)
        cut = min(self.optics.voxel_size / math.sqrt(2 * longest), 0.5) + 1 / self.shape[0]
        share = torch.special.erfc((torch.sqrt(self.y**2 + self.x**2) - cut) / 0.01)
        share = share / share[0, 0]
        found: torch.Tensor = low * share + high * (1 - share)
        return found

    def moved(self, spectra: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
        """Spectra (distance, angle, row, column) of images moved by `shifts` (distance, angle, 2) pixels."""
        turns = -2 * math.pi * shifts.to(self.device, torch.float32)
        row, column = turns[..., :1] * self.y[:, 0], turns[..., 1:] * self.x[0]
        ramps = [torch.polar(torch.ones_like(turn), turn) for turn in (row, column)]
        return spectra * ramps[0][..., :, None] * ramps[1][..., None, :]

    def in_parts(
        self, images: Array, shifts: npt.ArrayLike | None = None, chunk: int | None = None
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Spectra of some angles after the other, moved back by their shifts.

        Parameters
        ----------
        images : array of shape (distance, angle, row, column)
            Intensity over that of the open beam, on the grid of the first distance.
        shifts : array of shape (distance, angle, 2), optional
            Where the sample lies (row, column), in pixels.
        chunk : int, optional
            Angles at a time.

        Raises
        ------
        LowdoseError
            If shapes do not fit the model, or values are not finite.
        """
        given = self.checked(images)
        angles = given.shape[1]
        found = np.zeros((len(self), angles, 2)) if shifts is None else np.array(shifts, np.float64)
        if found.shape != (len(self), angles, 2) or not np.isfinite(found).all():
            raise LowdoseError(
                "shifts",
                found=f"shape {found.shape}",
                expected=f"({len(self)}, {angles}, 2), finite",
                way_out="(row, column) for each distance and angle: see align.register.",
            )
        step = chunk or max(1, CHUNK_PIXELS // (len(self) * self.shape[0] * self.shape[1]))
        for first in range(0, angles, step):
            part = slice(first, min(first + step, angles))
            spectra = torch.fft.rfft2(given[:, part].to(self.device, torch.float32) - 1)
            if found[:, part].any():
                spectra = self.moved(spectra, -torch.from_numpy(found[:, part]))
            yield part, spectra

    def checked(self, images: Array) -> torch.Tensor:
        """The images as a tensor where they are, after a look at shape and values."""
        tensor = as_tensor(images)
        fits = tensor.ndim == 4 and len(tensor) == len(self) and tuple(tensor.shape[2:]) == self.shape
        if not fits or tensor.shape[1] < 1 or not math.isfinite(tensor.sum(dtype=torch.float64)):
            raise LowdoseError(
                "images",
                found=f"shape {tuple(tensor.shape)}" + (", some not finite" if fits else ""),
                expected=f"({len(self)}, angle, {self.shape[0]}, {self.shape[1]}), finite",
                way_out="Distances come first, then angles; see align.rescale.",
            )
        return tensor


def transfers_of(model: Model, weighted: bool = True) -> torch.Tensor:
    """Transfer times response of each distance, times its weight if asked for."""
    found = model.transfer * model.response
    return found * model.weights if weighted else found


def sum_over(spectra: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Sum over the distances of spectra (distance, angle, ...) times factors (distance, ...)."""
    total = spectra[0] * factors[0]
    for one, factor in zip(spectra[1:], factors[1:], strict=True):
        total = total + one * factor
    return total
