"""The offline kit: everything that the book needs, packed into a folder and installed from it."""

from lowdose_utils.kit.pack import Packed, pack

__all__ = ["Packed", "pack"]
