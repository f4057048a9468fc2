"""Print the tables: reconstruction, projection, total variation, the mixed-scale dense network."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks import measure, msd, peers
from benchmarks.tables import apart, table


def _tables(folder: Path, size: int, count: int, stack: int, runs: int) -> None:
    """Measure and print everything at one size."""
    measure.store_phantoms(folder, size, count)
    shape = f"{size} x {size}, {count} angles"
    rows = {
        name: apart(measure.time_reconstruction, name, folder, stack, runs)
        for name in peers.reconstructions()
    }
    print(table(f"Filtered back-projection, {shape}, stack of {stack}", rows, "single (ms)"), flush=True)
    rows = {name: apart(measure.time_projection, name, folder, stack, runs) for name in peers.PROJECTORS}
    print(table(f"Projection, {shape}, stack of {stack}", rows, "single (ms)"), flush=True)
    if size <= 512:  # what the iterations take grows with the number of pixels, and nothing else changes
        rows = {"lowdose_utils tv_min": apart(measure.time_tv, folder, runs)}
        print(table(f"Total variation, {shape}, 1 % noise", rows, "seconds"), flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=measure.__doc__)
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each method")
    parser.add_argument("--small", action="store_true", help="128 pixels, to see that it works")
    options = parser.parse_args()
    sizes = [(128, 180, 4)] if options.small else [(512, 721, 32), (1024, 1501, 8)]
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.2f} at the start\n", flush=True)
    for size, count, stack in sizes:
        with tempfile.TemporaryDirectory() as place:
            _tables(Path(place), size, count, stack, options.runs)
    msd.tables(64 if options.small else 256)
    print(f"load {os.getloadavg()[0]:.2f} at the end")


if __name__ == "__main__":
    main()
