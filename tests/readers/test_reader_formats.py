"""Each format gives back what was written into it, in the project's conventions and units."""

from __future__ import annotations

import tracemalloc

import h5py
import mrcfile
import numpy as np
import pytest
import scipy.io
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import read

DATA = np.random.default_rng(1).integers(0, 60000, (6, 4, 5)).astype(np.uint16)
DEGREES = np.linspace(0, 150, 6)
RADIANS = np.deg2rad(DEGREES)


def data_exchange(path, data=DATA, theta=DEGREES, units="degrees"):
    with h5py.File(path, "w") as f:
        f["exchange/data"] = data
        f["exchange/data_white"] = data[..., :2, :, :]
        f["exchange/data_dark"] = data[..., :1, :, :]
        if theta is not None:
            f["exchange/theta"] = theta
            if units:
                f["exchange/theta"].attrs["units"] = units
        f["measurement/instrument/monochromator/energy"] = 8300.0
        f["measurement/instrument/monochromator/energy"].attrs["units"] = "eV"
    return path


def test_data_exchange(tmp_path):
    with read(data_exchange(tmp_path / "a.h5"), axis=2.5, pixel_size=1e-6) as scan:
        np.testing.assert_array_equal(scan.projections[:], DATA)
        np.testing.assert_array_equal(scan.flats[:], DATA[:2])
        np.testing.assert_array_equal(scan.darks[:], DATA[:1])
        np.testing.assert_allclose(scan.angles, RADIANS)
        assert (scan.axis, scan.pixel_size, scan.energy) == (2.5, 1e-6, pytest.approx(8.3))
        assert scan.provenance["values"] == "counts" and scan.provenance["format"] == "data-exchange"
        assert scan.provenance["file"] == "a.h5"
    with pytest.raises(LowdoseError, match=r"a\.h5"):
        scan.projections[0]  # closed


@pytest.mark.parametrize(("units", "expected"), [(None, RADIANS), ("deg", RADIANS), ("rad", DEGREES)])
def test_units_of_theta(tmp_path, units, expected):
    with read(data_exchange(tmp_path / "a.h5", units=units)) as scan:
        np.testing.assert_allclose(scan.angles, expected)
    with pytest.raises(LowdoseError, match="'gon'"):
        read(data_exchange(tmp_path / "b.h5", units="gon"))


@pytest.mark.parametrize("theta", [DEGREES, np.concatenate([DEGREES - 180, DEGREES])])
def test_time_steps(tmp_path, theta):
    series = np.stack([DATA, DATA + 1])
    path = data_exchange(tmp_path / "a.h5", series, theta)
    with read(path, step=1) as scan:
        np.testing.assert_array_equal(scan.projections[:], DATA + 1)
        np.testing.assert_array_equal(scan.flats[:], DATA[:2] + 1)
        np.testing.assert_allclose(scan.angles, RADIANS)
    for step in (None, 2, -1):
        with pytest.raises(LowdoseError, match=r"step of .*2 scans"):
            read(path, step=step)
    with read(data_exchange(tmp_path / "b.h5", series[:1])) as scan:
        np.testing.assert_array_equal(scan.projections[:], DATA)


