"""Enhancing whole scans with a trained network, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import resolve_device
from lowdose_utils.enhance.neighbours import Neighbours
from lowdose_utils.enhance.patches import cut, joined
from lowdose_utils.enhance.scaling import Scale, finite, image_scale, matched
from lowdose_utils.errors import LowdoseError

Scaling = Literal["global", "image"]
GRID = 8  # tiles begin at multiples of this, as the networks halve images three times (or of their `grid`)
TOGETHER = 256  # patches that pass the network at once
PIXELS = 2**17  # of small projections that go through the network together


@dataclass(frozen=True)
class Enhancement:
    """A trained network with all that its use needs.

    Projections are read, enhanced and written one after the other.

    Attributes
    ----------
    network : Module
        Any of `networks` that takes (image, channel, row, column).
    scale : Scale, optional
        Of the training projections; None for the paper's normalisation of each image by itself.
    """

    network: torch.nn.Module
    scale: Scale | None = None

    def __call__(
        self,
        projections: npt.NDArray[np.floating],
        angles: npt.ArrayLike | None = None,
        *,
        axis: float | None = None,
        noise: float | npt.NDArray[np.floating] | None = None,
        step: int = 16,
        tile: int | None = None,
        at: Sequence[int] | None = None,
        device: str | torch.device = "auto",
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Enhance the projections of a scan.

        Parameters
        ----------
        projections : array of shape (angle, row, column)
            Line integrals; also memory-mapped or an HDF5 dataset, read one after the other.
        angles : array of shape (angle,), optional
            In radians; networks that look at neighbouring angles need them.
        axis : float, optional
            Column of the rotation axis (for the neighbours); the middle by default.
        noise : float or array of shape (angle, row, column), optional
            Standard deviation of the noise in the unit of `projections`, above zero; networks that ask for it
            need it.
        step : int
            Distance of overlapping patches in pixels, for the network on patches.
        tile : int, optional
            Side of the tiles in which large images are enhanced, in pixels; whole by default. The result is
            the same but for rounding, as tiles overlap by what the network looks at (its `reach`).
        at : sequence of int, optional
            Which projections to enhance; all by default.
        device : str or device
        out : array, optional
            Where to put the result (a memory map, say), of the result's shape.

        Returns
        -------
        array of float32, shape (angle, row, column), or as many as `at` names
            In the unit of `projections`.

        Raises
        ------
        LowdoseError
            If shapes, values or sizes do not fit, or angles or noise are missing.
        """
        number, *shape = self._check(projections, angles, noise)
        chosen = check_places("at", range(number) if at is None else at, number)
        if out is not None and tuple(out.shape) != (len(chosen), *shape):
            raise LowdoseError(
                "out",
                found=f"shape {tuple(out.shape)}",
                expected=(len(chosen), *shape),
                way_out="It takes the chosen projections, one after the other.",
            )
        if tile is not None and (tile < 1 or not hasattr(self.network, "reach")):
            raise LowdoseError(
                "tile",
                found=f"{tile}, for {type(self.network).__name__}",
                expected="a pixel at least, and a network that says how far it looks (`reach`)",
                way_out="Leave it out to enhance whole projections.",
            )
        place = resolve_device(device)
        network = self.network.to(place).eval()
        half_width = int(getattr(network, "half_width", 0))
        near = None
        if half_width and angles is not None:
            near = Neighbours(angles, half_width, shape[1], axis=axis)
        result = np.empty((len(chosen), *shape), np.float32) if out is None else out
        count = 1 if tile is not None else max(1, PIXELS // (shape[0] * shape[1]))
        for start in range(0, len(chosen), count):
            plain, given = [], []
            for i in chosen[start : start + count]:
                one = projections[i : i + 1] if near is None else near.of(i, projections)
                plain.append(finite(f"projection {i}", one))
                scale = image_scale(one) if self.scale is None else self.scale
                scaled = scale.do(one)
                if noise is not None and getattr(network, "takes_noise", False):
                    channel = noise_channel(noise, i, scaled.shape[1:]) / scale.factor
                    scaled = np.concatenate([scaled, channel]).astype(np.float32)
                given.append(scaled)
            with torch.inference_mode():
                answer = self._some(network, np.stack(given), step, tile, place)
            inside = slice(start, start + len(given))
            if self.scale is None:
                result[inside] = matched(answer, np.concatenate(plain))
            else:
                result[inside] = self.scale.undo(answer)
        return result

    def _check(
        self,
        projections: npt.NDArray[np.floating],
        angles: npt.ArrayLike | None,
        noise: float | npt.NDArray[np.floating] | None,
    ) -> tuple[int, ...]:
        if len(projections.shape) != 3:
            raise LowdoseError(
                "projections",
                found=f"shape {projections.shape}",
                expected="(angle, row, column)",
                way_out="Give a single projection as projections[None].",
            )
        missing = [
            name
            for name, value, needed in (
                ("angles", angles, getattr(self.network, "half_width", 0)),
                ("noise", noise, getattr(self.network, "takes_noise", False)),
            )
            if needed and value is None
        ]
        if missing or (angles is not None and len(np.asarray(angles)) != len(projections)):
            counted = "none" if angles is None else len(np.asarray(angles))
            raise LowdoseError(
                ", ".join(missing) or "angles",
                found="none" if missing else counted,
                expected=f"what the {type(self.network).__name__} looks at" if missing else len(projections),
                way_out="One angle for each projection; noise as its standard deviation.",
            )
        needs = [name for name in ("half_width", "takes_noise") if getattr(self.network, name, 0)]
        if self.scale is None and needs:
            raise LowdoseError(
                "scale",
                found=f"none, for {type(self.network).__name__}",
                expected="one for all projections",
                way_out="Train with scaling='global': a context and its noise need one scale.",
            )
        check_noise(noise, tuple(projections.shape))
        return tuple(projections.shape)

    @staticmethod
    def _some(
        network: torch.nn.Module,
        given: npt.NDArray[np.float32],
        step: int,
        tile: int | None,
        place: torch.device,
    ) -> npt.NDArray[np.float32]:
        """Projections (image, channel, row, column), in patches, tiles or whole: (image, row, column)."""

        def run(part: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            images = torch.from_numpy(np.ascontiguousarray(part)).to(place)
            answer: torch.Tensor = network(images.contiguous(memory_format=torch.channels_last))
            enhanced: npt.NDArray[np.float32] = answer.float().cpu().numpy()[:, 0]
            return enhanced

        shape = given.shape[-2:]
        patch = getattr(network, "patch", None)
        if patch is not None:
            cuts = [cut(one[0], patch, step)[:, None] for one in given]
            patches = np.concatenate(cuts)
            parts = [run(patches[i : i + TOGETHER]) for i in range(0, len(patches), TOGETHER)]
            enhanced = np.split(np.concatenate(parts), len(cuts))
            return np.stack([joined(one, shape, step) for one in enhanced])
        if tile is None or tile >= max(shape):
            return run(given)
        grid = max(GRID, int(getattr(network, "grid", GRID)))
        halo, tile = (-(-int(length) // grid) * grid for length in (getattr(network, "reach", 0), tile))
        result = np.empty((len(given), *shape), np.float32)
        for top in range(0, shape[0], tile):
            for left in range(0, shape[1], tile):
                y, x = max(top - halo, 0), max(left - halo, 0)
                part = run(given[..., y : top + tile + halo, x : left + tile + halo])
                inner = part[:, top - y : top - y + tile, left - x : left - x + tile]
                result[:, top : top + tile, left : left + tile] = inner
        return result


def check_places(name: str, places: Sequence[int], number: int) -> list[int]:
    """`places` as whole numbers, after checking that they count from 0 to ``number - 1``.

    Raises
    ------
    LowdoseError
        If one is no whole number, or out of range.
    """
    try:
        whole = [index(place) for place in places]
    except TypeError:
        whole = [-1]
    if not all(0 <= place < number for place in whole):
        raise LowdoseError(
            name,
            found=list(places),
            expected=f"whole numbers from 0 to {number - 1}",
            way_out="Give indices, not angles; count from the beginning.",
        )
    return whole


def check_noise(noise: float | npt.NDArray[np.floating] | None, shape: tuple[int, ...]) -> None:
    """Refuse noise that is neither one number nor as large as the projections.

    Raises
    ------
    LowdoseError
        If it is of another shape.
    """
    if noise is not None and np.shape(noise) not in ((), shape):
        raise LowdoseError(
            "noise",
            found=f"shape {np.shape(noise)}",
            expected=f"one number, or shape {shape} as the projections",
            way_out="Spread smaller arrays with np.broadcast_to, which takes no memory.",
        )


def noise_channel(
    noise: float | npt.NDArray[np.floating], place: int, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """The noise of projection `place` as one channel (1, row, column).

    Raises
    ------
    LowdoseError
        If it is not positive.
    """
    one = noise if isinstance(noise, float | int) or not noise.shape else noise[place]
    chosen = np.asarray(one, np.float32)
    if not (np.isfinite(chosen).all() and (chosen > 0).all()):
        raise LowdoseError(
            "noise",
            found=f"smallest {chosen.min():g}",
            expected="positive numbers",
            way_out="Estimate it from air.",
        )
    return np.broadcast_to(chosen, shape)[None]
