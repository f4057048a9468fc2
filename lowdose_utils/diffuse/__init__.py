"""Non-linear anisotropic diffusion: smoothing that follows the structure of an image or volume.

``du/dt = div(D grad u)``, where the diffusion tensor D has the eigenvectors of the structure tensor of u
(Weickert, "Anisotropic Diffusion in Image Processing", 1998). Lengths are in pixels; a diffusion with D = 1
for the time t is a Gaussian blur of variance 2t.
"""

from lowdose_utils.diffuse.diffusion import diffuse
from lowdose_utils.diffuse.stencils import LONGEST_STEP
from lowdose_utils.diffuse.tensor import Method

__all__ = [
    "LONGEST_STEP",
    "Method",
    "diffuse",
]
