"""From sinograms to slices: filtered back-projection, least squares, total variation."""

from lowdose_utils.reconstruct.fbp import angular_weights, fbp, filter_response
from lowdose_utils.reconstruct.iterative import cgls, sirt
from lowdose_utils.reconstruct.tv import TotalVariation, tv_min

__all__ = ["TotalVariation", "angular_weights", "cgls", "fbp", "filter_response", "sirt", "tv_min"]
