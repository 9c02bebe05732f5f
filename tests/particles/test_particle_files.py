"""The particle table and the labels as files, read back by the libraries that others use."""

from __future__ import annotations

import errno
import json
import os

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile

from particleseg_app import __version__
from particleseg_app.errors import Cancelled, ExportError, ProjectError
from particleseg_app.particles import (
    COLUMNS,
    column_named,
    export,
    export_csv,
    export_labels,
    export_labels_hdf5,
    export_labels_tiff,
    load_table,
    save_table,
)
from particleseg_app.progress import CancelToken, Progress
from tests.particles.particle_bodies import Volume, measure


@pytest.fixture
def labels() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 40, (5, 6, 7))
    return np.kron(small, np.ones((3, 4, 5), int)).astype(np.uint32)


@pytest.fixture
def table(labels) -> pd.DataFrame:
    grey = np.random.default_rng(1).integers(0, 60000, labels.shape).astype(np.uint16)
    return measure(labels, grey, voxel_size_um=2.5)


def write(function, labels, path, voxel_size_um=2.5):
    function(Volume(labels), path, voxel_size_um, Progress(), CancelToken())


def test_parquet_keeps_values_units_and_voxel_size(table, tmp_path):
    path = tmp_path / "particles.parquet"
    save_table(table, path)
    loaded = load_table(path)
    pd.testing.assert_frame_equal(loaded, table)
    assert loaded.attrs["voxel_size_um"] == 2.5
    assert [p.name for p in tmp_path.iterdir()] == ["particles.parquet"]
    import pyarrow.parquet as pq

    field = pq.read_schema(path).field("volume_um3")
    assert field.metadata[b"unit"].decode() == "µm³"


def test_damaged_missing_and_newer_tables_are_refused(table, tmp_path, monkeypatch):
    path = tmp_path / "particles.parquet"
    with pytest.raises(ProjectError):
        load_table(path)
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(ProjectError):
        load_table(path)
    table.to_parquet(path)
    with pytest.raises(ProjectError):
        load_table(path)
    from particleseg_app.particles import table as table_module

    monkeypatch.setattr(table_module, "TABLE_FORMAT_VERSION", 99)
    save_table(table, path)
    monkeypatch.undo()
    with pytest.raises(ProjectError, match="newer"):
        load_table(path)


def test_csv_reads_back_with_the_same_values(table, tmp_path):
    paths = export_csv(table, tmp_path / "particles.csv", {})
    assert paths == [tmp_path / "particles.csv", tmp_path / "particles.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["particles.csv", "particles.json"]
    raw = paths[0].read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert raw.split(b"\n")[0].decode() == ",".join(c.name for c in COLUMNS)
    loaded = pd.read_csv(paths[0])
    assert len(loaded) == len(table)
    pd.testing.assert_frame_equal(loaded, table, rtol=1e-7, check_dtype=False)
    assert loaded.touches_scan_edge.dtype == bool


def test_csv_leaves_missing_grey_values_empty(labels, tmp_path):
    path, _ = export_csv(measure(labels), tmp_path / "p.csv", {})
    assert "nan" not in path.read_text()
    assert pd.read_csv(path).grey_mean.isna().all()


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.1 + 0.2, "0.3"), (1234567890123.0, "1234567900000"),
     (1.5e-7, "0.00000015"), (0.0, "0"), (float("nan"), ""), (float("inf"), "")],
)  # fmt: skip
def test_numbers_are_written_without_exponent(value, text):
    assert export.number_text(value) == text


