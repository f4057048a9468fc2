"""Files of weights, written whole or not at all and read without running what they hold."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path

FORMAT = 1


def count_parameters(network: torch.nn.Module) -> int:
    """Number of trainable parameters, single numbers."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def save_weights(network: torch.nn.Module, path: str | Path, **provenance: Any) -> None:
    """Write the parameters and buffers of a network to one file.

    Parameters
    ----------
    network : Module
    path : str or Path
        Missing parent folders are made; an older file is replaced when the new one is complete.
    **provenance
        Where the weights come from (section, preset, data, commit): anything that JSON can hold.

    Raises
    ------
    LowdoseError
        If something in `provenance` is no plain value, or the file cannot be written.
    """
    try:
        plain = json.loads(json.dumps(provenance))
    except (TypeError, ValueError) as error:
        raise LowdoseError(
            "provenance",
            found=str(error),
            expected="text, numbers, true or false, None, and lists and dicts of these",
            way_out="Turn arrays into lists and paths into text.",
        ) from error
    write(path, "weights", {"network": class_name(network), "weights": copied(network), "provenance": plain})


def load_weights(network: torch.nn.Module, path: str | Path) -> dict[str, Any]:
    """Fill a network, on whatever device it is, with the weights that `save_weights` wrote.

    Returns
    -------
    dict
        The provenance given when they were saved.

    Raises
    ------
    LowdoseError
        If the file is missing, damaged or something else, or its tensors do not fit (each is named).
        The network is then as it was.
    """
    content = read(path, "weights")
    check_fit(content, network, f"weights {path}", "Make the network with the settings it was trained with.")
    network.load_state_dict(content["weights"])
    provenance: dict[str, Any] = content["provenance"]
    return provenance


def class_name(network: torch.nn.Module) -> str:
    """Name of the network's class."""
    return type(network).__name__


def copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers, copied to the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}


def check_fit(content: Mapping[str, Any], network: torch.nn.Module, thing: str, way_out: str) -> None:
    """Refuse weights whose names or shapes are not the network's."""
    there = {name: tuple(tensor.shape) for name, tensor in content["weights"].items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if there == wanted:
        return
    both = sorted(there.keys() & wanted.keys())
    faults = {
        "missing": [f"{name} {wanted[name]}" for name in wanted.keys() - there.keys()],
        "unexpected": [f"{name} {there[name]}" for name in there.keys() - wanted.keys()],
        "other shape": [
            f"{name} {there[name]} for {wanted[name]}" for name in both if there[name] != wanted[name]
        ],
    }
    listed = "; ".join(f"{fault}: {', '.join(sorted(names))}" for fault, names in faults.items() if names)
    raise LowdoseError(
        thing,
        found=f"those of {content['network']}, {listed}",
        expected=f"the tensors of this {class_name(network)}",
        way_out=way_out,
    )


def write(path: str | Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write `content` to `path` as a `kind` ("weights", "checkpoint"), whole or not at all."""
    try:
        with atomic_path(path) as temporary:
            torch.save({"kind": kind, "format": FORMAT, **content}, temporary)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        folder = next((parent for parent in Path(path).absolute().parents if parent.is_dir()), Path("/"))
        free = shutil.disk_usage(folder).free >> 20
        raise LowdoseError(
            f"{kind} {path}",
            found=f"not written ({str(error).partition(chr(10))[0]}), {free} MiB free",
            expected="room on the disk and the right to write there",
            way_out="Make room or choose another folder, and call again; an older file is as it was.",
        ) from error


def read(path: str | Path, kind: str) -> dict[str, Any]:
    """Read what `write` wrote. Only tensors and plain values are loaded, never code."""

    def refuse(found: str, way_out: str) -> LowdoseError:
        expected = f"a file of {kind} in format {FORMAT}"
        return LowdoseError(f"{kind} {path}", found=found, expected=expected, way_out=way_out)

    if not Path(path).is_file():
        raise refuse("no such file", "Check the path.")
    remake = "Delete it, and make it anew or fetch it again."
    try:
        # torch.load itself does not look at the checksums.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, EOFError) as error:
        raise refuse(f"a file that is cut off or of another kind ({error})", remake) from error
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise refuse("content that is not plain tensors and values", remake) from error
    if damaged:
        raise refuse(f"damage in its part {damaged}", remake)
    if not isinstance(content, dict) or (content.get("kind"), content.get("format")) != (kind, FORMAT):
        about = content if isinstance(content, dict) else {}
        raise refuse(f"kind {about.get('kind')}, format {about.get('format')}", "Check the path; " + remake)
    return content
