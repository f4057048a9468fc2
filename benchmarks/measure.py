"""What one method takes and gives: time, accuracy, memory.

Every method runs in a process of its own, one after the other, so that its peak memory is its own and no
other's threads stand in the way. Sinograms are analytic: sharp discs (truth: the mean over each pixel) and
smooth blobs. PSNR is taken within 0.98 of the inscribed circle, peak = the phantom's maximum. Times are
medians over runs after one warm-up; a first call, which builds a geometry's matrix, is given apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from lowdose_utils.measure import disc_mask, psnr
from lowdose_utils.phantoms.blobs import blobs
from lowdose_utils.phantoms.foam import foam

Array = np.ndarray[Any, Any]


def phantoms(size: int, count: int, centre: peers.Centre) -> tuple[dict[str, Array], dict[str, Array], Array]:
    """Truths and exact sinograms by name, and the angles.

    scikit-image and gridrec centre image and detector on pixel ``size // 2``, half a pixel off the middle of
    an even size. Their sinograms are computed for that centre: all methods are asked for the same image.
    """
    angles = np.linspace(0, np.pi, count, endpoint=False)
    discs, smooth = foam(200, rng=1), blobs(rng=2)
    truths = {"discs": discs.volume(size, supersample=16)[0], "blobs": smooth.image(size)}
    offset = size // 2 - (size - 1) / 2
    axes = np.full(count, (size - 1) / 2)
    if centre == "pixel":
        axes += offset - offset * (np.cos(angles) - np.sin(angles))
    exact = {"discs": lambda turn, axis: discs.projections(size, turn, axis=axis)[0]}
    exact["blobs"] = lambda turn, axis: smooth.projections(size, turn, axis=axis)
    if centre == "pixel":
        sinograms = {
            name: np.concatenate([project(angles[[i]], axes[i]) for i in range(count)])
            for name, project in exact.items()
        }
    else:
        sinograms = {name: project(angles, axes[0]) for name, project in exact.items()}
    return truths, {name: one.astype(np.float32) for name, one in sinograms.items()}, angles


def median_seconds(call: Callable[[], Any], runs: int) -> float:
    """Median over `runs` calls; calls longer than 2 s are not repeated."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
        if taken[-1] > 2:
            break
    return float(np.median(taken))


def forget_peak() -> float:
    """Set the process's peak memory back to what it holds now (Linux), and give that in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def peak_mib() -> float:
    """Peak resident memory since `forget_peak`, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def time_reconstruction(name: str, size: int, count: int, stack: int, runs: int) -> dict[str, float]:
    """What one method takes and gives."""
    make, centre = peers.reconstructions()[name]
    truths, sinograms, angles = phantoms(size, count, centre)
    method, mask = make(), disc_mask(size)
    before = forget_peak()
    start = time.perf_counter()
    images = {kind: method(one[None], angles)[0] for kind, one in sinograms.items()}
    first = (time.perf_counter() - start) / 2
    row = {f"{kind} (dB)": psnr(images[kind], truths[kind], truths[kind].max(), mask) for kind in truths}
    row["first call (ms)"] = 1e3 * first
    row["single (ms)"] = 1e3 * median_seconds(lambda: method(sinograms["discs"][None], angles), runs)
    if first < 2:
        many = np.repeat(sinograms["discs"][None], stack, axis=0)
        row["in a stack (ms)"] = 1e3 / stack * median_seconds(lambda: method(many, angles), runs)
    row["memory (MiB)"] = peak_mib() - before
    return row


def time_projection(name: str, size: int, count: int, stack: int, runs: int) -> dict[str, float]:
    """A projector's time and its accuracy against the exact sinogram."""
    project, centre = peers.PROJECTORS[name]
    truths, sinograms, angles = phantoms(size, count, centre)
    before = forget_peak()
    row = {}
    for kind, truth in truths.items():
        found = project(truth[None].astype(np.float32), angles)[0]
        row[f"{kind} (dB)"] = psnr(found, sinograms[kind], sinograms[kind].max())
    one = truths["discs"][None].astype(np.float32)
    row["single (ms)"] = 1e3 * median_seconds(lambda: project(one, angles), runs)
    if row["single (ms)"] < 2000:
        many = np.repeat(one, stack, axis=0)
        row["in a stack (ms)"] = 1e3 / stack * median_seconds(lambda: project(many, angles), runs)
    row["memory (MiB)"] = peak_mib() - before
    return row


def time_tv(name: str, size: int, count: int, stack: int, runs: int) -> dict[str, float]:
    """Total variation on noisy discs, to convergence; the weight is the best of three by truth."""
    from lowdose_utils.reconstruct import fbp, tv_min

    truths, sinograms, angles = phantoms(size, count, "middle")
    sinogram = sinograms["discs"]
    noise = np.random.default_rng(0).standard_normal(sinogram.shape) * 0.01 * sinogram.max()
    noisy = (sinogram + noise).astype(np.float32)[None]
    mask, truth = disc_mask(size), truths["discs"]

    def quality(image: Array) -> float:
        return psnr(image, truth, truth.max(), mask)

    found = {weight: tv_min(noisy, angles, weight, device="cpu") for weight in (0.1, 0.3, 1.0)}
    weight = max(found, key=lambda key: quality(found[key].images[0]))
    best = found[weight]
    return {
        "weight": weight,
        "discs (dB)": quality(best.images[0]),
        "ramp FBP (dB)": quality(fbp(noisy, angles, device="cpu")[0]),
        "seconds": median_seconds(lambda: tv_min(noisy, angles, weight, device="cpu"), min(runs, 3)),
        "iterations": best.iterations,
        "change": best.change,
    }
