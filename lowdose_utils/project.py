"""Parallel-beam projector and its exact adjoint, by sparse Kaiser-Bessel gridding in torch.

By the Fourier slice theorem the 1-D spectrum of a projection is the 2-D spectrum of the image along a
line. Both directions go between the polar samples and a slightly finer Cartesian grid with one sparse
matrix of Kaiser-Bessel weights, computed once per geometry; the rest is batched FFTs. Images and
projections are real, so only half of the Fourier plane is kept. The method is the non-uniform FFT of
Fessler and Sutton, "Nonuniform fast Fourier transforms using min-max interpolation", IEEE Trans. Signal
Process. 51 (2003); the kernel's shape parameter is that of Beatty, Nishimura and Pauly, "Rapid gridding
reconstruction with a minimal oversampling ratio", IEEE Trans. Med. Imaging 24 (2005), equation 5.
"""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from scipy import fft as scipy_fft
from scipy import sparse
from scipy.special import i0

from lowdose_utils.device import Array, ArrayT, like, resolve_device
from lowdose_utils.errors import LowdoseError

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
        self.period = _even_fast(max(padding * max(self.size, self.columns), reach))
        self.frequencies = self.period // 2 + 1
        grid = _even_fast(max(oversampling * self.size, 4 * kernel_width))
        self._matrices = _Matrices(
            self.angles, grid, self.period, kernel_width, _shape_parameter(kernel_width, grid / self.size)
        )

        cosine, sine = np.cos(self.angles), np.sin(self.angles)
        # Pixels sit at half integers when `size` is even; the grid knows integers only.
        half = self.size // 2 - (self.size - 1) / 2
        shift = self.axis + half * (cosine - sine)
        self._phase = _recent.get(
            ("phase", shift.tobytes(), self.period, self.device, dtype), lambda: self._phases(shift)
        )
        # Samples on the left half of the Fourier plane are replaced by their conjugates on the right.
        self._conjugate = torch.from_numpy(np.where(cosine < 0, -1.0, 1.0)[:, None]).to(self.device, dtype)
        # Each frequency above zero stands for itself and its mirror image, which the real FFTs of the grid
        # count on their own; zero and the highest frequency are their own mirror images.
        share = np.ones(self.frequencies)
        share[[0, -1]] = 0.5
        self._share = torch.from_numpy(share / self.period).to(self.device, dtype)
        taper = 1 / _kernel_transform(self.size, grid, kernel_width, self._matrices.beta)
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
        given = self._take("images", images, (self.size, self.size))
        return like(self._in_chunks(given, (len(self.angles), self.columns), self._forward), images)

    def adjoint(self, sinograms: ArrayT) -> ArrayT:
        """Back-project `sinograms` (slice, angle, column) unweighted: the exact transpose of `forward`.

        Raises
        ------
        LowdoseError
            If the shape does not fit the geometry, or there are values that are not finite.
        """
        return self.backproject(sinograms)

    def backproject(self, sinograms: ArrayT, weights: torch.Tensor | None = None) -> ArrayT:
        """Back-project `sinograms` after multiplying their spectra by real `weights`.

        Parameters
        ----------
        sinograms : array of shape (slice, angle, column)
            Line integrals.
        weights : tensor, optional
            Broadcast against (angle, frequency), frequencies being those of ``rfft`` with length
            `period`: filter times angular weight. Without weights this is the adjoint.
        """
        given = self._take("sinograms", sinograms, (len(self.angles), self.columns))
        multiplier = self._phase * self._share
        if weights is not None:
            multiplier *= weights.to(self.device, self.dtype)
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

    def _take(self, thing: str, given: Array, shape: tuple[int, int]) -> torch.Tensor:
        """Check a stack; it stays where it is, and goes to the device chunk by chunk."""
        return check_stack(thing, given, shape)


def check_stack(thing: str, given: Array, shape: tuple[int | None, int | None]) -> torch.Tensor:
    """Give a stack (slice, ...) as a tensor where it is, after checking shape and values.

    Raises
    ------
    LowdoseError
        If there are not three dimensions, the last two differ from `shape` (None is free), the stack is
        empty or complex, or values are NaN or infinite.
    """
    tensor = given if isinstance(given, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(given))
    expected = "(slice, " + ", ".join("any" if side is None else str(side) for side in shape) + ")"
    if (
        tensor.ndim != 3
        or any(side is not None and side != real for side, real in zip(shape, tensor.shape[1:], strict=True))
        or tensor.numel() == 0
    ):
        raise LowdoseError(
            f"shape of {thing}",
            found=tuple(tensor.shape),
            expected=expected,
            way_out="A single slice needs a leading dimension of 1: array[None].",
        )
    if tensor.is_complex() or not bool(torch.isfinite(tensor).all()):
        raise LowdoseError(
            f"values of {thing}",
            found="complex numbers" if tensor.is_complex() else "NaN or infinite values",
            expected="finite real numbers",
            way_out="Mend bad pixels first, and see that no count below one went into a logarithm.",
        )
    return tensor


