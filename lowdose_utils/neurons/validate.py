"""Watching a network while it learns: how well it does on a slab that it does not learn from."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.networks.unet3d import UNet3d
from lowdose_utils.neurons.affinities import Labels, affinities, balance_weights, check_labels, grow_boundary
from lowdose_utils.neurons.predict import predict
from lowdose_utils.training.weights import copied


class Kept(NamedTuple):
    """A network on its way.

    Attributes
    ----------
    seconds : float
        Since the training began, these looks at it included.
    error : float
        Balanced squared error on the slab.
    weights : dict
        For `load_state_dict`.
    """

    seconds: float
    error: float
    weights: dict[str, torch.Tensor]


class Watch:
    """For `training.train(validate=...)`: the balanced squared error of affinities on a slab.

    Parameters
    ----------
    raw : array, shape (z, y, x) or (channel, z, y, x)
        The slab, with `margin` planes more on either side that are not judged.
    labels : integer array, shape (z, y, x)
        Of the slab without the margin.
    margin : int
    device : str or device
        Where the network is.

    Attributes
    ----------
    kept : list of Kept
        One for each look.
    """

    name = "balanced squared error"

    def __init__(
        self,
        raw: npt.NDArray[np.floating],
        labels: npt.ArrayLike,
        *,
        margin: int = 0,
        device: str | torch.device = "auto",
    ) -> None:
        self.raw, self.margin, self.device = raw, margin, device
        self.labels: Labels = grow_boundary(check_labels(labels))
        self.kept: list[Kept] = []
        self.began = time.perf_counter()

    def __call__(self, network: torch.nn.Module) -> float:
        """Judge the network as it is, and keep its weights."""
        assert isinstance(network, UNet3d)
        found = predict(network, self.raw, block=128, device=self.device)
        found = found[:, self.margin : self.margin + len(self.labels)]
        error = balanced_error(found, self.labels, network.offsets)
        self.kept.append(Kept(time.perf_counter() - self.began, error, copied(network)))
        return error


def balanced_error(found: npt.NDArray[np.float32], labels: npt.ArrayLike, offsets: npt.ArrayLike) -> float:
    """Squared error of affinities, zeros and ones alike in weight, over the offsets that were predicted.

    Parameters
    ----------
    found : array of float32, shape (offset, z, y, x)
    labels : integer array, shape (z, y, x)
        Boundaries grown.
    offsets : integer array, shape (at least as many, 3)
    """
    same, known = affinities(labels, np.asarray(offsets)[: len(found)])
    weights = balance_weights(same, known)
    return float((weights * (found - same) ** 2).sum(dtype=np.float64) / weights.sum(dtype=np.float64))
