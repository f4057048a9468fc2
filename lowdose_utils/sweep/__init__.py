"""One section at many values: every combination checked, run through Snakemake, set side by side."""

from lowdose_utils.sweep.collect import draw, table
from lowdose_utils.sweep.execute import run_sweep
from lowdose_utils.sweep.plan import Combination, Sweep, plan, read_values

__all__ = ["Combination", "Sweep", "draw", "plan", "read_values", "run_sweep", "table"]
