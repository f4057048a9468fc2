"""The section on XRD-CT: shares are those of non-negative least squares, own scans are read as it says."""

from __future__ import annotations

import ast
from itertools import combinations
from typing import Any

import h5py
import jupytext
import numpy as np
import pytest
from conftest import ROOT
from scipy.optimize import nnls

from lowdose_utils.errors import LowdoseError


def from_section(name: str, **known: Any) -> Any:
    """A function of the section, which sees what is given it besides the usual imports."""
    cells = jupytext.read(ROOT / "notebooks" / "06_xrdct.md").cells
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    found = next(n for t in trees for n in t.body if isinstance(n, ast.FunctionDef) and n.name == name)
    space = {"np": np, "h5py": h5py, "combinations": combinations, "LowdoseError": LowdoseError} | known
    exec(compile(ast.Module([found], []), name, "exec"), space)
    return space[name]


def test_shares_are_those_of_non_negative_least_squares():
    rng = np.random.default_rng(0)
    scattering, noise = rng.uniform(size=(5, 11)), rng.uniform(0.5, 2, 11)
    unmix = from_section("unmix", scattering=scattering, phases=5, channels=11)
    images = rng.normal(size=(11, 2, 3, 4))
    images[:, 0, 0, 0] = -1.0  # nothing at all is the best answer
    shares = unmix(images, noise)
    assert shares.shape == (5, 2, 3, 4) and not shares[:, 0, 0, 0].any()
    for place in np.ndindex(2, 3, 4):
        expected, _ = nnls((scattering / noise).T, images[(slice(None), *place)] / noise)
        assert shares[(slice(None), *place)] == pytest.approx(expected, abs=1e-9)


def test_an_own_scan_is_read_with_channels_first(tmp_path):
    read_scan, path = from_section("read_scan"), tmp_path / "own.h5"
    lines, turns = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5), np.linspace(0, 3, 4)
    with h5py.File(path, "w") as file:
        file["sinograms"], file["angles"] = lines, turns
    sinograms, angles = read_scan(path)
    assert (sinograms == lines.swapaxes(0, 1)).all() and (angles == turns).all()


@pytest.mark.parametrize("given", [{"data": (2, 3, 4, 5)}, {"sinograms": (2, 3, 4, 5), "angles": (5,)}])
def test_another_file_is_refused_with_what_it_holds(tmp_path, given):
    read_scan, path = from_section("read_scan"), tmp_path / "own.h5"
    with h5py.File(path, "w") as file:
        for name, shape in given.items():
            file[name] = np.zeros(shape)
    with pytest.raises(LowdoseError, match="sinograms"):
        read_scan(path)
