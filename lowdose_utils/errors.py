"""The one exception that the package raises on bad input."""

from __future__ import annotations


class LowdoseError(ValueError):
    """Bad input, said in one sentence a person can act on.

    Parameters
    ----------
    thing : str
        What is wrong: the argument, file or setting by its name.
    found, expected : object
        The value met, and what would have been accepted.
    way_out : str
        What the reader can do about it.
    """

    def __init__(self, thing: str, *, found: object, expected: object, way_out: str) -> None:
        super().__init__(f"{thing}: found {found}; expected {expected}. {way_out}")
        self.thing = thing
        self.found = found
        self.expected = expected
        self.way_out = way_out
