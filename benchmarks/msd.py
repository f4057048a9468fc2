"""The mixed-scale dense network (depth 100, width 1) beside its plain form.

The plain form joins the maps by ``torch.cat`` and lets autograd keep what it needs, as the definition reads.
Each number is taken in a fresh process: the time is the median of three after one warm-up, the memory is what
the process's peak grows by.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
import torch

from benchmarks.measure import forget_peak, median_seconds, peak_mib
from benchmarks.tables import apart, table
from lowdose_utils.networks.msd import MSD


def plain(network: MSD, images: torch.Tensor) -> torch.Tensor:
    """What the network computes, map by map."""
    maps = images
    for layer, (weight, dilation) in enumerate(zip(network.weights, network.dilations, strict=True)):
        rows, columns = (
            torch.from_numpy(np.pad(np.arange(side), dilation, mode="symmetric")) for side in maps.shape[2:]
        )
        padded = maps.index_select(2, rows).index_select(3, columns)
        fresh = torch.nn.functional.conv2d(padded, weight, network.bias[layer : layer + 1], dilation=dilation)
        maps = torch.cat([maps, fresh.relu_()], dim=1)
    return torch.nn.functional.conv2d(maps, network.final_weight[:, :, None, None], network.final_bias)


def measure(form: str, work: str, size: int) -> dict[str, float]:
    """Time and memory of one form at one kind of work on one image."""
    network = MSD(rng=0)
    with torch.no_grad():
        network.final_weight.fill_(0.1)  # not zero, as at the start of a training: no gradient would flow
    optimiser = torch.optim.Adam(network.parameters())
    rng = np.random.default_rng(1)
    images, target = (
        torch.from_numpy(rng.standard_normal((1, 1, size, size), dtype=np.float32)) for _ in range(2)
    )

    def apply() -> torch.Tensor:
        return network(images) if form == "lowdose_utils" else plain(network, images)

    def step() -> None:
        if work == "inference":
            with torch.no_grad():
                apply()
            return
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(apply(), target).backward()
        optimiser.step()

    before = forget_peak()
    step()
    seconds = float(np.median([median_seconds(step, 1) for _ in range(3)]))
    return {"seconds": seconds, "memory (MiB)": peak_mib() - before}


def tables(size: int) -> None:
    """Measure and print one table for each kind of work."""
    for work in ("training step", "inference"):
        rows = {form: apart(measure, form, work, size) for form in ("lowdose_utils", "plain")}
        print(table(f"Mixed-scale dense network, {work}, {size} x {size}", rows, "seconds"), flush=True)


def main() -> None:
    """Print the tables of the sizes asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.msd", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.2f} at the start\n", flush=True)
    for size in options.sizes:
        tables(size)
    print(f"load {os.getloadavg()[0]:.2f} at the end")


if __name__ == "__main__":
    main()
