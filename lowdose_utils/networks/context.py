"""A small network that averages over surroundings and neighbouring angles, by significance."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks.blocks import two_convolutions
from lowdose_utils.networks.unet import check_images

BLURS = (0.7, 1.4, 2.8, 5.6)  # pixels
MARGIN = 32  # pixels: more than five times the widest blur, which then reaches round no edge


class ContextEnhancer(nn.Module):
    """Enhance a projection by what it shows, and by what the projections at neighbouring angles show.

    The middle projection and its means over neighbouring angles are split into bands (differences of Gaussian
    blurs); each band is divided by the standard deviation that noise alone would give it. A small U-Net, at
    half the resolution, sees how significant each band is, and answers with weights: the output is, pixel by
    pixel, a weighted mean of the middle projection's blurs, plus a correction of as many noise standard
    deviations as the net says. Since all that it sees is relative to the noise, one network serves a range of
    doses. This is the book's own; the weights are those of a kernel-predicting network (Bako et al., ACM
    Trans. Graph. 36, 97, 2017), with Gaussians for kernels.

    Parameters
    ----------
    half_width : int
        Projections of the context on each side, for the widest mean.
    kernels : int
        Of the U-Net's first layer.

    Raises
    ------
    LowdoseError
        If the numbers make no network; in use, if images have another shape.

    Notes
    -----
    Input is (image, 2 half_width + 2, row, column): the projections in the order of their angles, then the
    standard deviation of the noise of the middle one, in the same unit. Output is (image, 1, row, column), in
    the unit of the input. What is more than `reach` pixels away changes an output pixel by no more than
    rounding does.
    """

    reach = 64
    takes_noise = True
    noise_left: torch.Tensor

    def __init__(self, half_width: int = 10, kernels: int = 24) -> None:
        super().__init__()
        if half_width < 0 or kernels < 1:
            raise LowdoseError(
                "half_width, kernels",
                found=(half_width, kernels),
                expected="not negative, and at least 1",
                way_out="Leave them out to take the defaults.",
            )
        self.half_width = half_width
        self.widths = sorted({0, round(half_width / 5), half_width})
        n, bands = kernels, len(BLURS)
        self.down = nn.ModuleList(
            [
                two_convolutions(len(self.widths) * bands + 1, n, 2),
                two_convolutions(n, 2 * n, 2),
                two_convolutions(2 * n, 2 * n, 2),
            ]
        )
        self.up = nn.ModuleList([two_convolutions(4 * n, 2 * n), two_convolutions(3 * n, n)])
        self.last = nn.Conv2d(n, bands + 2, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("noise_left", _noise_left(), persistent=False)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Enhance the middle projections of (image, 2 half_width + 2, row, column)."""
        check_images(given, 2 * self.half_width + 2)
        rows, columns = given.shape[-2:]
        given = functional.pad(given, (0, -columns % 8, 0, -rows % 8), mode="replicate")
        noise, middle = given[:, -1:], self.half_width
        blurs = torch.stack(
            [_blurred(given[:, middle - width : middle + width + 1].mean(1)) for width in self.widths], 1
        )
        spread = noise[:, None] * self.noise_left[:, None, None] / _column(self.widths).to(noise)
        bands = torch.asinh((blurs[:, :, :-1] - blurs[:, :, 1:]) / spread)
        level = torch.asinh(blurs[:, 0, -1:] / noise)
        maps = torch.cat([bands.flatten(1, 2), level], 1).contiguous(memory_format=torch.channels_last)
        kept = []
        for block in self.down:
            maps = block(maps)
            kept.append(maps)
        for block, skipped in zip(self.up, kept[-2::-1], strict=True):
            maps = block(torch.cat([_doubled(maps), skipped], 1))
        answer = _doubled(self.last(maps))
        weights = torch.softmax(answer[:, :-1], 1)
        mean = (weights * blurs[:, 0]).sum(1, keepdim=True)
        return (mean + 0.1 * noise * answer[:, -1:])[..., :rows, :columns]


def _doubled(maps: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(maps, scale_factor=2, mode="bilinear")


def _column(widths: list[int]) -> torch.Tensor:
    """By what means over 2 width + 1 projections lower the noise, to broadcast over (width, blur, y, x)."""
    return torch.tensor([math.sqrt(2 * width + 1) for width in widths])[:, None, None, None]


def _transfer(rows: int, columns: int) -> torch.Tensor:
    """The Gaussians at the frequencies of ``rfft2``, (blur, row, column).

    They are sampled in space: cut off at the highest frequency, the narrowest would have a tail that falls
    with the square of the distance only, and tiles would show.
    """

    def kernels(length: int) -> torch.Tensor:
        away = length * torch.fft.fftfreq(length, dtype=torch.float64)
        sampled = torch.stack([torch.exp(-((away / blur) ** 2) / 2) for blur in BLURS])
        return sampled / sampled.sum(1, keepdim=True)

    along, across = torch.fft.fft(kernels(rows)).real, torch.fft.rfft(kernels(columns)).real
    both: torch.Tensor = along[:, :, None] * across[:, None]
    return both


def _blurred(images: torch.Tensor) -> torch.Tensor:
    """Images (image, row, column), and their Gaussian blurs: (image, 1 + blur, row, column)."""
    margin = min(MARGIN, min(images.shape[-2:]) - 1)
    padded = functional.pad(images[:, None], (margin,) * 4, mode="reflect")
    shape = padded.shape[-2:]
    spectra = torch.fft.rfft2(padded) * _transfer(*shape).to(images)
    inner = (slice(None), slice(None), slice(margin, shape[0] - margin), slice(margin, shape[1] - margin))
    return torch.cat([images[:, None], torch.fft.irfft2(spectra, s=shape)[inner]], 1)


def _noise_left() -> torch.Tensor:
    """Standard deviation of each band for white noise of standard deviation 1."""
    transfer = torch.cat([torch.ones(1, 128, 65), _transfer(128, 128).float()])
    power = (transfer[:-1] - transfer[1:]) ** 2
    twice = torch.full((65,), 2.0)  # rfft2 keeps one of two columns, except the first and the last
    twice[0] = twice[-1] = 1.0
    return torch.sqrt((power * twice).sum((1, 2)) / 128**2)
