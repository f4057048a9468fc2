"""Registered datasets: what each one is, and its files, fetched once and checked by hash.

``data_registry/registry.txt`` (pooch's format) pins the files whose hash is known, ``datasets.yml`` says
the rest. A file that is at hand and right is used as it lies, without a write and without the network.
"""

import warnings

with warnings.catch_warnings():
    # Importing pooch asks for a progress bar of Jupyter's that nobody here shows, and says so on the page.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import pooch as pooch

from lowdose_utils.data.download import Patience
from lowdose_utils.data.fallback import choose
from lowdose_utils.data.fetching import fetch, fetch_all, fetch_dataset
from lowdose_utils.data.registry import Dataset, Registry, Store, data_dir, datasets, registry_dir
from lowdose_utils.data.report import Checked, format_list, is_available, provenance, verify

__all__ = [
    "Checked",
    "Dataset",
    "Patience",
    "Registry",
    "Store",
    "choose",
    "data_dir",
    "datasets",
    "fetch",
    "fetch_all",
    "fetch_dataset",
    "format_list",
    "is_available",
    "provenance",
    "registry_dir",
    "verify",
]
