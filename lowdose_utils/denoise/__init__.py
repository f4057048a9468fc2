"""The plain rivals of the neural networks: denoising of 2-D images, one by one, each tuned to its best.

Images are ``(row, column)`` or a stack ``(image, row, column)`` of projections or slices. Every method is
indifferent to offset and scale: ``denoise(a x + b) = a denoise(x) + b``, as long as `noise` scales with x.
"""

from lowdose_utils.denoise.checks import Floats, Method
from lowdose_utils.denoise.filters import bm3d, denoise, gaussian, median, nonlocal_means, tv
from lowdose_utils.denoise.tuning import Tuned, best_setting

__all__ = [
    "Floats",
    "Method",
    "Tuned",
    "best_setting",
    "bm3d",
    "denoise",
    "gaussian",
    "median",
    "nonlocal_means",
    "tv",
]
