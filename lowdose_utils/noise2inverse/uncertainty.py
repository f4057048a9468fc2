"""How far the sections disagree, and whether that tells the error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.noise2inverse.denoiser import Denoiser
from lowdose_utils.noise2inverse.volumes import Floats as Single
from lowdose_utils.noise2inverse.volumes import Sections, Volumes, fill, result_for

Floats = npt.NDArray[np.float64]


def split_disagreement(
    denoiser: Denoiser,
    sections: Sections,
    *,
    turned: bool = False,
    device: str | torch.device = "auto",
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Standard error of the denoised scan, from the spread `s` of the outputs for the K inputs of training.

    With ``"X:1"`` each input leaves one section out: this is the jackknife (Efron and Stein, Ann. Statist. 9,
    586, 1981), whose standard error is ``s (K - 1) / sqrt(K)``. With ``"1:X"`` the inputs are
    independent and the standard error of the outputs' mean is ``s / sqrt(K)``. For a network that is linear
    over the range of the noise, the mean square is the variance that the noise of the measurement leaves.
    What the network blurs or invents in the same way for all sections is not in it: look at `calibration`
    where there is a truth. K - 1 degrees of freedom make single pixels rough; means over regions are better.

    Parameters
    ----------
    denoiser : Denoiser
    sections : as for `Denoiser.of_sections`
    turned, device, out
        As for `Denoiser.of_sections`.

    Returns
    -------
    array of float32, shape of a section
        In the unit of the reconstructions.
    """
    given = denoiser.checked(Volumes(sections), denoiser.sections)
    count = denoiser.sections
    factor = (count - 1 if denoiser.strategy == "X:1" else 1) / np.sqrt(count)
    result = result_for(given, out)
    denoiser.ready(device)

    def spread(blocks: Single) -> Single:
        outputs = denoiser.outputs(blocks, turned)
        return np.asarray(factor * outputs.std(axis=0, ddof=1), dtype=np.float32)

    slices = (spread(given.blocks(z, denoiser.context)) for z in range(given.slices))
    fill(result, slices, denoiser.context)
    return result


class Calibration(NamedTuple):
    """Predicted against true errors, in bins of equally many pixels from the surest to the least sure.

    Attributes
    ----------
    predicted : array of shape (bin,)
        Root mean square of the disagreement.
    observed : array of shape (bin,)
        Root mean square of the error. As large as `predicted` if the disagreement is right, larger where
        the network errs in the same way for all sections.
    pixels : array of shape (bin,)
    """

    predicted: Floats
    observed: Floats
    pixels: npt.NDArray[np.intp]


def calibration(disagreement: npt.ArrayLike, error: npt.ArrayLike, bins: int = 10) -> Calibration:
    """The calibration curve of an uncertainty (Levi et al., Sensors 22, 5540, 2022).

    Parameters
    ----------
    disagreement : array
        Predicted standard deviations, as from `split_disagreement`.
    error : array of the same shape
        Denoised image minus truth.
    bins : int

    Raises
    ------
    LowdoseError
        If shapes differ, values are not finite, standard deviations are negative, or there are more bins
        than pixels.
    """
    sigma, wrong = (np.asarray(part, dtype=np.float64).ravel() for part in (disagreement, error))
    if (
        np.shape(disagreement) != np.shape(error)
        or not 1 <= bins <= sigma.size
        or not (np.isfinite(sigma).all() and np.isfinite(wrong).all())
        or sigma.min() < 0
    ):
        raise LowdoseError(
            "disagreement, error, bins",
            found=f"shapes {np.shape(disagreement)} and {np.shape(error)}, {bins} bins",
            expected="one shape, finite, no negative standard deviation, at most as many bins as pixels",
            way_out="Take denoised image minus truth for the error.",
        )
    parts = np.array_split(np.argsort(sigma, kind="stable"), bins)
    return Calibration(
        np.array([np.sqrt(np.mean(sigma[part] ** 2)) for part in parts]),
        np.array([np.sqrt(np.mean(wrong[part] ** 2)) for part in parts]),
        np.array([part.size for part in parts]),
    )
