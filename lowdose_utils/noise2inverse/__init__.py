"""Noise2Inverse: denoising reconstructions with a network that learns from the noisy scan itself.

`reconstruct_sections` divides a scan, `train_noise2inverse` trains on the sections and gives a `Denoiser`.

Examples
--------
A scan larger than memory stays in files: memory maps, HDF5 and Zarr will do for all that is read or written.
At no time are more than a few slices in memory.

>>> scan = h5py.File("scan.h5")
>>> slices, _, size = scan["sinograms"].shape
>>> parts = zarr.create_array(
...     "sections.zarr", shape=(4, slices, size, size), chunks=(1, 1, size, size), dtype="f4"
... )
>>> _ = reconstruct_sections(scan["sinograms"], scan["angles"], 4, out=parts, slab=8)
>>> denoiser, _ = train_noise2inverse(
...     UNet(3), parts, context=1, crop=32, batch=4, steps=4, checkpoint="run.pt", progress=False
... )
>>> denoiser.save("denoiser.pt", scan="scan.h5")
>>> result = np.lib.format.open_memmap("denoised.npy", "w+", np.float32, (slices, size, size))
>>> _ = denoiser.of_sections(parts, "full", out=result)

Interrupted, the same call of `train_noise2inverse` goes on from its checkpoint. Memory maps are no safe place
for results on a disk that may fill: the operating system then ends the program, where others raise an error.
"""

from lowdose_utils.noise2inverse.denoiser import Denoiser
from lowdose_utils.noise2inverse.judging import error_without_truth
from lowdose_utils.noise2inverse.pairs import pairs
from lowdose_utils.noise2inverse.reconstruct import reconstruct_sections
from lowdose_utils.noise2inverse.sections import check_sections, group_size, split_angles, time_steps
from lowdose_utils.noise2inverse.train import train_noise2inverse
from lowdose_utils.noise2inverse.uncertainty import Calibration, calibration, split_disagreement

__all__ = [
    "Calibration",
    "Denoiser",
    "calibration",
    "check_sections",
    "error_without_truth",
    "group_size",
    "pairs",
    "reconstruct_sections",
    "split_angles",
    "split_disagreement",
    "time_steps",
    "train_noise2inverse",
]
