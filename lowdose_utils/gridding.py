"""The sparse Kaiser-Bessel matrix between polar samples and a Cartesian grid of the Fourier plane.

Used by `project.Projector`; nothing here needs to be called by hand. The kernel's shape parameter and its
transform are those of Beatty, Nishimura and Pauly, "Rapid gridding reconstruction with a minimal
oversampling ratio", IEEE Trans. Med. Imaging 24 (2005).
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


def even_fast(length: float) -> int:
    """Even length of at least `length` that the FFT likes."""
    return 2 * int(scipy_fft.next_fast_len(math.ceil(length / 2), real=True))


def shape_parameter(width: int, oversampling: float) -> float:
    """Kaiser-Bessel shape parameter that aliases least (Beatty 2005, equation 5)."""
    return math.pi * math.sqrt((width / oversampling) ** 2 * (oversampling - 0.5) ** 2 - 0.8)


def kernel_transform(size: int, grid: int, width: int, beta: float) -> npt.NDArray[np.float64]:
    """Fourier transform of the Kaiser-Bessel kernel at the image's pixels (Beatty 2005, equation 4)."""
    pixel = np.arange(size) - size // 2
    root = np.sqrt((beta**2 - (math.pi * width * pixel / grid) ** 2).astype(complex))
    transform: npt.NDArray[np.float64] = (width * np.sinc(1j * root / np.pi) / i0(beta)).real
    return transform


class GriddingMatrices:
    """The sparse gridding matrix of one geometry and its transpose, made when asked for."""

    def __init__(
        self, angles: npt.NDArray[np.float64], grid: int, period: int, width: int, beta: float
    ) -> None:
        self.angles, self.grid, self.period, self.width, self.beta = angles, grid, period, width, beta
        self.margin = width // 2

    def to_grid(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Polar samples (angle x frequency) to grid points (v x padded u)."""
        return recent.get(self._key("to grid", device, dtype), lambda: self._build(device, dtype, True))

    def from_grid(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """The transpose of `to_grid`."""
        return recent.get(self._key("from grid", device, dtype), lambda: self._build(device, dtype, False))

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


class RecentlyUsed:
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


recent = RecentlyUsed(1 << 30)
