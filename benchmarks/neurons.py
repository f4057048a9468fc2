"""Neurons: what a cubic micrometre takes, by the small network of the section and by the published form.

A cubic micrometre at voxels of 50 nm is 8000 voxels; Kuan et al. (2020) report about 0.1 s for it, with
their network on their machines. The volume is drawn nerve tissue with noise, the network's weights are as it
was built: what it answers does not change the time. Segmentation (supervoxels and agglomeration) is timed on
affinities of the truth with noise. "torch's choice" is the small network with torch's own convolution.
Times are medians after one warm-up; the memory is what the process grows by.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.measure import forget_peak, median_seconds, peak_mib
from benchmarks.tables import apart, table
from lowdose_utils.networks import seeded
from lowdose_utils.networks.convolution3d import Convolution
from lowdose_utils.networks.unet3d import UNet3d
from lowdose_utils.neurons.affinities import affinities, grow_boundary, neighbours
from lowdose_utils.neurons.inputs import Inputs
from lowdose_utils.neurons.predict import predict
from lowdose_utils.neurons.segment import Settings, segment
from lowdose_utils.neurons.train import Pieces, balanced_mse
from lowdose_utils.phantoms import neurites

PER_UM3 = 8000
SHEETS = (0.7, 1.0, 1.5, 2.5)
SMALL = {"kernels": 24, "growth": 2, "depth": 2, "padding": "same", "fold": 2}
UNFOLDED = {"kernels": 8, "growth": 2, "depth": 2, "padding": "same"}


def scene(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Densities with noise, and cells."""
    drawn = neurites.tissue(size, size, voxel_um=0.1, closed=False, rng=0).draw()
    noise = np.random.default_rng(0).standard_normal(drawn.density.shape)
    return (drawn.density + 15 * noise).astype(np.float32), drawn.labels


def small(size: int, form: dict[str, Any], torch_chooses: bool = False) -> dict[str, float]:
    """Inputs, prediction, segmentation, and a step of training, by a small network."""
    raw, labels = scene(size)
    if torch_chooses:
        Convolution.forward = torch.nn.Conv3d.forward  # type: ignore[method-assign]
    inputs = Inputs.of(raw, SHEETS)
    given = inputs(raw)
    network = seeded(partial(UNet3d, neighbours(1, 3, 9), inputs=len(given), **form), 0)
    exact, _ = affinities(grow_boundary(labels), neighbours(1))
    noise = np.random.default_rng(1).standard_normal(exact.shape)
    soft = np.clip(exact + 0.2 * noise, 0, 1).astype(np.float32)
    before = forget_peak()
    each = PER_UM3 / raw.size
    result = {
        "inputs (s)": each * median_seconds(lambda: inputs(raw), 3),
        "network (s)": each * median_seconds(lambda: predict(network, given, block=256, device="cpu"), 3),
        "segmentation (s)": each * median_seconds(lambda: segment(soft, Settings()), 3),
    }
    result["together (s)"] = sum(result.values())
    batch = Pieces(network, [(given, labels)], size=40)(np.random.default_rng(0))

    def step() -> None:
        network.zero_grad()
        balanced_mse(network(batch[0]), batch[1]).backward()

    return {**result, "training step, 40^3 (s)": median_seconds(step, 5), "memory (MiB)": peak_mib() - before}


def published(left: int) -> dict[str, float]:
    """The published form, one block of `left` voxels along an axis."""
    network = seeded(partial(UNet3d, neighbours(1, 3, 9, 27)), 0)
    raw = np.random.default_rng(0).standard_normal((left,) * 3).astype(np.float32)
    before = forget_peak()
    seconds = median_seconds(lambda: predict(network, raw, block=left, device="cpu"), 3)
    return {"network (s)": seconds * PER_UM3 / raw.size, "memory (MiB)": peak_mib() - before}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neurons", description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--left", type=int, nargs="*", default=[40, 72])
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.2f} at the start\n", flush=True)
    size = options.size
    rows = {
        "24 maps, folded, with sheets": apart(small, size, SMALL),
        "24 maps, torch's choice of code": apart(small, size, SMALL, True),
        "8 maps, not folded": apart(small, size, UNFOLDED),
        "8 maps, torch's choice of code": apart(small, size, UNFOLDED, True),
    } | {f"published, {left + 92} to {left}": apart(published, left) for left in options.left}
    print(table(f"A cubic micrometre at 50 nm, from {size} x {size} x {size} voxels", rows, "network (s)"))
    print(f"load {os.getloadavg()[0]:.2f} at the end")


if __name__ == "__main__":
    main()
