"""Filters turned through ten directions of 18 degrees: membranes, lines of least variance, Gabor waves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import cos, pi, radians, sin

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import next_fast_len

from lowdose_utils.classify.smooth import Image

ANGLES = 10
STEP = 18  # degrees

# (scale, aspect ratio, frequency) of the Gabor filters in each of the plugin's two groups
GABOR = (
    [(1.0, 1.0, 2.0), (1.0, 0.5, 2.0), (1.0, 0.25, 2.0)],
    list(product((2.0, 4.0), (1.0, 2.0), (2.0, 3.0))),
)
GABOR_PHASES = (0, 2)  # in units of 45 degrees, as the plugin names them


def turned(kernel: npt.NDArray[np.float32], degrees: float) -> npt.NDArray[np.float32]:
    """The square kernel turned clockwise about its centre, by the nearest pixel, 0 from outside.

    ImageJ's `rotate` without interpolation: half a pixel rounds up, and positions up to a pixel past the last
    row or column still take it.
    """
    size, angle = len(kernel), -radians(degrees)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    source = np.stack([x * sin(angle) + y * cos(angle), x * cos(angle) - y * sin(angle)]) + (size - 1) / 2
    inside = ((source >= -0.01) & (source < size)).all(axis=0)
    row, column = np.minimum((np.maximum(source, 0) + 0.5).astype(int), size - 1)
    return np.where(inside, kernel[row, column], np.float32(0))


def membrane(image: Image, patch: int, thickness: int, compat: str | None) -> Iterator[Image]:
    """``Membrane_projections``: mean, maximum, minimum, sum, std and median over ten turned line averages.

    The line is ``thickness + 1`` pixels wide (the plugin's count) and `patch` long; the edge pixel is
    repeated outside. The std has n - 1 below. ImageJ's mean leaves out the last direction, as does
    ``compat="weka"``.
    """
    line = np.zeros((patch, patch), np.float32)
    line[:, patch // 2 - thickness // 2 : patch // 2 + (thickness + 1) // 2 + 1] = 1
    responses = np.empty((ANGLES, *image.shape), np.float32)
    for angle in range(ANGLES):
        kernel = turned(line, STEP * angle)
        responses[angle] = cv2.filter2D(
            image, cv2.CV_32F, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE
        )
    yield responses[: ANGLES - 1 if compat == "weka" else ANGLES].mean(axis=0)
    yield responses.max(axis=0)
    yield responses.min(axis=0)
    yield responses.sum(axis=0)
    yield responses.std(axis=0, ddof=1)
    yield np.median(responses, axis=0)


def line_offsets(length: int) -> list[list[tuple[int, int]]]:
    """(row, column) offsets of one-pixel lines through a square of side `length`, for each direction.

    A line is turned in a square three pixels larger to each side, so that it crosses the smaller one whole.
    """
    margin = 3
    line = np.zeros((length + 2 * margin,) * 2, np.float32)
    line[:, length // 2 + margin] = 1
    lines = []
    for angle in range(ANGLES):
        kernel = turned(line, STEP * angle)[margin:-margin, margin:-margin].T
        lines.append([(int(y), int(x)) for y, x in np.argwhere(kernel) - length // 2])
    return lines


def kuwahara(
    image: Image, length: int, low: float, compat: str | None, device: torch.device
) -> Iterator[Image]:
    """``Kuwahara``: mean of that line through the pixel along which the image varies least.

    Lines of ten directions are tried at all positions along themselves that hold the pixel. "Least" is, in
    turn, by variance, variance over mean, variance over mean squared, of the image above `low`, its minimum
    (0 where the mean is 0). The edge pixel is repeated outside, and so are the edge's means and variances.
    The plugin adds 0.5, and so does ``compat="weka"``.
    """
    half = length // 2
    rows, columns = image.shape

    def padded(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(values[None, None], (half,) * 4, mode="replicate")[0, 0]

    def moved(values: torch.Tensor, offset: tuple[int, int]) -> torch.Tensor:
        y, x = offset
        return values[half + y : half + y + rows, half + x : half + x + columns]

    around = padded(torch.from_numpy(image).to(device) - low)
    squares = around**2
    best = torch.full((3, rows, columns), torch.inf, device=device)
    result = torch.zeros_like(best)
    for line in line_offsets(length):
        total, square = torch.zeros_like(best[0]), torch.zeros_like(best[0])
        for offset in line:
            total += moved(around, offset)
            square += moved(squares, offset)
        mean = total / len(line)
        # Exactly zero on flat ground, where the sums of whole grey levels are exact.
        variance = ((square - total**2 / len(line)) / len(line)).clamp_(min=0)
        over_mean = torch.where(mean > 0, variance / mean, 0.0)
        means = padded(mean)
        criteria = [padded(c) for c in (variance, over_mean, torch.where(mean > 0, over_mean / mean, 0.0))]
        for k, criterion in enumerate(criteria):
            for offset in line:
                here = moved(criterion, offset)
                result[k] = torch.where(here < best[k], moved(means, offset), result[k])
                torch.minimum(best[k], here, out=best[k])
    result += low + (0.5 if compat == "weka" else 0.0)
    yield from result.cpu().numpy()


def gabor_kernel(
    scale: float, aspect: float, phase: int, frequency: float, angle: float
) -> npt.NDArray[np.float64]:
    """Gaussian of std `scale` along the wave and ``scale / aspect`` across it, times a cosine.

    The cosine makes `frequency` turns in the kernel's side of ``6 max(scale, scale / aspect) + 1`` pixels,
    from `phase` times 45 degrees at the centre.
    """
    across = scale / aspect
    half = 3 * max(int(scale), int(across))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    u, v = x * cos(angle) + y * sin(angle), y * cos(angle) - x * sin(angle)
    wave = np.cos(2 * pi * frequency * u / (2 * half + 1) + phase * pi / 4)
    kernel: npt.NDArray[np.float64] = np.exp(-(u**2 / scale**2 + v**2 / across**2) / 2) * wave
    return kernel


def gabor_parameters() -> list[tuple[float, float, int, float]]:
    """(scale, aspect ratio, phase, frequency) of the 22 filters, in the stack's order."""
    return [(s, g, phase, f) for group in GABOR for phase in GABOR_PHASES for s, g, f in group]


def gabor(image: Image, device: torch.device) -> Iterator[Image]:
    """``Gabor``: largest, then smallest response to a wave over ten directions, for each of 22 filters.

    Each direction's response is brought to mean 0 and standard deviation 1 over the whole image (0 where it
    is constant), which makes this a feature of the whole image. The border is mirrored without its edge
    pixel.
    """
    rows, columns = image.shape
    margin = 3 * max(int(max(s, s / g)) for s, g, _, _ in gabor_parameters())
    around = np.pad(image - image.mean(dtype=np.float64), margin, mode="reflect")  # the mean has no bearing
    size = [next_fast_len(n, real=True) for n in around.shape]
    spectrum = torch.fft.rfft2(torch.from_numpy(around.astype(np.float32)).to(device), s=size)
    for parameters in gabor_parameters():
        largest = smallest = None
        for angle in range(ANGLES):
            kernel = torch.from_numpy(gabor_kernel(*parameters, radians(STEP * angle)).astype(np.float32))
            wave = torch.fft.rfft2(kernel.to(device), s=size)
            start = margin + len(kernel) // 2
            response = torch.fft.irfft2(wave.mul_(spectrum), s=size)
            response = response[start : start + rows, start : start + columns]
            spread, mean = torch.std_mean(response)
            response = (response - mean) / spread if spread > 0 else torch.zeros_like(response)
            largest = response if largest is None else torch.maximum(largest, response)
            smallest = response if smallest is None else torch.minimum(smallest, response)
        assert largest is not None and smallest is not None
        yield largest.cpu().numpy()
        yield smallest.cpu().numpy()