def check_angles(angles: npt.ArrayLike | torch.Tensor) -> npt.NDArray[np.float64]:
    """Give `angles` (radians) as a float64 vector, after checking that it is one.

    Raises
    ------
    LowdoseError
        If it is not a non-empty vector of finite numbers, or looks like degrees.
    """
    raw = angles.detach().cpu().numpy() if isinstance(angles, torch.Tensor) else angles
    vector = np.asarray(raw, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(vector).all():
        raise LowdoseError(
            "angles",
            found=f"shape {vector.shape}" if np.isfinite(vector).all() else "NaN or infinite values",
            expected="a vector of finite angles in radians",
            way_out="Give one angle per projection.",
        )
    return vector


def _whole(thing: str, value: int) -> int:
    if int(value) != value or value < 2:
        raise LowdoseError(
            thing, found=value, expected="a whole number of at least 2", way_out="Count pixels."
        )
    return int(value)


def _even_fast(length: float) -> int:
    """Even length of at least `length` that the FFT likes."""
    return 2 * int(scipy_fft.next_fast_len(math.ceil(length / 2), real=True))


def _shape_parameter(width: int, oversampling: float) -> float:
    """Kaiser-Bessel shape parameter that aliases least (Beatty 2005, equation 5)."""
    return math.pi * math.sqrt((width / oversampling) ** 2 * (oversampling - 0.5) ** 2 - 0.8)


def _kernel_transform(size: int, grid: int, width: int, beta: float) -> npt.NDArray[np.float64]:
    """Fourier transform of the Kaiser-Bessel kernel at the image's pixels (Beatty 2005, equation 4)."""
    pixel = np.arange(size) - size // 2
    root = np.sqrt((beta**2 - (math.pi * width * pixel / grid) ** 2).astype(complex))
    transform: npt.NDArray[np.float64] = (width * np.sinc(1j * root / np.pi) / i0(beta)).real
    return transform


def _mirrored(columns: torch.Tensor) -> torch.Tensor:
    """Conjugates at the opposite frequencies: both axes reversed, the row of frequency zero kept."""
    return columns.flip(1, 2).roll(1, 1).conj()


class _Matrices:
    """The sparse gridding matrix of one geometry and its transpose, made when asked for."""

    def __init__(
        self, angles: npt.NDArray[np.float64], grid: int, period: int, width: int, beta: float
    ) -> None:
        self.angles, self.grid, self.period, self.width, self.beta = angles, grid, period, width, beta
        self.margin = width // 2

    def to_grid(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Polar samples (angle x frequency) to grid points (v x padded u)."""
        return _recent.get(self._key("to grid", device, dtype), lambda: self._build(device, dtype, True))

    def from_grid(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """The transpose of `to_grid`."""
        return _recent.get(self._key("from grid", device, dtype), lambda: self._build(device, dtype, False))

    def _key(self, way: str, device: torch.device, dtype: torch.dtype) -> tuple[object, ...]:
        return (way, self.angles.tobytes(), self.grid, self.period, self.width, self.beta, device, dtype)

    def _build(self, device: torch.device, dtype: torch.dtype, to_grid: bool) -> torch.Tensor:
        frequencies = self.period // 2 + 1
        radius = np.arange(frequencies) * (self.grid / self.period)
        cosine = np.cos(self.angles)[:, None]
        across = np.abs(cosine) * radius
        down = np.where(cosine < 0, 1, -1) * np.sin(self.angles)[:, None] * radius
        first_u, weight_u = self._weights(across)
        first_v, weight_v = self._weights(down)
        step = np.arange(self.width, dtype=np.int32)
        u, v = first_u[..., None] + step, first_v[..., None] + step
        # A sign that alternates over the grid puts the image's centre into the middle of the grid.
        weight_u *= 1 - 2 * (u & 1)
        weight_v *= 1 - 2 * (v & 1)
        columns = self.grid // 2 + 1 + 2 * self.margin
        index = ((v % self.grid) * columns)[..., :, None] + (u + self.margin)[..., None, :]
        value = (weight_v[..., :, None] * weight_u[..., None, :]).astype(
            np.float32 if dtype == torch.float32 else np.float64
        )
        samples = first_u.size
        start = np.arange(samples + 1, dtype=np.int32) * np.int32(self.width**2)
        matrix = sparse.csr_matrix(
            (value.ravel(), index.ravel(), start), shape=(samples, self.grid * columns)
        )
        if to_grid:
            matrix = matrix.T.tocsr()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(
                torch.from_numpy(matrix.indptr),
                torch.from_numpy(matrix.indices),
                torch.from_numpy(matrix.data),
                matrix.shape,
                dtype=dtype,
                device=device,
                check_invariants=False,
            )

    def _weights(
        self, position: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """First grid point within half a width of each position, and the kernel at the `width` points."""
        first = np.ceil(position - self.width / 2)
        offset = (first - position)[..., None] + np.arange(self.width)
        table_at = np.linspace(0, 1, 8193)
        table = i0(self.beta * np.sqrt(1 - table_at**2)) / i0(self.beta)
        return first.astype(np.int32), np.interp(np.abs(offset) * (2 / self.width), table_at, table)


class _RecentlyUsed:
    """Keeps the tensors used last, up to a number of bytes.

    Stacks are often reconstructed piece by piece, and split scans twice, in the same geometry; building a
    matrix takes as long as some fifty slices. The bound is what keeps a long session from filling memory.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[tuple[object, ...], torch.Tensor] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[object, ...], build: Callable[[], torch.Tensor]) -> torch.Tensor:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        tensor = build()
        with self._lock:
            self._kept[key] = tensor
            while self._kept and sum(map(_bytes, self._kept.values())) > self.limit:
                self._kept.popitem(last=False)
        return tensor


def _bytes(tensor: torch.Tensor) -> int:
    sparse_csr = tensor.layout == torch.sparse_csr
    parts = (tensor.crow_indices(), tensor.col_indices(), tensor.values()) if sparse_csr else (tensor,)
    return sum(part.numel() * part.element_size() for part in parts)


_recent = _RecentlyUsed(1 << 30)
