"""One look for all figures, for eyes that tell few colours apart."""

DPI = 96  # and 7.2 inches: the width of the book's column, pixel for pixel
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
MARKERS = ("o", "s", "D", "^", "v", "P", "*", "X")  # one more than colours: pairs repeat after 56
LOOK = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e0e0e0",
    "legend.frameon": False,
    "image.cmap": "gray",
}
