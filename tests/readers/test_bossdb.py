"""Cutouts from a server on the loopback that answers as BossDB does."""

import imagecodecs
import numpy as np
import pytest
from loopback import Loopback, body, stalling, status, truncated

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import bossdb

BOX = ((2, 5), (10, 14), (100, 106))
NAME = "lab/brain/rec"
PATH = f"/v1/cutout/{NAME}/1/100:106/10:14/2:5/"


@pytest.fixture()
def server():
    with Loopback() as loopback:
        yield loopback


@pytest.fixture()
def data():
    return np.random.default_rng(0).integers(0, 255, (3, 4, 6)).astype(np.uint8)


def packed(data):
    return imagecodecs.blosc_encode(data.tobytes(), typesize=data.itemsize)


def ask(server, folder, **more):
    options = {"resolution": 1, "folder": folder, "server": server.serve("", status(404)), "timeout": 5.0}
    return bossdb.cutout(NAME, *BOX, **{**options, **more})


def test_a_box_comes_in_z_y_x(server, data, tmp_path):
    """The address has x first, the body z first."""
    server.serve(PATH, body(packed(data)))
    found = ask(server, tmp_path)
    assert found.dtype == np.uint8 and found.flags.writeable
    np.testing.assert_array_equal(found, data)


def test_it_is_fetched_once(server, data, tmp_path):
    server.serve(PATH, body(packed(data)), status(500))
    ask(server, tmp_path)
    np.testing.assert_array_equal(ask(server, tmp_path), data)
    assert server.hits[PATH] == 1
    assert [p.suffix for p in tmp_path.iterdir()] == [".npy"]
    # Another box is another file.
    with pytest.raises(LowdoseError, match="404"):
        ask(server, tmp_path, resolution=0)


def test_other_types(server, tmp_path):
    data = np.arange(72, dtype=np.uint16).reshape(3, 4, 6) * 900
    server.serve(PATH, body(packed(data)))
    np.testing.assert_array_equal(ask(server, tmp_path, dtype=np.uint16), data)


def test_the_token_and_the_packing_are_asked_for(server, data, tmp_path):
    seen = {}

    def answer(handler, closing):
        seen.update(handler.headers)
        body(packed(data))(handler, closing)

    server.serve(PATH, answer)
    ask(server, tmp_path)
    assert seen["Authorization"] == "Token public" and seen["Accept"] == "application/blosc"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(404), "HTTP 404"),
        (status(403), "HTTP 403"),
        (status(502), "HTTP 502"),
        (body(b"<html>sorry</html>"), "not packed by Blosc"),
        (body(b""), "not packed by Blosc"),
        (truncated(bytes(100)), "no answer|not packed"),
    ],
)
def test_what_goes_wrong_is_said_and_leaves_nothing(server, tmp_path, answer, said):
    server.serve(PATH, answer)
    with pytest.raises(LowdoseError, match=said):
        ask(server, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_box_of_another_size_is_refused(server, data, tmp_path):
    server.serve(PATH, body(packed(data[:2])))
    with pytest.raises(LowdoseError, match="48 bytes"):
        ask(server, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_silent_server_is_given_up(server, data, tmp_path):
    server.serve(PATH, stalling(packed(data)))
    with pytest.raises(LowdoseError, match="no answer"):
        ask(server, tmp_path, timeout=0.3)


def test_no_server(tmp_path):
    with pytest.raises(LowdoseError, match="no answer"):
        bossdb.cutout(NAME, *BOX, folder=tmp_path, server="http://127.0.0.1:9", timeout=1.0)


def test_a_damaged_file_is_named(server, data, tmp_path):
    server.serve(PATH, body(packed(data)))
    ask(server, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(LowdoseError, match="Delete this file"):
        ask(server, tmp_path)
    np.save(path, data[:1])
    with pytest.raises(LowdoseError, match="Delete this file"):
        ask(server, tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"volume": "brain"},
        {"volume": "a//c"},
        {"z": (5, 5)},
        {"x": (-1, 4)},
        {"y": (0, 10**9)},
        {"resolution": -1},
        {"dtype": np.float32},
        {"timeout": 0},
    ],
)
def test_nonsense_is_refused_before_anything_is_asked(wrong, tmp_path):
    given = {"volume": NAME, "z": (0, 2), "y": (0, 2), "x": (0, 2), "folder": tmp_path, **wrong}
    with pytest.raises(LowdoseError, match="volume, z, y, x"):
        bossdb.cutout(given.pop("volume"), given.pop("z"), given.pop("y"), given.pop("x"), **given)
