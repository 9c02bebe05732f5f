"""The finished piece of a block: what is written is read, one array or all of them."""

import numpy as np
import pytest

from particleseg_app.segmentation import block_file
from particleseg_app.segmentation.block_file import read_block_file, write_block_file

ARRAYS = {
    "labels": np.arange(2 * 3 * 5, dtype=np.uint16).reshape(2, 3, 5),
    "layers": (np.arange(300) % 7).astype(np.uint8),
    "rim-0+": np.full((1, 4), 3.5),
    "none": np.zeros((0, 2), np.int64),
    "states": np.arange(7, dtype=np.uint64) << np.uint64(40),
    "one": np.array([True]),
}


def same(found: np.ndarray, array: np.ndarray) -> bool:
    return found.dtype == array.dtype and np.array_equal(found, array)


@pytest.mark.parametrize("piece_bytes", [1 << 30, 16])
def test_all_or_some_of_the_arrays_are_read(tmp_path, monkeypatch, piece_bytes):
    monkeypatch.setattr(block_file, "_PIECE_BYTES", piece_bytes)
    path = tmp_path / "piece.block"
    write_block_file(path, ARRAYS)
    found = read_block_file(path)
    assert list(found) == list(ARRAYS)
    assert all(same(found[name], array) for name, array in ARRAYS.items())
    for name, array in ARRAYS.items():
        assert same(read_block_file(path, name)[name], array)
    some = read_block_file(path, "states", "labels")
    assert set(some) == {"states", "labels"} and same(some["states"], ARRAYS["states"])


def test_views_are_written_as_they_look(tmp_path):
    volume = np.arange(60).reshape(3, 4, 5)
    write_block_file(tmp_path / "a.block", {"part": volume[:, 1:3, ::2]})
    assert same(read_block_file(tmp_path / "a.block", "part")["part"], volume[:, 1:3, ::2])


def test_an_array_that_is_not_there_is_a_bug(tmp_path):
    write_block_file(tmp_path / "a.block", ARRAYS)
    with pytest.raises(KeyError):
        read_block_file(tmp_path / "a.block", "labels", "volumes")
