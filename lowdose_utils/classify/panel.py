"""A panel to draw, train, see and correct with the mouse, in JupyterLab."""

from __future__ import annotations

import html
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.backend_bases import Event, MouseEvent
from matplotlib.figure import Figure

from lowdose_utils.classify.scribbles import Labels, Stroke
from lowdose_utils.classify.session import Session
from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.class_maps import overlay
from lowdose_utils.figures.look import COLOURS, DPI
from lowdose_utils.figures.shown import as_base64

HELP = "Choose a class, draw with the mouse into the picture, do so for each class, then train."


class Panel:
    """A `Session` on the screen: the value of a notebook's cell.

    Press the mouse in the picture and move: that is a stroke of the chosen class. ``Train`` learns from all
    strokes and shows the class map over the image; draw where it errs, and train again. While the toolbar's
    zoom or pan is on, nothing is drawn. The session holds all that was done, for the cells after it:
    ``panel.session.strokes``, ``.labels``, ``.classifier``.

    Parameters
    ----------
    session : Session
        With strokes already, or none.
    inches : float
        Width of the picture.

    Raises
    ------
    LowdoseError
        If ipywidgets or ipympl is not installed, or there are more classes than colours.
    """

    def __init__(self, session: Session, *, inches: float = 6.0) -> None:
        try:
            import ipywidgets as widgets
            from ipympl.backend_nbagg import Canvas, FigureManager
        except ImportError as error:
            raise LowdoseError(
                "panel",
                found=str(error),
                expected="ipywidgets and ipympl",
                way_out="Install them: pip install ipywidgets ipympl; then restart JupyterLab.",
            ) from error
        if len(session.class_names) > len(COLOURS):
            raise LowdoseError(
                "classes",
                found=len(session.class_names),
                expected=f"{len(COLOURS)} at most, the colours that can be told apart",
                way_out="Join some, or work without the panel: session.draw, session.train.",
            )
        self.session = session
        self._map: Labels | None = None
        self._points: list[tuple[float, float]] = []
        rows, columns = session.images.shape[1:]
        self.figure = Figure(figsize=(inches, inches * rows / columns), dpi=DPI)
        axes = self.figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        self._picture = axes.imshow(np.zeros((rows, columns, 3)), interpolation="nearest")
        (self._line,) = axes.plot([], [], linewidth=3, solid_capstyle="round")
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
        self._canvas = Canvas(self.figure)
        FigureManager(self._canvas, 0)  # the canvas needs one for its toolbar
        self._canvas.header_visible = self._canvas.resizable = False
        self._canvas.toolbar_visible, self._canvas.toolbar_position = "visible", "right"
        for event, answer in (
            ("button_press_event", self._press),
            ("motion_notify_event", self._move),
            ("button_release_event", self._release),
        ):
            self._canvas.mpl_connect(event, answer)

        names = session.class_names
        self._class = widgets.ToggleButtons(options=[(n, k) for k, n in enumerate(names, 1)], value=1)
        self._width = widgets.BoundedIntText(3, min=1, max=99, step=2, description="pixels wide")
        self._slice = widgets.IntSlider(
            0, 0, len(session.images) - 1, description="slice", continuous_update=False
        )
        self._slice.layout.display = None if len(session.images) > 1 else "none"
        self._train = widgets.Button(description="Train", button_style="primary")
        self._undo = widgets.Button(description="Undo stroke")
        self._clear = widgets.Button(description="Clear all")
        self._strength = widgets.FloatSlider(0.45, min=0, max=1, step=0.05, description="class map")
        self._status = widgets.HTML(HELP)
        keys = " ".join(
            f'<span style="border-left:1em solid {colour};padding:0 1em 0 .4em">{html.escape(name)}</span>'
            for name, colour in zip(names, COLOURS, strict=False)
        )
        self.widget = widgets.VBox(
            [
                widgets.HBox([self._class, self._width]),
                widgets.HTML(keys),
                self._canvas,
                self._slice,
                widgets.HBox([self._train, self._undo, self._clear, self._strength]),
                self._status,
            ]
        )
        self._train.on_click(lambda _: self._doing("learning", self._learn))
        self._undo.on_click(lambda _: self._doing("", self._take_back))
        self._clear.on_click(lambda _: self._doing("", self._forget))
        self._slice.observe(lambda _: self._doing("looking", self._look), "value")
        self._strength.observe(lambda _: self._draw(), "value")
        self._class.observe(lambda _: self._draw(), "value")
        self._doing("", self._look)

    def _doing(self, what: str, work: Callable[[], str]) -> None:
        """Say what is being done, do it, and say what came of it, be it an error."""
        self._status.value, self._train.disabled = f"{what} ..." if what else "", True
        try:
            self._status.value = html.escape(work())
        except LowdoseError as error:
            self._status.value = f"<strong>{html.escape(str(error))}</strong>"
        finally:
            self._train.disabled = False
        self._draw()

    def _learn(self) -> str:
        began = time.perf_counter()
        classifier = self.session.train()
        said = self._look()
        oob = "" if classifier.oob_accuracy is None else f"; right out of bag: {classifier.oob_accuracy:.3f}"
        took = time.perf_counter() - began
        return f"Learned from {np.count_nonzero(self.session.labels)} pixels in {took:.1f} s{oob}. {said}"

    def _look(self) -> str:
        if self.session.classifier is None:
            self._map = None
            return HELP
        self._map = self.session.classify(self._slice.value)
        return "Draw where the map is wrong, and train again."

    def _take_back(self) -> str:
        self.session.undo()
        return f"Strokes drawn: {len(self.session.strokes)}."

    def _forget(self) -> str:
        self.session.clear()
        return self._look()

    def _press(self, event: Event) -> None:
        toolbar = self._canvas.toolbar
        if isinstance(event, MouseEvent) and event.inaxes and event.button == 1 and not toolbar.mode:
            self._points = []
            self._move_to(event)

    def _move(self, event: Event) -> None:
        if isinstance(event, MouseEvent) and self._points and event.inaxes:
            self._move_to(event)

    def _move_to(self, event: MouseEvent) -> None:
        assert event.xdata is not None and event.ydata is not None  # the mouse is in the picture
        self._points.append((event.ydata, event.xdata))
        self._line.set_data([x for _, x in self._points], [y for y, _ in self._points])
        self._line.set_color(COLOURS[self._class.value - 1])
        self._canvas.draw_idle()

    def _release(self, event: Event) -> None:
        if self._points:
            points, self._points = tuple(self._points), []
            stroke = Stroke(self._class.value, points, self._width.value, slice=self._slice.value)
            self._doing("", lambda: self._add(stroke))

    def _add(self, stroke: Stroke) -> str:
        self.session.draw(stroke)
        return f"Strokes drawn: {len(self.session.strokes)}."

    def _draw(self) -> None:
        """Image, class map over it, strokes over both."""
        number = self._slice.value
        image = self.session.images[number]
        nothing = np.zeros(image.shape, np.uint8)
        rgb = overlay(image, nothing if self._map is None else self._map, self._strength.value)
        marks = self.session.plane(number)
        rgb[marks > 0] = overlay(image, marks)[marks > 0]
        self._picture.set_data(rgb)
        self._line.set_data([], [])
        self._canvas.draw_idle()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live widget, and for pages without a kernel the picture as it is now."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=DPI)
        bundle: dict[str, Any] = dict(self.widget._repr_mimebundle_(**kwargs))
        over = "nothing" if self._map is None else f"a map of {', '.join(self.session.class_names)}"
        alt = f"The panel's picture: the image, over it {over} and {len(self.session.strokes)} strokes."
        return {**bundle, "image/png": as_base64(buffer)}, {"image/png": {"alt": alt}}
