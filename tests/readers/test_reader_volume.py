"""Volumes come back as they were written, a part at a time, and nothing half-written is left."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import read_attributes, read_volume, write_volume

NAMES = ["v.h5", "v.zarr", "v.tif", "folder"]
VOLUME = np.random.default_rng(3).random((11, 6, 7), dtype=np.float32)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(
            [np.uint8, np.int16, np.uint16, np.int32, np.uint64, np.float16, np.float32, np.float64]
        ),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=12),
    )
)
def test_any_volume_comes_back(tmp_path_factory, name, volume):
    path = write_volume(tmp_path_factory.mktemp("v") / name, volume)
    got = read_volume(path)
    assert got.dtype == volume.dtype
    np.testing.assert_array_equal(got, volume)
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_parts_attributes_and_overwriting(tmp_path, name):
    path = write_volume(tmp_path / name, np.zeros((20, 2, 2)))
    write_volume(path, VOLUME, pixel_size=2.5e-7, attributes={"method": "fbp", "iterations": 3})
    for part in (
        slice(3, 5),
        10,
        -1,
        np.int64(4),
        (slice(None), 2),
        (4, slice(1, 5), slice(2, 4)),
        (1, 2, 3),
    ):
        np.testing.assert_array_equal(read_volume(path, part), VOLUME[part])
    assert read_volume(path).shape == VOLUME.shape
    marks = read_attributes(path)
    assert marks == {"axes": "z y x", "pixel_size": 2.5e-7, "method": "fbp", "iterations": 3}
    with pytest.raises(LowdoseError, match="index 11"):
        read_volume(path, 11)
    with pytest.raises(LowdoseError, match="4 slices"):
        read_volume(path, (0, 0, 0, 0))


@pytest.mark.parametrize("name", NAMES)
def test_slices_one_by_one(tmp_path, name):
    alive = []

    def slices():
        for z in range(11):
            alive.append(z)
            yield VOLUME[z]

    write_volume(tmp_path / name, slices(), shape=VOLUME.shape)
    assert alive == list(range(11))
    np.testing.assert_array_equal(read_volume(tmp_path / name), VOLUME)


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_is_stored_as_zeros_and_ones(tmp_path, name):
    got = read_volume(write_volume(tmp_path / name, VOLUME > 0.5))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, VOLUME > 0.5)


def test_a_volume_in_a_file_is_copied_and_chunked(tmp_path):
    with h5py.File(tmp_path / "big.h5", "w") as f:
        big = f.create_dataset("volume", (4, 700, 900), np.float32, chunks=(1, 100, 900), fillvalue=2)
        write_volume(tmp_path / "copy.zarr", big)
        write_volume(tmp_path / "copy.h5", big)
    stored = zarr.open_array(str(tmp_path / "copy.zarr"), mode="r")
    assert stored.metadata.zarr_format == 3 and stored.chunks == (1, 512, 512)
    with h5py.File(tmp_path / "copy.h5") as f:
        assert f["volume"].chunks == (1, 512, 512)
    assert read_volume(tmp_path / "copy.zarr", (3, 699)).tolist() == [2] * 900


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("failing", [LowdoseError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_volume(tmp_path, name, failing):
    path = write_volume(tmp_path / name, VOLUME)

    def slices():
        yield VOLUME[0] + 1
        if failing is KeyboardInterrupt:
            raise KeyboardInterrupt
        yield VOLUME[0, 1:]

    with pytest.raises(failing):
        write_volume(path, slices(), shape=VOLUME.shape)
    np.testing.assert_array_equal(read_volume(path), VOLUME)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("volume", "options", "word"),
    [
        (VOLUME[0], {}, r"volume: found shape \(6, 7\)"),
        (VOLUME[:0], {}, "none empty"),
        (iter(VOLUME), {}, "shape="),
        (iter(VOLUME), {"shape": (12, 6, 7)}, "found 11 slices; expected 12"),
        (iter(VOLUME), {"shape": (9, 6, 7)}, "slice 9 of the volume"),
        (iter([]), {"shape": (9, 6, 7)}, "found 0 slices"),
        (VOLUME.astype(complex), {}, "complex"),
        (VOLUME, {"pixel_size": -1.0}, "pixel_size"),
        (VOLUME, {"attributes": {"a": {}}}, "attribute a: found dict"),
    ],
)
def test_bad_volumes_are_refused(tmp_path, volume, options, word):
    with pytest.raises(LowdoseError, match=word):
        write_volume(tmp_path / "v.h5", volume, **options)
    assert not list(tmp_path.iterdir())


def test_no_room_and_strange_places(tmp_path, monkeypatch):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    (tmp_path / "notes").write_text("text")
    for name, word in (("thesis", "other things"), ("notes", "a file"), ("v.jpg", "suffix .jpg")):
        with pytest.raises(LowdoseError, match=word):
            write_volume(tmp_path / name, VOLUME)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"
    huge = h5py.File(tmp_path / "huge.h5", "w")["/"].create_dataset(
        "v", (10**9, 1000, 1000), np.float32, chunks=(1, 1000, 1000)
    )
    with pytest.raises(LowdoseError, match="room on disk"):
        write_volume(tmp_path / "v.h5", huge)
    huge.file.close()


@pytest.mark.parametrize("name", NAMES)
def test_damaged_or_missing_volumes_are_named(tmp_path, name):
    with pytest.raises(LowdoseError, match=name):
        read_volume(tmp_path / name)
    path = write_volume(tmp_path / name, VOLUME)
    victim = max(
        (f for f in [path, *path.rglob("*")] if f.is_file()), key=lambda f: (f.suffix == ".json", f.name)
    )
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    with pytest.raises(LowdoseError, match=name):
        read_volume(path)
    with pytest.raises(LowdoseError, match="other"):
        write_volume(tmp_path / "w.h5", VOLUME) and read_volume(tmp_path / "w.h5", key="other")


def test_tiff_is_what_other_programs_read(tmp_path):
    write_volume(tmp_path / "v.tif", VOLUME)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "v.tif"), VOLUME)
