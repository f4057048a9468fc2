"""The guide for one's own scan: its code as it stands, on a small scan in both kinds of file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from guide_pages import Block, blocks

from lowdose_utils import measure, readers
from lowdose_utils.acquire import uniform_angles
from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.spheres import Spheres, spheres
from lowdose_utils.scanner import simulated_scan

SIZE, ANGLES, AXIS, MIDDLE = 96, 120, 49.3, slice(44, 54)  # ten rows of the cube
UNIT = 0.04  # attenuation of a sphere, per pixel
STEPS_OF_1_5_DEGREES = uniform_angles(ANGLES)


def write_scan(folder: Path) -> Spheres:
    """Spheres in a cube, seen with few photons and one dead pixel, as a file and as folders of images."""
    truth = spheres(SIZE, 60, diameters=(5.0, 14.0), rng=0)
    lines = UNIT * truth.projections(STEPS_OF_1_5_DEGREES, MIDDLE, axis=AXIS)
    scan = simulated_scan(lines, STEPS_OF_1_5_DEGREES, photons=400, axis=AXIS, rng=1)
    frames = {
        name: np.clip(np.rint(part), 0, None).astype(np.uint16)
        for name, part in (("data", scan.projections), ("data_white", scan.flats), ("data_dark", scan.darks))
    }
    frames["data"][:, 5, 20] = 0
    with h5py.File(folder / "scan.h5", "w") as file:
        for name, part in frames.items():
            file[f"exchange/{name}"] = part
        file["exchange/theta"] = np.rad2deg(STEPS_OF_1_5_DEGREES)
    for name, part in zip(("projections", "flats", "darks"), frames.values(), strict=True):
        (folder / "tiffs" / name).mkdir(parents=True)
        for number, image in enumerate(part):
            tifffile.imwrite(folder / "tiffs" / name / f"{name}_{number}.tif", image)
    return truth


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spheres, dict[str, Any], list[Any]]:
    """The truth, the names that the page leaves, and the scans that its first two blocks read."""
    folder = tmp_path_factory.mktemp("a scan")
    truth = write_scan(folder)
    names: dict[str, Any] = {}
    scans = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        page = blocks("own_scan")
        for number, block in enumerate(page):
            if block.language == "python":
                follow(block, page[number + 1] if number + 1 < len(page) else None, names)
                if len(scans) < 2:
                    scans.append(names["scan"])
        yield truth, names, scans


def follow(block: Block, after: Block | None, names: dict[str, Any]) -> None:
    """Run a block. One with an error below it on the page must end in just that."""
    code = compile(block.text, "own_scan.md", "exec")
    if after is None or after.language != "text":
        exec(code, names)
        return
    with pytest.raises(LowdoseError) as refused:
        exec(code, names)
    said = f"LowdoseError: {refused.value}"
    expected = re.escape(" ".join(after.text.split())).replace(re.escape("..."), ".*")
    assert re.fullmatch(expected, said), said


def test_both_kinds_of_file_give_the_same_scan(followed) -> None:
    _, _, (hdf5, tiff) = followed
    np.testing.assert_allclose(hdf5.angles, tiff.angles, atol=1e-12)
    for name in ("projections", "flats", "darks"):
        np.testing.assert_array_equal(getattr(hdf5, name)[:], getattr(tiff, name)[:])


def test_the_guide_ends_nearer_to_the_truth(followed) -> None:
    truth, names, _ = followed
    assert abs(names["axis"] - AXIS) < 0.3
    first = MIDDLE.start + names["first"]
    wanted = UNIT * truth.volume(slice(first, first + names["count"]))
    inside = measure.disc_mask(SIZE, SIZE / 2 - 2)

    def error(volume: Any) -> float:
        return float(np.sqrt(np.mean((volume - wanted)[:, inside] ** 2)))

    plain, denoised = (readers.read_volume(f"{name}.h5") for name in ("slices", "denoised"))
    assert error(denoised) < 0.6 * error(plain)
    assert error(plain) < 0.6 * UNIT  # the reconstruction itself has scale and place
    np.testing.assert_array_equal(readers.read_volume("denoised_tiffs"), denoised)
    assert readers.read_attributes("denoised.h5")["pixel_size"] == 2e-6


def test_every_picture_to_look_at_is_there(followed) -> None:
    for name in ("sinogram", "axis", "denoised"):
        assert Path(f"look_{name}.png").read_bytes().startswith(b"\x89PNG")
