"""From sinograms to slices: filtered back-projection, least squares, total variation."""

from lowdose_utils.reconstruct.fbp import angular_weights, fbp, filter_response

__all__ = ["angular_weights", "fbp", "filter_response"]
