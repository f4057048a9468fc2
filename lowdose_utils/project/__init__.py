"""Parallel-beam projector and its exact adjoint, by sparse Kaiser-Bessel gridding in torch.

By the Fourier slice theorem the 1-D spectrum of a projection is the 2-D spectrum of the image along a
line. Both directions go between the polar samples and a slightly finer Cartesian grid with one sparse
matrix of Kaiser-Bessel weights, computed once per geometry; the rest is batched FFTs. Images and
projections are real, so only half of the Fourier plane is kept. The method is the non-uniform FFT of
Fessler and Sutton, "Nonuniform fast Fourier transforms using min-max interpolation", IEEE Trans. Signal
Process. 51 (2003).
"""

from lowdose_utils.project.checks import check_angles, check_stack
from lowdose_utils.project.projector import Projector

__all__ = [
    "Projector",
    "check_angles",
    "check_stack",
]