def nexus(path, keys, data, angles, entry="entry1/tomo_entry"):
    with h5py.File(path, "a") as f:
        f.require_group(entry).attrs["NX_class"] = "NXsubentry"
        detector = f.create_group(f"{entry}/instrument/detector")
        detector.attrs["NX_class"] = "NXdetector"
        detector["data"], detector["image_key"] = data, keys
        detector["x_pixel_size"] = 3.25
        detector["x_pixel_size"].attrs["units"] = "um"
        f[f"{entry}/sample/rotation_angle"] = angles
        f[f"{entry}/sample/rotation_angle"].attrs["units"] = "degrees"
        f[f"{entry}/data/image_key"] = h5py.SoftLink(f"/{entry}/instrument/detector/image_key")
        f[f"{entry}/data/data"] = h5py.SoftLink(f"/{entry}/instrument/detector/data")
        f[f"{entry}/data/gone"] = h5py.SoftLink("/nowhere")
        f[f"{entry}/data/loop"] = h5py.SoftLink("/")
    return path


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12).filter(lambda keys: 0 in keys))
def test_nexus_sorts_frames_by_image_key(tmp_path_factory, keys):
    keys = np.array(keys)
    frames = np.random.default_rng(2).random((len(keys), 3, 4), dtype=np.float32)
    path = nexus(tmp_path_factory.mktemp("nx") / "a.nxs", keys, frames, np.arange(len(keys)) * 10.0)
    with read(path) as scan:
        np.testing.assert_array_equal(scan.projections[:], frames[keys == 0])
        np.testing.assert_allclose(scan.angles, np.deg2rad(10.0 * np.flatnonzero(keys == 0)))
        for fields, key in ((scan.flats, 1), (scan.darks, 2)):
            assert (fields is None) == (key not in keys)
            if fields is not None:
                np.testing.assert_array_equal(fields[:], frames[keys == key])
        assert scan.pixel_size == pytest.approx(3.25e-6)


def test_nexus_with_two_entries_asks_which(tmp_path):
    path = nexus(tmp_path / "a.nxs", np.zeros(6, int), DATA, DEGREES, "entry0000")
    nexus(path, np.zeros(6, int), DATA + 1, DEGREES, "entry0001")
    with pytest.raises(LowdoseError, match="key="):
        read(path)
    with read(path, format="nexus", key="entry0001") as scan:
        np.testing.assert_array_equal(scan.projections[:], DATA + 1)


@pytest.mark.parametrize("keys", [np.ones(6, int), np.zeros(5, int)])
def test_nexus_with_wrong_keys(tmp_path, keys):
    with pytest.raises(LowdoseError, match="image_key"):
        read(nexus(tmp_path / "a.nxs", keys, DATA, DEGREES))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.float16, np.float32])
def test_mrc_with_sidecar(tmp_path, dtype):
    data = (DATA % 100).astype(dtype)
    with mrcfile.new(tmp_path / "a.mrc") as f:
        f.set_data(data)
        f.voxel_size = 33.6
    (tmp_path / "a.rawtlt").write_text("\n".join(f" {angle:.2f}" for angle in DEGREES))
    with read(tmp_path / "a.mrc", offset=7) as scan:
        np.testing.assert_array_equal(scan.projections[:], data.astype(np.float32) + 7)
        np.testing.assert_allclose(scan.angles, RADIANS)
        assert scan.pixel_size == pytest.approx(3.36e-9)
    (tmp_path / "a.rawtlt").write_text("0\nnorth\n")
    with pytest.raises(LowdoseError, match=r"a\.rawtlt"):
        read(tmp_path / "a.mrc")


def test_hyperspy_and_a_rotation_axis_along_x(tmp_path):
    path = tmp_path / "a.hspy"
    with h5py.File(path, "w") as f:
        group = f.create_group("Experiments/needle")
        group["data"] = DATA
        for number, (scale, offset, units) in enumerate(
            [(2.0, -5.0, "degrees"), (3.0, 0, "nm"), (3.0, 0, "nm")]
        ):
            group.create_group(f"axis-{number}").attrs.update(
                {"scale": scale, "offset": offset, "units": units}
            )
    with read(path, order=("angle", "column", "row")) as scan:
        np.testing.assert_array_equal(scan.projections[:], DATA.transpose(0, 2, 1))
        np.testing.assert_allclose(scan.angles, np.deg2rad(-5 + 2.0 * np.arange(6)))
        assert scan.pixel_size == pytest.approx(3e-9)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_mat(tmp_path, version):
    path, sinogram = tmp_path / "a.mat", DATA[:, 0].astype(np.float32).T * 1000
    if version == "5":
        scipy.io.savemat(path, {"sinoRD": sinogram, "anglesRad": RADIANS[:, None], "Detectors": 5})
    else:
        with h5py.File(path, "w", userblock_size=512) as f:
            f["sinoRD"], f["anglesRad"] = sinogram.T, RADIANS[None]
        with path.open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file")
    with read(path, order=("column", "angle"), scale=1000) as scan:
        np.testing.assert_allclose(scan.projections[:], DATA[:, :1], rtol=1e-6)
        np.testing.assert_allclose(scan.angles, RADIANS)
        assert scan.provenance["values"] == "line_integral"
    with pytest.raises(LowdoseError, match="give order="):
        read(path)
    with pytest.raises(LowdoseError, match="sinoRD"):
        read(path, key="sino")


