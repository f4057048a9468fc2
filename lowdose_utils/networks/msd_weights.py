"""Weights of mixed-scale dense networks that the original package saved."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lowdose_utils.errors import LowdoseError

if TYPE_CHECKING:
    from lowdose_utils.networks.msd import MSD


def load_msd_pytorch_weights(network: MSD, source: str | Path | Mapping[str, Any]) -> None:
    """Load weights that the original package (msd_pytorch by Hendriksen and Pelt) saved.

    Parameters
    ----------
    network : MSD
        Of the same depth, width and channels. It is changed only if all weights fit.
    source : str, Path or mapping
        The file, or its content: a state dict, or a dict that holds one as ``"state_dict"``. The keys may
        begin with ``module.``, as they do after training on several GPUs.

    Raises
    ------
    LowdoseError
        If the file cannot be read, or weights are missing, superfluous or of another shape.
    """
    found = {name.removeprefix("module."): one for name, one in _tensors(source).items()}
    scales = {"0.weight": network.scale_in, "2.weight": network.scale_out}
    targets: dict[str, torch.Tensor] = {
        **scales,
        "0.bias": network.shift_in,
        "2.bias": network.shift_out,
        "1.msd_block.bias": network.bias,
        **{f"1.msd_block.weight{layer}": weight for layer, weight in enumerate(network.weights)},
        "1.final_layer.linear.weight": network.final_weight,
        "1.final_layer.linear.bias": network.final_bias,
    }
    way_out = "Build the network with the depth, width and channels of the one that was saved."
    for word, names in (("missing", targets.keys() - found), ("superfluous", found.keys() - targets)):
        if names:
            raise LowdoseError(
                "weights of msd_pytorch",
                found=f"{len(names)} {word}, {min(names)} for one",
                expected=f"{len(targets)} tensors",
                way_out=way_out,
            )
    values = {}
    for name, target in targets.items():
        value = found[name]
        if name in scales and value.ndim == 4:  # a 1 x 1 convolution that scales each channel by itself
            matrix = value.flatten(1)
            value = matrix.diagonal() if torch.equal(matrix, matrix.diagonal().diag()) else value
        elif name == "1.final_layer.linear.weight":
            value = value.squeeze(-1)
        if value.shape != target.shape:
            raise LowdoseError(
                name,
                found=f"shape {tuple(found[name].shape)}",
                expected=f"{tuple(target.shape)}" + (" on the diagonal" if name in scales else ""),
                way_out=way_out,
            )
        values[name] = value
    with torch.no_grad():
        for name, value in values.items():
            targets[name].copy_(value)


def _tensors(source: str | Path | Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state dict in a file or mapping."""
    content: Any = source
    if isinstance(source, str | Path):
        try:
            content = torch.load(source, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise LowdoseError(
                str(source),
                found=type(error).__name__,
                expected="a file of weights, as torch.save writes it",
                way_out="Check the path; download the file again if it is damaged.",
            ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(one, torch.Tensor) for one in content.values()):
        raise LowdoseError(
            "weights of msd_pytorch",
            found=type(content).__name__ if not isinstance(content, Mapping) else "other things than tensors",
            expected="a state dict",
            way_out="Give the file that MSDModel.save wrote.",
        )
    return dict(content)
