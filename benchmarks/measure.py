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
from typing import Any, get_args

import numpy as np

from benchmarks import peers
from lowdose_utils.measure import disc_mask, psnr
from lowdose_utils.phantoms.blobs import blobs
from lowdose_utils.phantoms.ellipses import Ellipse, project_ellipses, rasterise

Array = np.ndarray[Any, Any]


def phantoms(size: int, count: int, centre: peers.Centre) -> tuple[dict[str, Array], dict[str, Array], Array]:
    """Truths and exact sinograms by name, and the angles.

    scikit-image and gridrec centre image and detector on pixel ``size // 2``, half a pixel off the middle of
    an even size. Their sinograms are computed for that centre: all methods are asked for the same image.
    """
    angles = np.linspace(0, np.pi, count, endpoint=False)
    sharp, smooth = spheres_slice(), blobs(rng=2)
    truths = {"discs": rasterise(sharp, size, supersample=8), "blobs": smooth.image(size)}

    def exact(turn: Array, axis: float) -> dict[str, Array]:
        return {
            "discs": project_ellipses(sharp, size, turn, axis=axis),
            "blobs": smooth.projections(size, turn, axis=axis),
        }

    middle = (size - 1) / 2
    if centre == "middle":
        sinograms = exact(angles, middle)
    else:
        offset = size // 2 - middle
        axes = middle + offset - offset * (np.cos(angles) - np.sin(angles))
        lines = [exact(angles[[i]], axes[i]) for i in range(count)]
        sinograms = {name: np.concatenate([line[name] for line in lines]) for name in truths}
    return truths, {name: one.astype(np.float32) for name, one in sinograms.items()}, angles


def store_phantoms(folder: Path, size: int, count: int) -> None:
    """Write the phantoms for both centres, once for all methods."""
    for centre in get_args(peers.Centre):
        truths, sinograms, angles = phantoms(size, count, centre)
        arrays = {f"truth_{name}": one for name, one in truths.items()}
        arrays |= {f"sinogram_{name}": one for name, one in sinograms.items()}
        np.savez(folder / f"{centre}.npz", angles=angles, **arrays)


def load_phantoms(folder: Path, centre: peers.Centre) -> tuple[dict[str, Array], dict[str, Array], Array]:
    """Truths and sinograms by name, and the angles, as `store_phantoms` left them."""
    with np.load(folder / f"{centre}.npz") as held:
        truths, sinograms = (
            {name: held[f"{kind}_{name}"] for name in ("discs", "blobs")} for kind in ("truth", "sinogram")
        )
        return truths, sinograms, held["angles"]


def spheres_slice() -> list[Ellipse]:
    """After Yang et al. (2018): discs of value 1, 4 to 20 pixels of 512 wide, in a cylinder of 0.3."""
    rng = np.random.default_rng(1)
    distance, turn = 0.85 * np.sqrt(rng.uniform(size=40)), rng.uniform(0, 2 * np.pi, 40)
    places = zip(distance * np.cos(turn), distance * np.sin(turn), rng.uniform(4, 20, 40) / 512, strict=True)
    return [
        Ellipse(0.3, 0.0, 0.0, 0.92, 0.92),
        *(Ellipse(0.7, x, y, radius, radius) for x, y, radius in places),
    ]


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


def time_reconstruction(name: str, folder: Path, stack: int, runs: int) -> dict[str, float]:
    """What one method takes and gives."""
    make, centre = peers.reconstructions()[name]
    truths, sinograms, angles = load_phantoms(folder, centre)
    method, mask = make(), disc_mask(len(truths["discs"]))
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


def time_projection(name: str, folder: Path, stack: int, runs: int) -> dict[str, float]:
    """A projector's time and its accuracy against the exact sinogram."""
    project, centre = peers.PROJECTORS[name]
    truths, sinograms, angles = load_phantoms(folder, centre)
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


def time_tv(folder: Path, runs: int) -> dict[str, float]:
    """Total variation on noisy discs, to convergence; the weight is the best of three by truth."""
    from lowdose_utils.reconstruct import fbp, tv_min

    truths, sinograms, angles = load_phantoms(folder, "middle")
    sinogram = sinograms["discs"]
    noise = np.random.default_rng(0).standard_normal(sinogram.shape) * 0.01 * sinogram.max()
    noisy = (sinogram + noise).astype(np.float32)[None]
    truth = truths["discs"]
    mask = disc_mask(len(truth))

    def quality(image: Array) -> float:
        return psnr(image, truth, truth.max(), mask)

    found = {weight: tv_min(noisy, angles, weight, device="cpu") for weight in (0.03, 0.1, 0.3)}
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
