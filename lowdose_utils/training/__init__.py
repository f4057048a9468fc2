"""One training loop for every network of the book, and files that hold what it made."""

from lowdose_utils.training.loop import Training
from lowdose_utils.training.plan import Batch, Batches, Loss, Schedule, mse, rate
from lowdose_utils.training.run import train
from lowdose_utils.training.weights import count_parameters, load_weights, save_weights

__all__ = [
    "Batch",
    "Batches",
    "Loss",
    "Schedule",
    "Training",
    "count_parameters",
    "load_weights",
    "mse",
    "rate",
    "save_weights",
    "train",
]
