"""Damaged, mislabelled and foreign files: one clear error that names the file, or the right values."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import read

REAL = {
    "tooth/tooth.h5": {},
    "savu24737/projections.mrc": {"angles": np.zeros(91)},
    "haadf_needle/HAADF.mrc": {"angles": np.zeros(77)},
    "haadf_needle/HAADF_Aligned.hspy": {},
    "dendrite/RealDataDend.mat": {"order": ("column", "angle")},
    "spider_hair/hologram_spider_hair.tiff": {"angles": [0.0]},
}


@pytest.mark.parametrize("name", REAL)
def test_a_truncated_file_is_refused(real_data, tmp_path, name):
    whole = real_data(name).read_bytes()
    path = tmp_path / real_data(name).name
    rng = np.random.default_rng(4)
    for size in [
        0,
        1,
        100,
        511,
        1024,
        2048,
        *rng.integers(2048, len(whole) - 1, 12).tolist(),
        len(whole) - 1,
    ]:
        path.write_bytes(whole[:size])
        with pytest.raises(LowdoseError, match=re.escape(path.name)), read(path, **REAL[name]) as scan:
            scan.rows(0, 1)


@pytest.mark.parametrize("name", REAL)
def test_flipped_bytes_in_the_header_give_values_or_one_error(real_data, tmp_path, name):
    whole = bytearray(real_data(name).read_bytes())
    path = tmp_path / real_data(name).name
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(30):
        damaged = bytearray(whole)
        for at in rng.integers(0, 1024, 4):
            damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            with read(path, **REAL[name]) as scan:
                assert scan.rows(0, 1).projections.shape[1] == 1
        except LowdoseError as error:
            assert path.name in str(error)
            refused += 1
    assert refused


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from(["h5", "nxs", "hspy", "mrc", "mat", "tif", "dat"]))
def test_random_bytes_are_refused(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"scan.{suffix}"
    path.write_bytes(content)
    with pytest.raises(LowdoseError, match=r"scan\."):
        read(path)


MAGIC = [
    b"\x89HDF\r\n\x1a\n",
    b"II*\0",
    b"MM\0*",
    b"II+\0\x08\0\0\0",
    b"MATLAB 5.0 MAT-file",
    b"\0" * 208 + b"MAP ",
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MAGIC), st.binary(max_size=2000))
def test_right_first_bytes_and_nonsense_after_are_refused(tmp_path_factory, magic, content):
    path = tmp_path_factory.mktemp("bytes") / "scan"
    path.write_bytes(magic + content)
    with pytest.raises(LowdoseError, match="scan"):
        read(path)


@pytest.mark.parametrize(
    ("name", "other", "found"),
    [
        ("spider_hair/hologram_spider_hair.tiff", "a.h5", "TIFF"),
        ("tooth/tooth.h5", "a.tif", "HDF5"),
        ("tooth/tooth.h5", "a.mrc", "HDF5"),
        ("dendrite/RealDataDend.mat", "a.nxs", "MAT"),
        ("savu24737/projections.mrc", "a.mat", "MRC"),
    ],
)
def test_a_mislabelled_file_says_what_it_is(real_data, tmp_path, name, other, found):
    (tmp_path / other).write_bytes(real_data(name).read_bytes())
    with pytest.raises(LowdoseError, match=rf"{other}: found the content of {found}.*by its suffix.*format="):
        read(tmp_path / other)


def test_format_goes_before_the_suffix_but_not_before_the_content(real_data, tmp_path):
    (tmp_path / "a.tif").write_bytes(real_data("tooth/tooth.h5").read_bytes())
    with read(tmp_path / "a.tif", format="data-exchange") as scan:
        assert scan.projections.shape == (181, 2, 640)
    with pytest.raises(LowdoseError, match="expected TIFF"):
        read(tmp_path / "a.tif", format="tiff")
    with pytest.raises(LowdoseError, match="format: found 'edf'"):
        read(tmp_path / "a.tif", format="edf")


def test_missing_files_and_datasets(tmp_path):
    with pytest.raises(LowdoseError, match=r"gone\.h5: found no such file"):
        read(tmp_path / "gone.h5")
    with pytest.raises(LowdoseError, match="no TIFF file"):
        read(tmp_path)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as f:
        f["exchange/dat"] = np.zeros((3, 2, 2))
    with pytest.raises(LowdoseError, match=r"exchange/data in .*a\.h5: found /exchange/dat \(3, 2, 2\)"):
        read(path)
    with pytest.raises(LowdoseError, match="image_key"):
        read(path, format="nexus")
    with pytest.raises(LowdoseError, match="Experiments in"):
        read(path, format="hyperspy")
    with pytest.raises(LowdoseError, match="other in"):
        read(path, format="hdf5", key="other")


@pytest.mark.parametrize(
    ("data", "theta", "word"),
    [
        (np.zeros((3, 2, 2)), np.zeros(4), r"a\.h5: angles: found shape \(4,\); expected \(3,\)"),
        (np.zeros((3, 2, 2)), np.full(3, np.nan), r"a\.h5: angles: found 3 of 3 not finite"),
        (np.zeros((3, 2, 2)), None, "none in the file"),
        (np.zeros((3, 2, 2)), np.array([b"0", b"east", b"1"]), r"a\.h5"),
        (np.zeros((0, 2, 2)), np.zeros(0), "none empty"),
        (np.zeros((1, 1, 3, 2, 2)), np.zeros(3), r"\(1, 1, 3, 2, 2\)"),
        (np.zeros((3, 2, 2), complex), np.zeros(3), "complex"),
        (np.zeros((3, 2, 2), "S4"), np.zeros(3), "real"),
    ],
)
def test_wrong_arrays(tmp_path, data, theta, word):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["exchange/data"] = data
        if theta is not None:
            f["exchange/theta"] = theta
    with pytest.raises(LowdoseError, match=word):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"order": ("angle", "row")}, "order of the axes"),
        ({"order": ("z", "y", "x")}, "order of the axes"),
        ({"scale": 0}, "offset, scale"),
        ({"background_columns": 2}, "background_columns"),
        ({"axis": 40}, r"a\.tif: axis"),
        ({"values": "photons"}, "values"),
        ({"flats": np.zeros((2, 9, 9))}, r"a\.tif: flats"),
        ({"flats": np.zeros(4)}, "flats"),
        ({"darks": "gone.tif"}, r"gone\.tif"),
        ({"angles": [0, 1]}, "angles"),
        ({"angles": [0, 1, "east"]}, r"angles of .*a\.tif"),
        ({"angles": {"start": "a", "step": 1, "unit": "deg"}}, "angles"),
    ],
)
def test_wrong_options(tmp_path, options, word):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 4, 4), np.uint8), photometric="minisblack")
    with pytest.raises(LowdoseError, match=word):
        read(tmp_path / "a.tif", **{"angles": [0, 1, 2], **options})


def test_an_odd_image_in_a_folder_is_named(tmp_path):
    for number, shape in enumerate([(4, 4), (4, 4), (4, 5)]):
        tifffile.imwrite(tmp_path / f"p{number}.tif", np.zeros(shape, np.uint8))
    scan = read(tmp_path, angles=[0, 1, 2])
    assert scan.projections[:2].shape == (2, 4, 4)
    with pytest.raises(LowdoseError, match=r"p2\.tif.*\(4, 5\)"):
        scan.rows(0, 4)
    tifffile.imwrite(tmp_path / "p0.tif", np.zeros((4, 4, 3), np.uint8), photometric="rgb")
    with pytest.raises(LowdoseError, match="grey values"):
        read(tmp_path, angles=[0, 1, 2])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_cut_between_its_pages_is_refused(tmp_path, compression):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(5):
            writer.write(np.random.default_rng(6).random((8, 8)), compression=compression, metadata=None)
    whole = path.read_bytes()
    assert read(path, angles=np.arange(5)).projections[:].shape == (5, 8, 8)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(LowdoseError, match=r"a\.tif"):
            read(path, angles=np.arange(5)).rows(0, 8)
