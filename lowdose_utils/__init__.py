"""Utilities of the book on low-dose tomography: one room per step of the data's way."""

__version__ = "0.1.0"
