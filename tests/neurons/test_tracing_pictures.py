"""Pictures of centre lines: what is drawn, at which scale."""

import numpy as np
import pytest

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.skeletons import Skeleton
from lowdose_utils.neurons.tracing_pictures import line_rows


def straight(length, way):
    nodes = np.linspace(0, length, 11)[:, None] * np.array(way, float)
    return Skeleton(0, nodes, np.arange(11) - 1, np.ones(11))


def test_rows_of_lines_at_one_scale():
    figure = line_rows(
        {"long": [straight(8, (1, 0, 0)), straight(8, (0, 0, 1))], "short": [straight(2, (0, 1, 0))]}
    )
    long, short = figure.axes
    assert [axes.get_ylabel() for axes in (long, short)] == ["long", "short"]
    assert len(long.collections) == 2 and len(short.collections) == 1
    assert long.get_xlim() == short.get_xlim() and long.get_ylim() == short.get_ylim()
    for axes, length in ((long, 8), (short, 2)):
        drawn = np.concatenate([p.vertices for p in axes.collections[0].get_paths()])
        assert np.ptp(drawn[:, 1]) == pytest.approx(length)  # the longest extent is upright
        assert np.ptp(drawn[:, 0]) == pytest.approx(0, abs=1e-6)


def test_no_more_than_asked_and_no_empty_rows():
    figure = line_rows({"a": [straight(3, (1, 0, 0))] * 5, "none": []}, most=2)
    assert len(figure.axes) == 1 and len(figure.axes[0].collections) == 2


def test_nothing_to_draw_is_refused():
    with pytest.raises(LowdoseError, match="no line"):
        line_rows({"a": []})
    with pytest.raises(LowdoseError, match="no piece"):
        line_rows({"a": [Skeleton(0, np.zeros((1, 3)), np.array([-1]), np.ones(1))]})
