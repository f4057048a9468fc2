"""What lies between an ideal intensity and a measured one, for each distance, in the Fourier domain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.optics import Optics

SIGMA_OF_FWHM = 1 / math.sqrt(8 * math.log(2))  # standard deviation of a Gaussian over its full width


def frequencies(
    shape: tuple[int, int], pixel: float = 1.0, device: str | torch.device = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Frequencies of the two axes of ``rfft2`` for images of `shape`, (row, 1) and (1, column), float64."""
    rows = torch.fft.fftfreq(shape[0], pixel, dtype=torch.float64)
    columns = torch.fft.rfftfreq(shape[1], pixel, dtype=torch.float64)
    return rows[:, None].to(device), columns[None].to(device)


def contrast_transfer(
    optics: Optics, shape: tuple[int, int], delta_beta: float, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Spectrum of the intensity over that of a weak phase, (distance, row, column of ``rfft2``), float32.

    ``2 (sin chi + cos chi / delta_beta)`` with ``chi = pi wavelength D f^2`` for a sample of one ratio of
    delta to beta and a phase that is negative in matter (Yu et al., Opt. Express 26, 11110, 2018, equation
    8). An infinite ratio is a sample that does not absorb.

    Raises
    ------
    LowdoseError
        If delta_beta is not above zero.
    """
    if not delta_beta > 0:
        raise LowdoseError(
            "delta_beta", found=delta_beta, expected="above 0", way_out="Infinite: no absorption at all."
        )
    y, x = frequencies(shape, optics.voxel_size, device)
    found = []
    for distance in optics.effective_distances:
        chi = math.pi * optics.wavelength * distance * (y**2 + x**2)
        found.append((2 * (torch.sin(chi) + torch.cos(chi) / delta_beta)).float())
    return torch.stack(found)


def responses(
    optics: Optics,
    shape: tuple[int, int],
    *,
    source: float = 0.0,
    detector_blur: float = 0.0,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """How the instrument damps the intensity at each distance against an ideal pixel of the first one.

    A coarser pixel averages over more, and records nothing beyond half a cycle of its own; the source's image
    and the detector blur as Gaussians. As the first distance's own averaging is left in, a phase found with
    these is the mean over a voxel, like everything else on a grid.

    Parameters
    ----------
    optics : Optics
    shape : (int, int)
        Rows and columns of images on the grid of the first distance.
    source, detector_blur : float
        As for `simulate.Camera`, as far as they are known.
    device : str or torch.device

    Returns
    -------
    tensor of float32, shape (distance, row, column of ``rfft2``)
    """
    y, x = frequencies(shape, optics.voxel_size, device)
    found = []
    for j, pixel in enumerate(optics.pixel_sizes):
        share = 1 - 1 / optics.magnification(j)
        sigma = math.hypot(SIGMA_OF_FWHM * source * share, detector_blur * pixel)
        parts = []
        for f in (y, x):
            box = torch.sinc(f * pixel) / torch.sinc(f * optics.voxel_size)
            gauss = torch.exp(-2 * (math.pi * sigma * f) ** 2)
            parts.append(box * gauss * (f.abs() <= 0.5 / pixel * (1 + 1e-9)))
        found.append((parts[0] * parts[1]).float())
    return torch.stack(found)


def photon_weights(optics: Optics, photons: Sequence[float] | None = None) -> torch.Tensor:
    """Photons per area of each distance over that of the first: what its spectrum counts for.

    White noise of a scan with as many counts in larger pixels has, per area, more power by their area.
    """
    counts = torch.ones(len(optics.pixel_sizes)) if photons is None else torch.tensor([*photons]).float()
    sizes = torch.tensor(optics.pixel_sizes)
    return (counts / counts[0]) * (sizes[0] / sizes) ** 2