def test_tiff_folder_in_natural_order_multipage_and_pattern(tmp_path):
    (tmp_path / "many").mkdir()
    for number, image in enumerate(DATA):
        tifffile.imwrite(tmp_path / "many" / f"p_{number + 7}.tif", image)
    (tmp_path / "many" / "notes.txt").write_text("not an image")
    tifffile.imwrite(tmp_path / "one.tiff", DATA, compression="zlib", photometric="minisblack")
    tifffile.imwrite(tmp_path / "flat.tif", DATA[:2], photometric="minisblack")
    for path in (tmp_path / "many", tmp_path / "many" / "p_*.tif", tmp_path / "one.tiff"):
        scan = read(path, angles=RADIANS, flats=tmp_path / "flat.tif", darks=DATA[0])
        np.testing.assert_array_equal(scan.projections[:], DATA)
        np.testing.assert_array_equal(scan.rows(1, 3).projections, DATA[:, 1:3])
        np.testing.assert_array_equal(scan.flats[:], DATA[:2])
        assert scan.darks.shape == (1, 4, 5)
    sinograms = read(tmp_path / "one.tiff", angles=np.arange(4.0), order=("row", "angle", "column"))
    np.testing.assert_array_equal(sinograms.projections[1:3, 2], DATA.transpose(1, 0, 2)[1:3, 2])
    with pytest.raises(LowdoseError, match=r"angles of .*many.*none in the file; expected 6"):
        read(tmp_path / "many")


def test_any_dataset_of_an_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["my/frames"], f["my/turns"] = DATA, RADIANS
    with read(tmp_path / "a.h5", key="my/frames", angles_key="my/turns", values="transmission") as scan:
        np.testing.assert_array_equal(scan.projections[2:4], DATA[2:4])
        np.testing.assert_allclose(scan.angles, RADIANS)
    with pytest.raises(LowdoseError, match=r"/my/frames \(6, 4, 5\)"):
        read(tmp_path / "a.h5")


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float16, np.float32, np.float64]),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_any_real_array_comes_back_from_data_exchange(tmp_path_factory, data):
    path = data_exchange(tmp_path_factory.mktemp("dx") / "a.h5", data, np.arange(len(data)))
    with read(path) as scan:
        got = scan.projections[:]
        assert got.dtype == data.dtype
        np.testing.assert_array_equal(got, data)


def test_angles_given_as_start_and_step_go_first(tmp_path):
    path = data_exchange(tmp_path / "a.h5")
    with read(path, angles={"start": -10, "step": 4, "unit": "deg"}) as scan:
        np.testing.assert_allclose(scan.angles, np.deg2rad(-10 + 4.0 * np.arange(6)))
    for wrong in ({"start": 0, "step": 1}, {"start": 0, "step": 1, "unit": "gon"}):
        with pytest.raises(LowdoseError, match=r"a\.h5.*\(deg or rad\)"):
            read(path, angles=wrong)


def test_a_scan_larger_than_memory_is_read_by_rows(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        data = f.create_dataset(
            "exchange/data", (1001, 1100, 1440), np.uint16, chunks=(1, 10, 1440), fillvalue=3
        )
        data[:, 500:502] = 9
        f["exchange/theta"] = np.linspace(0, 180, 1001)
    tracemalloc.start()
    with read(tmp_path / "a.h5") as scan:
        part = scan.rows(499, 502)
    assert part.projections.shape == (1001, 3, 1440)
    assert [part.projections[:, row].mean() for row in range(3)] == [3, 9, 9]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.02 * 1001 * 1100 * 1440 * 2
