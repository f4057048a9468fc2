"""Noise2Inverse: denoising reconstructions with a network that learns from the noisy scan itself.

`reconstruct_sections` divides a scan, `train_noise2inverse` trains on the sections and gives a `Denoiser`.
"""

from lowdose_utils.noise2inverse.denoiser import Denoiser
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
    "group_size",
    "pairs",
    "reconstruct_sections",
    "split_angles",
    "split_disagreement",
    "time_steps",
    "train_noise2inverse",
]
