"""Training a network that answers with affinities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks.unet3d import UNet3d
from lowdose_utils.neurons.affinities import Labels, affinities, balance_weights, check_labels, grow_boundary
from lowdose_utils.neurons.augment import Augmentation, draw
from lowdose_utils.training.plan import Batch

LEAST_LABELLED = 0.1  # share of a piece's voxels
TRIES = 100


LIMIT = 4.0  # standard deviations


class Grey(NamedTuple):
    """What brings grey values to mean 0 and standard deviation 1: found once, used everywhere.

    What is further than four standard deviations from the mean (the air around a sample) is put there.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, volume: npt.ArrayLike) -> Grey:
        """Of a volume, or of those voxels of it that are tissue.

        Raises
        ------
        LowdoseError
            If it is constant or not finite.
        """
        values = np.asarray(volume, np.float64)
        mean, deviation = float(values.mean()), float(values.std())
        if not (np.isfinite(deviation) and deviation > 0):
            raise LowdoseError(
                "volume",
                found=f"mean {mean:g}, standard deviation {deviation:g}",
                expected="finite grey values that differ",
                way_out="Give a reconstructed volume.",
            )
        return cls(mean, deviation)

    def __call__(self, volume: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The volume on that scale."""
        scaled = (np.asarray(volume, np.float32) - self.mean) / self.deviation
        clipped: npt.NDArray[np.float32] = np.clip(scaled, -LIMIT, LIMIT).astype(np.float32)
        return clipped


def channels(raw: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """A volume (z, y, x) as one of a single channel; one that has channels as it is."""
    volume = np.asarray(raw, np.float32)
    return volume[None] if volume.ndim == 3 else volume


class Pieces:
    """Batches for `training.train`: pieces of labelled volumes, and what their affinities should be.

    Parameters
    ----------
    network : UNet3d
        What is to be trained; says which affinities it answers, and how much of its input's edge it loses.
    volumes : sequence of (raw, labels)
        Grey values as `Grey` leaves them, (z, y, x), or (channel, z, y, x) with what was computed from
        them; and labels of the same (z, y, x), 0 being membrane or outside.
    size : int
        Edge of a piece in voxels, as it leaves the network.
    batch : int
        Pieces in a batch.
    grow : int
        Layers that are taken off every cell first (`grow_boundary`).
    augmentation : Augmentation

    Raises
    ------
    LowdoseError
        If shapes do not fit, a piece fits into no volume, or none is labelled to a tenth.
    """

    def __init__(
        self,
        network: UNet3d,
        volumes: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
        *,
        size: int = 40,
        batch: int = 1,
        grow: int = 1,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.volumes: list[tuple[npt.NDArray[np.float32], Labels]] = []
        self.size, self.batch, self.margin = size, batch, network.context
        self.offsets, self.augmentation = network.offsets, augmentation or Augmentation()
        whole = size + 2 * network.context
        for raw, labels in volumes:
            grey, named = channels(raw), check_labels(labels)
            fits = grey.shape == (network.inputs, *named.shape)
            if not fits or min(named.shape) < whole or network.output_size(whole) != size:
                raise LowdoseError(
                    "volumes and size",
                    found=f"raw {grey.shape}, labels {named.shape}, pieces of {size}",
                    expected=f"{network.inputs} channels, one shape, at least {whole} voxels along each axis",
                    way_out=f"Give larger volumes, or pieces of another multiple of {network.grid}.",
                )
            self.volumes.append((grey, grow_boundary(named, grow)))

    def __call__(self, rng: np.random.Generator) -> Batch:
        """Input (piece, channel, z, y, x), and affinities, then their weights (piece, 2 offset, z, y, x)."""
        inputs, targets = [], []
        sizes = np.array([labels.size for _, labels in self.volumes], float)
        for _ in range(self.batch):
            raw, labels = self._labelled(rng, sizes / sizes.sum())
            same, known = affinities(labels, self.offsets)
            targets.append(np.concatenate([same.astype(np.float32), balance_weights(same, known)]))
            inputs.append(raw)
        return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(targets))

    def _labelled(
        self, rng: np.random.Generator, shares: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float32], Labels]:
        for _ in range(TRIES):
            raw, labels = self.volumes[int(rng.choice(len(self.volumes), p=shares))]
            piece = draw(raw, labels, self.size, self.augmentation, rng, margin=self.margin)
            if np.count_nonzero(piece[1]) >= LEAST_LABELLED * piece[1].size:
                return piece
        raise LowdoseError(
            "labels",
            found=f"{TRIES} pieces, all labelled to less than {LEAST_LABELLED:.0%}",
            expected="cells in a good part of the volume",
            way_out="Give a smaller size, or cut the volume down to its labelled part.",
        )


def balanced_mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error of affinities, zeros and ones of each offset alike in weight.

    Parameters
    ----------
    output : tensor, shape (piece, offset, z, y, x)
    target : tensor, shape (piece, 2 offset, z, y, x)
        Affinities, then their weights, as `Pieces` gives them.
    """
    wanted, weights = target.chunk(2, 1)
    return (weights * (output - wanted) ** 2).sum() / weights.sum()


def balanced_entropy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy in place of the squared error of `balanced_mse`."""
    wanted, weights = target.chunk(2, 1)
    found = functional.binary_cross_entropy(output.float().clamp(1e-5, 1 - 1e-5), wanted, reduction="none")
    return (weights * found).sum() / weights.sum()
