"""Real data, or the simulated stand-in: what a section's parameter `data` asks for."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lowdose_utils.data.fetching import fetch_dataset
from lowdose_utils.data.registry import Store
from lowdose_utils.errors import LowdoseError


def choose(
    dataset: str, wish: Literal["auto", "real", "simulated"], *, store: Store | None = None
) -> Literal["real", "simulated"]:
    """Decide whether a section works on a dataset or on its simulated stand-in.

    Parameters
    ----------
    dataset : str
        Name in the registry; fetched if it is not at hand.
    wish : {"auto", "real", "simulated"}
        ``"real"`` insists, ``"simulated"`` touches neither disk nor network, ``"auto"`` falls back if the
        dataset cannot be had, after one try of each address, and says so.

    Raises
    ------
    LowdoseError
        If `wish` is ``"real"`` and the dataset cannot be had.
    """
    if wish == "simulated":
        return "simulated"
    store = store or Store.default()
    if wish == "real":
        fetch_dataset(dataset, store=store)
        return "real"
    once = dataclasses.replace(store, patience=dataclasses.replace(store.patience, attempts=1, timeout=10.0))
    try:
        fetch_dataset(dataset, store=once)
    except LowdoseError:  # its text names folders of this machine, which no page may show
        print(
            f"{dataset} cannot be had; simulated data take its place (lowdose data fetch {dataset} says why)"
        )
        return "simulated"
    return "real"
