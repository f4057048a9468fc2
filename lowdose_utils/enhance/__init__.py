"""From low-dose to high-dose projections, learnt from a few that were taken at both doses."""

from lowdose_utils.enhance.apply import Enhancement, Scaling
from lowdose_utils.enhance.losses import inverse_psnr, psnr_of_each, through_reconstruction
from lowdose_utils.enhance.neighbours import Neighbours
from lowdose_utils.enhance.patches import cut, joined
from lowdose_utils.enhance.scaling import Scale, global_scale, image_scale, matched
from lowdose_utils.enhance.train import Pairs, train_enhancer

__all__ = [
    "Enhancement",
    "Neighbours",
    "Pairs",
    "Scale",
    "Scaling",
    "cut",
    "global_scale",
    "image_scale",
    "inverse_psnr",
    "joined",
    "matched",
    "psnr_of_each",
    "through_reconstruction",
    "train_enhancer",
]
