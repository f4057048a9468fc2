"""The registered scans, as measured: shapes, angles, and values known from opening the files."""

from __future__ import annotations

import numpy as np
import pytest

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import read, read_dataset


@pytest.fixture
def opened(real_data, monkeypatch):
    def get(at, **options):
        monkeypatch.setenv("LOWDOSE_DATA_DIR", str(real_data(at).parents[1]))
        return read_dataset(at.split("/")[0], **options)

    return get


def test_tooth(opened):
    with opened("tooth/tooth.h5") as scan:
        assert scan.projections.shape == (181, 2, 640)
        assert scan.flats.shape == scan.darks.shape == (10, 2, 640)
        assert (scan.axis, scan.provenance["values"]) == (295.75, "counts")
        assert np.rad2deg(scan.angles[[0, -1]]) == pytest.approx([0, 179.0055], abs=1e-3)
        part = scan.rows(0, 2)
    transmission = (part.projections - part.darks.mean(0)) / (part.flats.mean(0) - part.darks.mean(0))
    assert 0.9 < np.median(transmission[..., :20]) < 1.1  # air beside the tooth
    assert transmission.min() < 0.5


def test_savu24737(opened):
    with opened("savu24737/projections.mrc") as scan:
        assert scan.projections.shape == (91, 135, 160) and scan.projections.dtype == np.float16
        assert np.rad2deg(scan.angles[[0, -1]]) == pytest.approx([-88.2, 91.8])
        assert (scan.axis, scan.provenance["values"]) == (86.0, "transmission")
        projections = scan.rows(0, 135).projections
    np.testing.assert_array_equal(np.isnan(projections).sum(axis=(1, 2)), 1)
    assert np.nanmin(projections) > 0.05 and np.nanmax(projections) < 0.76
    # Half a turn apart, the first and the last projection are mirror images about the axis.
    near, far = np.nan_to_num(projections[[0, -1]], nan=0.7)
    difference = {
        axis: np.abs(near[:, axis - 60 : axis + 61] - far[:, axis - 60 : axis + 61][:, ::-1]).mean()
        for axis in range(70, 99)
    }
    assert min(difference, key=difference.get) == scan.axis


def test_haadf_needle_stands_upright(opened):
    with opened("haadf_needle/HAADF_Aligned.hspy") as scan:
        assert scan.projections.shape == (77, 256, 256)
        assert scan.pixel_size == pytest.approx(3.36e-9, rel=1e-3) and scan.axis == 127.5
        assert np.rad2deg(scan.angles[[0, 38, -1]]) == pytest.approx([-76, 0, 76])
        projections = scan.rows(0, 256).projections
    # The centre of mass stays on the axis across it, and wanders along it only by noise and drift.
    above = np.clip(projections - np.median(projections), 0, None)
    centre = (above * np.arange(256)).sum((1, 2)) / above.sum((1, 2))
    assert np.abs(centre - scan.axis).max() < 0.6


def test_haadf_needle_raw_gets_its_offset_and_sidecar(opened, real_data):
    with opened("haadf_needle/HAADF.mrc", file="HAADF.mrc", axis=None) as scan:
        assert scan.projections.shape == (77, 256, 256) and scan.axis is None
        assert (scan.projections[:].min(), scan.projections[:].max()) == (860, 65093)
    with read(real_data("haadf_needle/HAADF.mrc")) as scan:
        np.testing.assert_allclose(np.rad2deg(scan.angles), np.arange(-76, 77, 2))
        assert scan.pixel_size is None  # the header's 1 ångström is not meant


def test_dendrite(opened, real_data):
    scan = opened("dendrite/RealDataDend.mat")
    assert scan.projections.shape == (360, 1, 1260) and scan.provenance["values"] == "line_integral"
    np.testing.assert_allclose(np.rad2deg(scan.angles), 0.5 * np.arange(360))
    sinogram = scan.sinograms()[0]
    outer = np.concatenate([sinogram[:, :40], sinogram[:, -40:]], axis=1)
    assert abs(np.median(outer)) < 1e-3 and 0.5 < sinogram.mean() < 0.7
    # Each projection of the same sample has the same sum.
    assert sinogram.sum(1).std() < 0.01 * sinogram.sum(1).mean()
    own = read(real_data("dendrite/RealDataDend.mat"), order=("column", "angle")).angles
    np.testing.assert_allclose(own - own[0], scan.angles, atol=2e-4)  # the file's, less their offset


def test_what_is_no_scan_is_refused_before_any_download(opened):
    for name in ("xlearn_ct", "mouse_brain_txm"):
        with pytest.raises(LowdoseError, match="tooth, dendrite, savu24737, haadf_needle"):
            read_dataset(name)
    with pytest.raises(LowdoseError, match="'teeth'"):
        read_dataset("teeth")
