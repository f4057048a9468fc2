"""The section on the mouse brain, run on somebody's own pair of scans in files."""

from pathlib import Path

import h5py
import jupytext
import numpy as np
import pytest
import torch
import yaml

from lowdose_utils.errors import LowdoseError
from lowdose_utils.microscope import Microscope
from lowdose_utils.phantoms.axons import cortex
from lowdose_utils.project import Projector

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
NAME = "02_mouse_brain_txm"


def store(path, scan):
    """As Data Exchange."""
    with h5py.File(path, "w") as file:
        group = file.create_group("exchange")
        group["data"], group["data_white"], group["data_dark"] = scan.projections, scan.flats, scan.darks
        theta = group.create_dataset("theta", data=np.rad2deg(scan.angles))
        theta.attrs["units"] = "deg"
    return str(path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    tissue, angles = cortex(64, 24, pixel_um=0.15, rng=1), np.arange(24) * np.pi / 24
    volume = torch.from_numpy(tissue.draw().attenuation)
    lines = Projector(angles, 64).forward(volume).numpy().swapaxes(0, 1) * 0.15
    microscope = Microscope(photons=20000)
    low = microscope.expose(lines, angles, 2.0, rng=1).scan
    high = microscope.expose(lines[::4], angles[::4], 30.0, shift=(1, -1.5), rng=2).scan
    turned = microscope.expose(lines[::4], angles[::4] + 0.06, 30.0, rng=2).scan
    return {
        "low": store(folder / "low.h5", low),
        "high": store(folder / "high.h5", high),
        "turned": store(folder / "turned.h5", turned),
    }


def run_cells(until=None, **parameters):
    """The section's code in this process, with the parameters of its smoke preset and these."""
    cells = jupytext.read(NOTEBOOKS / f"{NAME}.md").cells
    preset = yaml.safe_load((NOTEBOOKS / "presets.yml").read_text(encoding="utf-8"))[NAME]["smoke"]
    names = {"__name__": "__main__"}
    for cell in cells:
        if until and until in cell.source:
            break
        if cell.cell_type == "code":
            exec(compile(cell.source, NAME, "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= preset | {"particle_steps": 1, "data": "auto"} | parameters
    return names


def test_an_own_pair_goes_through_the_whole_section(pair, monkeypatch, one_thread):
    monkeypatch.setattr("lowdose_utils.data.choose", lambda name, wish: "simulated")
    names = run_cells(low_path=pair["low"], high_path=pair["high"])
    results = {name: found["value"] for name, found in names["run"].results.items()}
    assert names["training"] == [1, 4] and names["sample"] is None
    assert results["txm_angles"] == 24 and results["txm_views"] == 6
    assert np.abs(names["pair"].shifts.mean(0) - [1, -1.5]).max() < 0.5
    assert 0 < results["txm_ssim_short"] < results["txm_ssim_ours"] < 1
    assert set(names["volumes"]) == {"short", "paper", "ours", "gaussian", "median", "n2i"}
    assert results["txm_dice_paper"] == "nan"  # needs a truth
    assert names["run"].datasets[0]["kind"] == "measured"


def test_scans_that_do_not_belong_together_are_refused_by_name(pair):
    with pytest.raises(LowdoseError, match="high-dose projection 0"):
        run_cells(until="def if_known", low_path=pair["low"], high_path=pair["turned"])