def test_sidecar_says_what_the_csv_is(table, tmp_path):
    provenance = {
        "scan_name": "Körner µ", "voxel_size_um": np.float64(2.5), "shape": (15, 24, 35),
        "settings": {"path": tmp_path},
    }  # fmt: skip
    _, sidecar = export_csv(table, tmp_path / "particles.csv", provenance)
    about = json.loads(sidecar.read_text(encoding="utf-8"))
    assert about["program"] == "ParticleSeg"
    assert about["version"] == __version__
    assert about["file"] == "particles.csv"
    assert about["row_count"] == len(table)
    assert about["provenance"]["scan_name"] == "Körner µ"
    assert about["provenance"]["voxel_size_um"] == 2.5
    assert about["provenance"]["shape"] == [15, 24, 35]
    assert [c["name"] for c in about["columns"]] == list(table.columns)
    by_name = {c["name"]: c for c in about["columns"]}
    assert by_name["surface_area_um2"]["unit"] == "µm²"
    assert all(c["description"] for c in about["columns"])
    sizes = about["size_distribution"]["volume_weighted"]
    assert 0 < sizes["d10_um"] <= sizes["d50_um"] <= sizes["p80_um"] <= sizes["d90_um"]


def test_an_empty_table_exports(tmp_path):
    empty = measure(np.zeros((4, 4, 4), np.uint32))
    path, sidecar = export_csv(empty, tmp_path / "none.csv", {})
    assert len(pd.read_csv(path)) == 0
    assert json.loads(sidecar.read_text())["row_count"] == 0


@pytest.mark.parametrize(("factor", "dtype"), [(1, np.uint16), (3000, np.uint32)])
def test_tiff_labels_and_voxel_size(labels, tmp_path, factor, dtype):
    path = tmp_path / "labels.tif"
    expected = labels * np.uint32(factor)
    write(export_labels_tiff, expected, path)
    with tifffile.TiffFile(path) as tiff:
        assert not tiff.is_bigtiff
        loaded = tiff.asarray()
        metadata = tiff.imagej_metadata
        assert tiff.series[0].axes == "ZYX"
        numerator, denominator = tiff.pages[0].tags["XResolution"].value
    assert loaded.dtype == dtype
    assert np.array_equal(loaded, expected)
    assert metadata["spacing"] == 2.5
    assert metadata["unit"] == "micron"
    assert denominator / numerator == pytest.approx(2.5)
    assert path.stat().st_size < expected.nbytes / 4
    assert [p.name for p in tmp_path.iterdir()] == ["labels.tif"]


