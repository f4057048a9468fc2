"""What a cell shows: a picture or a piece of html, with a text for those who cannot see it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from matplotlib.figure import Figure
from PIL import Image

from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.look import DPI


@dataclass(frozen=True)
class Shown:
    """A PNG or a piece of html with its text alternative, as the value of a cell.

    `lowdose_utils.pages` carries the text of a PNG from here to the book's html.
    """

    mime: str
    content: str
    alt: str

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        return {self.mime: self.content, "text/plain": self.alt}, {self.mime: {"alt": self.alt}}


def as_base64(buffer: io.BytesIO) -> str:
    """The bytes in `buffer` as text."""
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def plain_text(alt: str) -> str:
    """A text alternative that says something."""
    if len(alt.split()) < 3:
        raise LowdoseError(
            "alt",
            found=repr(alt),
            expected="a sentence",
            way_out="Say what the picture shows, and what to see in it.",
        )
    return " ".join(alt.split())


def show(figure: Figure, alt: str) -> Shown:
    """Turn a figure into a picture that carries its text alternative.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From `images` or `curves`.
    alt : str
        What a person who cannot see it should know: what is shown, and what is to be seen in it.
    """
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.05)
    # 256 colours hold every grey level and the palette, at about half of the bytes.
    Image.open(buffer).convert("RGB").quantize(256).save(small, "png", optimize=True)
    return Shown("image/png", as_base64(small), plain_text(alt))
