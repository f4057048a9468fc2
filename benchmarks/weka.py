"""Trainable segmentation: the plugin's 252 features, the forest, and a volume from disk to disk.

The image is a noisy painted Shepp-Logan phantom, the labels 200 pixels for each of five classes, as in the
section. Times are medians of three after one warm-up; the memory is what the process grows by. The peer
is scikit-image's multi-scale features under a forest of as many trees. The volume has slices of 317 x 428
pixels, as that of Staniewicz and Midgley (2015), who report 16.7 s for one, and 861 of them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from skimage.feature import multiscale_basic_features
from skimage.transform import resize
from sklearn.ensemble import RandomForestClassifier

from benchmarks.measure import forget_peak, median_seconds, peak_mib
from benchmarks.tables import apart, table
from lowdose_utils import classify
from lowdose_utils.phantoms.shepp_logan import painted_labels

SLICES, SHAPE = 861, (317, 428)


def scene(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy image of grey values 0 to 255, and its scribbles."""
    truth = painted_labels(size) + 1
    noise = np.random.default_rng(0).normal(0, 12, truth.shape)
    image = np.clip(63.75 * (truth - 1.0) + noise, 0, 255).astype(np.float32)
    return image, classify.annotate(truth, 200, 0)


def ours(size: int) -> dict[str, float]:
    """Features, training and prediction of one image by this package."""
    image, strokes = scene(size)
    before = forget_peak()
    stack = classify.compute(image, device="cpu")
    result = {"channels": float(len(stack))}
    result["features (s)"] = median_seconds(lambda: classify.compute(image, device="cpu"), 3)

    def train() -> classify.PixelClassifier:
        return classify.train_classifier(stack, strokes, computed=True, rng=0)

    result["training (s)"] = median_seconds(train, 3)
    model = train()
    result["prediction (s)"] = median_seconds(lambda: model.classify(stack, computed=True), 3)
    return {**result, "memory (MiB)": peak_mib() - before}


def theirs(size: int) -> dict[str, float]:
    """The same by scikit-image and scikit-learn."""
    image, strokes = scene(size)
    before = forget_peak()

    def features() -> np.ndarray:
        return multiscale_basic_features(image, sigma_max=16)

    stack = features()
    result = {"channels": float(stack.shape[-1]), "features (s)": median_seconds(features, 3)}
    model = RandomForestClassifier(200, criterion="entropy", max_features=2, n_jobs=-1, random_state=0)
    pixels, classes = stack[strokes > 0], strokes[strokes > 0]
    result["training (s)"] = median_seconds(lambda: model.fit(pixels, classes), 3)
    flat = stack.reshape(-1, stack.shape[-1])
    result["prediction (s)"] = median_seconds(lambda: model.predict(flat), 3)
    return {**result, "memory (MiB)": peak_mib() - before}


def volume(slices: int, kind: type = np.float32) -> dict[str, float]:
    """Slices of the paper's size, from a file to a file; `kind` uint8 has whole grey levels,
    for which the median has a faster way."""
    image, strokes = scene(512)
    model = classify.train_classifier(image, strokes, rng=0, device="cpu")
    small = resize(image, SHAPE)
    with tempfile.TemporaryDirectory() as place:
        given = np.lib.format.open_memmap(Path(place) / "volume.npy", "w+", kind, shape=(slices, *SHAPE))
        given[:] = np.round(small) if kind is np.uint8 else small
        before, began = forget_peak(), time.perf_counter()
        classify.classify_volume(given, model, Path(place) / "classes.h5", device="cpu", progress=False)
        seconds = (time.perf_counter() - began) / slices
        grown = peak_mib() - before
    return {
        "a slice (s)": seconds,
        f"{SLICES} slices (min)": seconds * SLICES / 60,
        "memory grows by (MiB)": grown,
        "peak (MiB)": peak_mib(),
    }


def tables(size: int, slices: int) -> None:
    """Measure and print."""
    rows = {
        "lowdose_utils": apart(ours, size),
        "scikit-image, scikit-learn": apart(theirs, size),
    }
    print(table(f"Trainable segmentation, {size} x {size}, 1000 labelled pixels", rows, "features (s)"))
    numbers = sorted({max(slices // 4, 1), slices})
    rows = {f"{number} slices, float32": apart(volume, number) for number in numbers}
    rows[f"{slices} slices, uint8"] = apart(volume, slices, np.uint8)
    shape = " x ".join(map(str, SHAPE))
    print(table(f"Volume of slices of {shape}, 252 channels", rows, "a slice (s)"), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.weka", description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--slices", type=int, default=24)
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.2f} at the start\n", flush=True)
    tables(options.size, options.slices)
    print(f"load {os.getloadavg()[0]:.2f} at the end")


if __name__ == "__main__":
    main()
