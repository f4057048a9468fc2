"""A trained network with all that its use needs: scale, sections, context."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import resolve_device
from lowdose_utils.enhance.scaling import Scale
from lowdose_utils.errors import LowdoseError
from lowdose_utils.noise2inverse.pairs import Strategy, oriented, pairs, scaled
from lowdose_utils.noise2inverse.volumes import Floats, Sections, Volumes, fill, result_for
from lowdose_utils.readers.stack import Source
from lowdose_utils.training import load_weights, save_weights

Inference = Literal["full", "sections", "both"]


@dataclass(frozen=True, eq=False)
class Denoiser:
    """Removes noise from reconstructions, in their own unit.

    Attributes
    ----------
    network : Module
        Takes (image, slice x channel, y, x), gives (image, channel, y, x).
    scale : Scale
        What is taken off each channel, and divided by, before the network, and undone after it; arrays of
        shape (channel, 1, 1).
    sections : int
        K, or the time steps of a group.
    strategy : {"X:1", "1:X"}
        How it was trained: see `pairs`.
    context : int
        Slices on either side that the network sees.
    """

    network: torch.nn.Module
    scale: Scale
    sections: int
    strategy: Strategy = "X:1"
    context: int = 0

    def __call__(
        self,
        volume: Source,
        *,
        turned: bool = False,
        device: str | torch.device = "auto",
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Denoise the reconstruction of the whole scan, or of one time step, slice by slice.

        Hendriksen et al. 2021 (Methods) apply the network so, and not to the sections as in 2020.

        Parameters
        ----------
        volume : array of shape (z, y, x) or (channel, z, y, x)
            Also a memory map or dataset.
        turned : bool
            Mean over eight flips and quarter turns of each slice (four, if it is not square).
        device : str or device
        out : array of the shape of `volume`, optional
            Where to put the result: a memory map or dataset, if it is too large for memory; `volume` itself,
            to replace it.

        Returns
        -------
        array of float32, shape of `volume`

        Raises
        ------
        LowdoseError
            If shapes do not fit, or values are not finite.
        """
        given = self.checked(Volumes([volume], least=1))
        result = result_for(given, out)
        self.ready(device)
        slices = (self.apply(given.block(0, z, self.context), turned) for z in range(given.slices))
        fill(result, slices, self.context)
        return result

    def of_sections(
        self,
        sections: Sections,
        inference: Inference = "sections",
        *,
        turned: bool = False,
        device: str | torch.device = "auto",
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Denoise a scan of which the sections' reconstructions are at hand.

        Parameters
        ----------
        sections : sequence of arrays (z, y, x) or (channel, z, y, x), or one array of all
            As in training.
        inference : {"sections", "full", "both"}
            ``"sections"``: the mean of the outputs for the K inputs of training (Hendriksen et al. 2020).
            ``"full"``: the output for the mean of the sections, as in 2021. ``"both"``: the mean of these.
        turned, device, out
            As for the call.

        Returns
        -------
        array of float32, shape of a section

        Raises
        ------
        LowdoseError
            If number, shapes or the name do not fit, or values are not finite.
        """
        if inference not in get_args(Inference):
            raise LowdoseError(
                "inference",
                found=repr(inference),
                expected=", ".join(get_args(Inference)),
                way_out="Use full for the way of 2021.",
            )
        given = self.checked(Volumes(sections), self.sections)
        result = result_for(given, out)
        self.ready(device)

        def denoised(blocks: Floats) -> Floats:
            found = []
            if inference != "full":
                found.append(self.outputs(blocks, turned).mean(axis=0))
            if inference != "sections":
                found.append(self.apply(blocks.mean(axis=0), turned))
            return np.asarray(np.mean(found, axis=0))

        slices = (denoised(given.blocks(z, self.context)) for z in range(given.slices))
        fill(result, slices, self.context)
        return result

    def outputs(self, blocks: Floats, turned: bool = False) -> Floats:
        """What the network makes of the K inputs of training, (K, channel, y, x), at one slice of all."""
        inputs = [blocks[list(places)].mean(axis=0) for places, _ in pairs(self.sections, self.strategy)]
        return np.stack([self.apply(block, turned) for block in inputs])

    def apply(self, block: Floats, turned: bool = False) -> Floats:
        """Denoise one slice with its context, (slice x channel, y, x)."""
        images = scaled(block, self.scale)
        square = block.shape[-2] == block.shape[-1]
        ways = [(quarters, flip) for quarters in range(0, 4, 1 if square else 2) for flip in (False, True)]
        first = next(self.network.parameters())  # on the device, and in the precision, that is wanted
        total = np.zeros((len(self.scale.offset), *block.shape[-2:]), np.float32)
        for quarters, flip in ways if turned else ways[:1]:
            with torch.inference_mode():
                answer = self.network(torch.from_numpy(oriented(images, quarters, flip))[None].to(first))
            found = answer[0].float().cpu().numpy()
            if found.shape != total.shape:
                raise LowdoseError(
                    "network",
                    found=f"{len(found)} channels",
                    expected=f"{len(total)}, as the scale has",
                    way_out="Make the network with as many.",
                )
            total += np.rot90(found[..., ::-1] if flip else found, -quarters, axes=(-2, -1))
        return self.scale.undo(total / (len(ways) if turned else 1))

    def checked(self, given: Volumes, number: int = 1) -> Volumes:
        """Refuse volumes of other number, channels or size than the network needs.

        Raises
        ------
        LowdoseError
            If so.
        """
        there, needed = (given.number, given.channels), (number, len(self.scale.offset))
        if there != needed:
            raise LowdoseError(
                "volumes",
                found=f"{there[0]} of {there[1]} channels",
                expected=f"{needed[0]} of {needed[1]} channels, as in training",
                way_out="Of one volume, call the denoiser itself; channels come first.",
            )
        given.check_context(self.context)
        return given

    def ready(self, device: str | torch.device) -> None:
        """Bring the network to the device and into evaluation mode."""
        self.network.to(resolve_device(device)).eval()

    def save(self, path: str | Path, **provenance: Any) -> None:
        """Write weights, scale and settings to one file; `provenance` as for `training.save_weights`."""
        settings = {
            "offset": self.scale.offset.ravel().tolist(),
            "factor": self.scale.factor.ravel().tolist(),
            "sections": self.sections,
            "strategy": self.strategy,
            "context": self.context,
        }
        save_weights(self.network, path, noise2inverse=settings, **provenance)

    @classmethod
    def load(cls, network: torch.nn.Module, path: str | Path) -> Denoiser:
        """Read what `save` wrote into a network made with the same settings.

        Raises
        ------
        LowdoseError
            If the file is missing, damaged, of another network, or holds weights alone: without their scale
            they do not denoise.
        """
        settings = load_weights(network, path).get("noise2inverse")
        if not isinstance(settings, dict):
            raise LowdoseError(
                f"weights {path}",
                found="weights alone",
                expected="a denoiser: weights with scale, sections, strategy and context",
                way_out="Write it with Denoiser.save; or make a Denoiser with the scale of the training.",
            )
        offset, factor = (channelwise(settings.pop(name)) for name in ("offset", "factor"))
        return cls(network, Scale(offset, factor), **settings)


def channelwise(values: npt.ArrayLike) -> Floats:
    """One value for each channel, to broadcast over (channel, y, x)."""
    return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1)
