"""Scans and volumes, in from and out to the files of the field.

`read` opens a scan and `read_dataset` a registered one, both as a `Scan` whose frames stay in the file until
they are asked for. `write_volume` and `read_volume` keep reconstructed volumes.
"""

from lowdose_utils.readers.dataset import read_dataset
from lowdose_utils.readers.open import read
from lowdose_utils.readers.scan import Scan
from lowdose_utils.readers.volume import read_attributes, read_volume, write_volume

__all__ = ["Scan", "read", "read_attributes", "read_dataset", "read_volume", "write_volume"]
