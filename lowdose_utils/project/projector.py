"""The projector: its geometry, and the ways there and back in chunks of slices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import ArrayT, like, resolve_device
from lowdose_utils.errors import LowdoseError
from lowdose_utils.gridding import GriddingMatrices, even_fast, kernel_transform, recent, shape_parameter
from lowdose_utils.project.checks import _whole, check_angles, check_stack

# Two cores read the gridding matrix once per chunk of slices, and the chunk's spectra should stay in the
# processor's cache: some 4 million complex numbers on a CPU; a GPU wants long queues instead.
_CHUNK_SAMPLES = {"cpu": 1.0e6, "cuda": 5.0e7}


class Projector:
    """Line integrals of pixel images along parallel rays, and the exact adjoint.

    Pixel centres are at integers, the image is centred on ``(size - 1) / 2``, x grows with the column, y
    grows upwards, and the ray at detector coordinate t has ``x cos(angle) + y sin(angle) = t``. Lengths are
    in pixels: the projection of a disc of value 1 and radius r is ``2 r`` at its middle. The image is taken
    as band-limited to half a cycle per pixel in every direction.

    Parameters
    ----------
    angles : array of shape (angle,)
        Projection angles in radians, any values in any order.
    size : int
        Side of the square image in pixels.
    columns : int, optional
        Detector columns; `size` by default.
    axis : float, optional
        Detector column of the rotation axis; ``(columns - 1) / 2`` by default.
    kernel_width : int
        Width of the Kaiser-Bessel kernel in grid points; each more gives about 20 dB.
    padding : float
        Length of the detector's FFT in units of the larger of `size` and `columns` (more where an
        off-centre axis asks for it).
    oversampling : float
        Side of the Fourier grid in units of `size`.
    device : str or torch.device
        Where to work. Apple's Metal has no sparse matrices: it is replaced by the CPU.
    dtype : torch.dtype
        ``torch.float32``, or ``torch.float64`` for checks.

    Raises
    ------
    LowdoseError
        If an angle, size, axis or kernel parameter makes no sense.
    """

    def __init__(
        self,
        angles: npt.ArrayLike | torch.Tensor,
        size: int,
        *,
        columns: int | None = None,
        axis: float | None = None,
        kernel_width: int = 4,
        padding: float = 2.0,
        oversampling: float = 1.25,
        device: str | torch.device = "auto",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.angles = check_angles(angles)
        self.size = _whole("size", size)
        self.columns = self.size if columns is None else _whole("columns", columns)
        self.axis = (self.columns - 1) / 2 if axis is None else float(axis)
        self.dtype = dtype
        self.device = resolve_device(device)
        if self.device.type == "mps":
            self.device = torch.device("cpu")
        if not -self.size < self.axis < self.columns + self.size:
            raise LowdoseError(
                "axis",
                found=self.axis,
                expected=f"a column on or near the detector, 0 to {self.columns - 1}",
                way_out="Give the rotation axis in (unpadded) detector columns.",
            )
        if kernel_width < 2 or padding < 1 or oversampling < 1.1:
            raise LowdoseError(
                "kernel_width, padding, oversampling",
                found=(kernel_width, padding, oversampling),
                expected="at least 2, 1 and 1.1",
                way_out="Leave them at their defaults, or raise them for more accuracy.",
            )

        # The longest way from the axis to an end of the detector, and from there to the image's far corner,
        # must fit in one period of the detector's FFT, else projections wrap round.
        reach = max(self.axis, self.columns - 1 - self.axis) + self.size * math.sqrt(0.5) + 1
        self.period = even_fast(max(padding * max(self.size, self.columns), reach))
        self.frequencies = self.period // 2 + 1
        grid = even_fast(max(oversampling * self.size, 4 * kernel_width))
        self._matrices = GriddingMatrices(
            self.angles, grid, self.period, kernel_width, shape_parameter(kernel_width, grid / self.size)
        )

        cosine, sine = np.cos(self.angles), np.sin(self.angles)
        # Pixels sit at half integers when `size` is even; the grid knows integers only.
        half = self.size // 2 - (self.size - 1) / 2
        shift = self.axis + half * (cosine - sine)
        self._phase = recent.get(
            ("phase", shift.tobytes(), self.period, self.device, dtype), lambda: self._phases(shift)
        )
        # Samples on the left half of the Fourier plane are replaced by their conjugates on the right.
        self._conjugate = torch.from_numpy(np.where(cosine < 0, -1.0, 1.0)[:, None]).to(self.device, dtype)
        # Each frequency above zero stands for itself and its mirror image, which the real FFTs of the grid
        # count on their own; zero and the highest frequency are their own mirror images.
        share = np.ones(self.frequencies)
        share[[0, -1]] = 0.5
        self._share = torch.from_numpy(share / self.period).to(self.device, dtype)
        taper = 1 / kernel_transform(self.size, grid, kernel_width, self._matrices.beta)
        self._taper = torch.from_numpy(taper[:, None] * taper).to(self.device, dtype)

    def _phases(self, shift: npt.NDArray[np.float64]) -> torch.Tensor:
        """Factors (angle, frequency) that move projections by `shift` (angle,) columns to the left."""
        cycles = torch.arange(self.frequencies, dtype=torch.float64, device=self.device) / self.period
        turns = torch.from_numpy(shift[:, None]).to(self.device) * cycles
        # Whole turns are dropped in double precision; the rest can do with single.
        phase = ((turns - turns.round()) * (2 * math.pi)).to(self.dtype)
        return torch.polar(torch.ones_like(phase), phase)

    def forward(self, images: ArrayT) -> ArrayT:
        """Project `images` of shape (slice, y, x) to sinograms (slice, angle, column), in pixel lengths.

        Raises
        ------
        LowdoseError
            If the shape does not fit the geometry, or there are values that are not finite.
        """
        given = check_stack("images", images, (self.size, self.size))
        return like(self._in_chunks(given, (len(self.angles), self.columns), self._forward), images)

    def adjoint(self, sinograms: ArrayT) -> ArrayT:
        """Back-project `sinograms` (slice, angle, column) unweighted: the exact transpose of `forward`.

        Raises
        ------
        LowdoseError
            If the shape does not fit the geometry, or there are values that are not finite.
        """
        return self.backproject(sinograms)

    def backproject(
        self,
        sinograms: ArrayT,
        *,
        response: npt.NDArray[np.float64] | None = None,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> ArrayT:
        """Back-project `sinograms` filtered and weighted.

        Parameters
        ----------
        sinograms : array of shape (slice, angle, column)
            Line integrals.
        response : array of shape (frequency,), optional
            Real filter at the frequencies of ``rfft`` with length `period`.
        weights : array of shape (angle,), optional
            What each projection counts for. With neither this is the adjoint.
        """
        given = check_stack("sinograms", sinograms, (len(self.angles), self.columns))
        share = self._share
        if response is not None:
            share = share * torch.from_numpy(response).to(self.device, self.dtype)
        multiplier = self._phase * share
        if weights is not None:
            multiplier *= torch.from_numpy(weights[:, None]).to(self.device, self.dtype)
        return like(
            self._in_chunks(given, (self.size, self.size), lambda part: self._backproject(part, multiplier)),
            sinograms,
        )

    def _backproject(self, sinograms: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
        count, grid, margin = len(sinograms), self._matrices.grid, self._matrices.margin
        spectra = torch.fft.rfft(sinograms, self.period).mul_(multiplier)
        torch.view_as_real(spectra)[..., 1] *= self._conjugate
        samples = torch.view_as_real(spectra.permute(1, 2, 0).contiguous()).view(-1, 2 * count)
        spread = self._matrices.to_grid(self.device, self.dtype) @ samples
        plane = torch.view_as_complex(spread.view(grid, -1, count, 2)).permute(2, 0, 1)
        # What fell beyond either edge of the half plane belongs, conjugated, to the mirrored place inside;
        # the edge columns themselves receive their own mirror images too.
        half = plane[:, :, margin:-margin].contiguous()
        half[:, :, : margin + 1] += _mirrored(plane[:, :, : margin + 1])
        half[:, :, -margin - 1 :] += _mirrored(plane[:, :, -margin - 1 :])
        start = grid // 2 - self.size // 2
        rows = torch.fft.ifft(half, dim=1, norm="forward")[:, start : start + self.size]
        images = torch.fft.irfft(rows, grid, norm="forward")[:, :, start : start + self.size]
        return torch.mul(images, self._taper)

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        count, grid, margin = len(images), self._matrices.grid, self._matrices.margin
        start = grid // 2 - self.size // 2
        end = grid - start - self.size
        rows = torch.fft.rfft(torch.nn.functional.pad(images * self._taper, (start, end)))
        half = torch.fft.fft(torch.nn.functional.pad(rows, (0, 0, start, end)), dim=1)
        plane = torch.cat(
            [_mirrored(half[:, :, 1 : margin + 1]), half, _mirrored(half[:, :, -margin - 1 : -1])], dim=2
        )
        values = torch.view_as_real(plane.permute(1, 2, 0).contiguous()).view(-1, 2 * count)
        samples = self._matrices.from_grid(self.device, self.dtype) @ values
        spectra = torch.view_as_complex(samples.view(len(self.angles), -1, count, 2))
        spectra = spectra.permute(2, 0, 1).contiguous()
        torch.view_as_real(spectra)[..., 1] *= self._conjugate
        sinograms: torch.Tensor = torch.fft.irfft(spectra.mul_(self._phase.conj()), self.period)
        return sinograms[:, :, : self.columns]

    def _in_chunks(
        self, given: torch.Tensor, shape: tuple[int, int], step: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        budget = _CHUNK_SAMPLES.get(self.device.type, _CHUNK_SAMPLES["cpu"])
        # Powers of two: sparse times dense is quickest with whole vector registers.
        chunk = 1 << max(0, int(math.log2(budget / (len(self.angles) * self.frequencies) + 1e-9)))
        result = torch.empty((len(given), *shape), dtype=self.dtype, device=given.device)
        with torch.no_grad():
            for first in range(0, len(given), chunk):
                part = given[first : first + chunk].to(self.device, self.dtype)
                result[first : first + chunk] = step(part)
        return result


def _mirrored(columns: torch.Tensor) -> torch.Tensor:
    """Conjugates at the opposite frequencies: both axes reversed, the row of frequency zero kept."""
    return columns.flip(1, 2).roll(1, 1).conj()