def test_tiff_beyond_the_limit_becomes_a_bigtiff(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(export_labels, "_CLASSIC_TIFF_BYTES", 6000)
    path = tmp_path / "labels.tif"
    write(export_labels_tiff, labels, path)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        assert np.array_equal(tiff.asarray(), labels)


@pytest.mark.parametrize("block_bytes", [1, 10000, 2**30])
def test_labels_are_the_same_however_little_is_read_at_a_time(
    labels, tmp_path, monkeypatch, block_bytes
):
    monkeypatch.setattr(export_labels, "_BLOCK_BYTES", block_bytes)
    write(export_labels_tiff, labels, tmp_path / "labels.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "labels.tif"), labels)
    large = np.tile(labels, (5, 5, 1))
    large[:64, 64:] = 0  # chunks without a particle
    write(export_labels_hdf5, large, tmp_path / "labels.h5")
    with h5py.File(tmp_path / "labels.h5") as file:
        assert np.array_equal(file["labels"][:], large)


def test_hdf5_labels_and_attributes(labels, tmp_path):
    path = tmp_path / "labels.h5"
    write(export_labels_hdf5, labels, path)
    with h5py.File(path) as file:
        dataset = file["labels"]
        assert dataset.dtype == np.uint32
        assert dataset.compression == "gzip"
        assert np.array_equal(dataset[:], labels)
        assert dataset.attrs["voxel_size_um"] == 2.5
        assert dataset.attrs["axes"] == "zyx"
        assert list(dataset.attrs["element_size_um"]) == [2.5, 2.5, 2.5]
        assert dataset.attrs["particle_count"] == labels.max()


@pytest.mark.parametrize("function", [export_labels_tiff, export_labels_hdf5])
def test_a_cancelled_export_leaves_nothing(labels, tmp_path, function):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        function(Volume(labels), tmp_path / "labels.out", 1.0, Progress(), cancel)
    assert list(tmp_path.iterdir()) == []


def test_hdf5_stops_before_the_disk_is_full(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(export_labels, "_HDF5_OVERHEAD_BYTES", 2**62)
    with pytest.raises(ExportError, match="no space left"):
        write(export_labels_hdf5, labels, tmp_path / "labels.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", [export_labels_tiff, export_labels_hdf5])
def test_places_that_cannot_be_written(labels, tmp_path, function):
    with pytest.raises(ExportError, match="not there"):
        write(function, labels, tmp_path / "missing" / "labels.out")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ExportError, match="is a folder"):
        write(function, labels, tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="folder permissions do not bind here",
)
def test_a_folder_without_permission(table, tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    with pytest.raises(ExportError, match="cannot be written to"):
        export_csv(table, folder / "p.csv", {})


def test_a_file_open_elsewhere_keeps_the_old_pair(table, tmp_path, monkeypatch):
    path = tmp_path / "p.csv"
    export_csv(table, path, {"first": True})
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    replace = os.replace

    def locked(source, target):
        if str(target).endswith(".csv"):
            raise PermissionError(errno.EACCES, "in use", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", locked)
    with pytest.raises(ExportError, match="open in another program") as caught:
        export_csv(table.iloc[:3], path, {"first": False})
    assert caught.value.remedy
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
        (RuntimeError("Unable to flush: errno = 28, No space left on device"), "no space left"),
        (OSError(errno.EFBIG, "File too large"), "too large"),
        (OSError(errno.EIO, "Input/output error"), "cannot be written"),
    ],
)
def test_what_the_system_says_becomes_a_sentence(tmp_path, error, words):
    with pytest.raises(ExportError, match=words), export.export_errors(tmp_path / "x"):
        raise error
    with pytest.raises(RuntimeError, match="a bug"), export.export_errors(tmp_path / "x"):
        raise RuntimeError("a bug")


def test_csv_named_as_its_own_sidecar_is_refused(table, tmp_path):
    with pytest.raises(ExportError, match="no name for a CSV"):
        export_csv(table, tmp_path / "particles.json", {})


def test_columns_describe_themselves():
    assert len({c.name for c in COLUMNS}) == len({c.title for c in COLUMNS}) == len(COLUMNS)
    for column in COLUMNS:
        assert column.description.endswith(".")
        assert column_named(column.name) is column
    assert column_named("unknown") is None
    assert column_named("volume_um3").heading == "Volume (µm³)"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("label", 7, "7"), ("sphericity", 0.81234, "0.812"),
     ("equivalent_diameter_um", 66.1234, "66.12"),
     ("volume_um3", 123456.7, "123457"), ("grey_mean", float("nan"), "–"), ("sphericity", 0.0, "0"),
     ("touches_scan_edge", np.True_, "yes"), ("touches_scan_edge", False, "no")],
)  # fmt: skip
def test_values_for_people(name, value, text):
    assert column_named(name).text(value) == text


@pytest.mark.parametrize(
    "about", ["[]", '{"format_version": "two"}', '{"voxel_size_um": "big"}', "null", "5"]
)
def test_tables_whose_description_is_damaged_are_refused(table, tmp_path, about):
    import pyarrow.parquet as pq

    path = tmp_path / "particles.parquet"
    save_table(table, path)
    content = pq.read_table(path)
    content = content.replace_schema_metadata(
        {key: about if b"particleseg" in key else value
         for key, value in content.schema.metadata.items()}
    )  # fmt: skip
    pq.write_table(content, path)
    with pytest.raises(ProjectError, match="cannot be read"):
        load_table(path)


def test_a_table_without_one_of_its_columns_is_refused(table, tmp_path):
    path = tmp_path / "particles.parquet"
    save_table(table.drop(columns="volume_voxels"), path)
    with pytest.raises(ProjectError, match="volume_voxels"):
        load_table(path)
