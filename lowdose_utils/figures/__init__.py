"""The book's figures: one look, a text for those who cannot see them, pixels left as they are."""

from lowdose_utils.figures.film import FILM_BYTES, film
from lowdose_utils.figures.lines import curves, small_multiples
from lowdose_utils.figures.look import COLOURS, DPI, LOOK, MARKERS
from lowdose_utils.figures.pictures import images, nice_length
from lowdose_utils.figures.shown import Shown, show
from lowdose_utils.figures.sliders import URI_BYTES, slider
from lowdose_utils.figures.tables import table

__all__ = [
    "COLOURS",
    "DPI",
    "FILM_BYTES",
    "LOOK",
    "MARKERS",
    "URI_BYTES",
    "Shown",
    "curves",
    "film",
    "images",
    "nice_length",
    "show",
    "slider",
    "small_multiples",
    "table",
]
