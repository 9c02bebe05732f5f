"""Which scans a batch holds: folders and CSV files, right ones and wrong ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import InvalidValueError, ScanError, UserError
from particleseg_app.projects.batch_list import batch_entries
from particleseg_app.segmentation import RunSettings

COMMON = RunSettings(10, 120, method="threshwater")
HEADER = "path,voxel_size_um,particle_diameter_um"


def as_it_is(run_settings: RunSettings) -> RunSettings:
    return run_settings


def entries(path: Path, common: RunSettings | None = COMMON, out: Path | None = None):
    return batch_entries(path, common, as_it_is, out)


def write_list(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "scans.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def write_stack(path: Path, pages: int) -> None:
    tifffile.imwrite(path, np.zeros((pages, 4, 5), np.uint16), photometric="minisblack")


def test_a_folder_of_scans(tmp_path):
    for name in ("b 10", "b 2"):
        (tmp_path / name).mkdir()
        write_stack(tmp_path / name / "0.tif", 1)
    (tmp_path / "no scan").mkdir()
    write_stack(tmp_path / "a.tif", 9)
    (tmp_path / "results").mkdir()
    write_stack(tmp_path / "results" / "labels.tif", 9)
    found = entries(tmp_path, out=tmp_path / "results")
    assert [(entry.name, entry.path.name) for entry in found] == [
        ("a", "a.tif"),
        ("b 2", "b 2"),
        ("b 10", "b 10"),
    ]
    assert {entry.settings for entry in found} == {COMMON}


def test_labels_beside_a_scan_are_no_scan(tmp_path):
    (tmp_path / "scan").mkdir()
    write_stack(tmp_path / "scan" / "0.tif", 1)
    write_stack(tmp_path / "labels.tif", 9)
    assert [entry.path.name for entry in entries(tmp_path)] == ["scan"]


def test_simulated_scans_are_called_as_the_folders_they_lie_in(tmp_path):
    for name in ("dry", "wet"):
        (tmp_path / name / "scan").mkdir(parents=True)
        write_stack(tmp_path / name / "scan" / "0.tif", 1)
        write_stack(tmp_path / name / "labels.tif", 9)
    assert [entry.name for entry in entries(tmp_path)] == ["dry", "wet"]
    assert [entry.name for entry in entries(tmp_path / "wet")] == ["wet"]
    listed = write_list(tmp_path, HEADER, "dry/scan,10,120", "wet/scan,10,120")
    assert [entry.name for entry in entries(listed)] == ["dry", "wet"]


def test_scans_of_one_name_get_projects_of_their_own(tmp_path):
    (tmp_path / "a").mkdir()
    write_stack(tmp_path / "a" / "0.tif", 1)
    write_stack(tmp_path / "a.tif", 9)
    assert sorted(entry.name for entry in entries(tmp_path)) == ["a", "a_2"]


def test_the_slices_of_one_scan_are_no_batch(tmp_path):
    for index in range(9):
        write_stack(tmp_path / f"{index}.tif", 1)
    with pytest.raises(ScanError, match="slices of one scan") as caught:
        entries(tmp_path)
    assert "particleseg segment" in caught.value.remedy


def test_an_empty_folder_and_a_folder_without_sizes(tmp_path):
    with pytest.raises(ScanError, match="holds no scan"):
        entries(tmp_path)
    with pytest.raises(InvalidValueError, match="Voxel size and particle diameter are missing"):
        entries(tmp_path, None)


def test_a_csv_with_all_columns(tmp_path):
    path = write_list(
        tmp_path,
        "\ufeffpath, Voxel_size_um ,particle_diameter_um,name,method,model,preset",
        'ore/one.tif,10,120,"First (A)",nnunet,lab,best',
        "",
        "/data/two,12.5,1e2,,,,",
        ",,,,,,",
    )
    first, second = entries(path)
    assert (first.name, first.path) == ("First (A)", tmp_path / "ore/one.tif")
    assert first.settings == RunSettings(10, 120, method="nnunet", model="lab", preset="best")
    assert (second.name, second.path) == ("two", Path("/data/two"))
    assert second.settings == replace(COMMON, voxel_size_um=12.5, particle_diameter_um=100)


def test_thresholds_of_single_scans_go_before_the_common_one(tmp_path):
    path = write_list(
        tmp_path,
        HEADER + ",method,threshold",
        "a,10,100,threshwater,31000.5",
        "b,10,100,threshwater,",
        "c,10,100,nnunet,",
    )
    common = replace(COMMON, method="threshwater", threshold=500.0)
    found = batch_entries(path, common, lambda settings: settings)
    assert [entry.settings.threshold for entry in found] == [31000.5, 500.0, None]


def test_a_csv_as_german_spreadsheets_write_it(tmp_path):
    path = write_list(tmp_path, HEADER.replace(",", ";"), "a;12,5;100")
    assert entries(path)[0].settings.voxel_size_um == 12.5


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "has no column path"),
        (["path,voxel_size_um", "a,1"], "has no column particle_diameter_um"),
        ([HEADER + ",colour", "a,1,10,red"], "unknown column “colour”"),
        ([HEADER + ",path", "a,1,10,b"], "the column path twice"),
        ([HEADER], "lists no scan"),
        ([HEADER, "a,1"], "Line 2 of scans.csv has 2 values, but there are 3 columns"),
        ([HEADER, "a,12,5,100"], "Line 2 of scans.csv has 4 values"),
        ([HEADER, ",10,100"], "Line 2 of scans.csv: There is no path"),
        ([HEADER, "a,ten,100"], "Line 2 of scans.csv: voxel_size_um is “ten”"),
        ([HEADER, "a,nan,100"], "voxel_size_um is “nan”"),
        ([HEADER, "a,1_0,100"], "voxel_size_um is “1_0”"),
        ([HEADER, "a,10,"], "particle_diameter_um is empty"),
        ([HEADER, "a,-10,100"], "Line 2 of scans.csv: A voxel size of -10"),
        ([HEADER, "a,10,1e99"], "Line 2 of scans.csv: An average particle"),
        ([HEADER, "b,10,100", "a,10,11"], "Line 3 of scans.csv: An average particle"),
        ([HEADER + ",method", "a,10,100,magic"], "no method “magic”"),
        ([HEADER + ",method,threshold", "a,10,100,nnunet,3"], "A threshold belongs to"),
        ([HEADER + ",method,threshold", "a,10,100,threshwater,x"], "threshold is “x”"),
        ([HEADER + ",name", "a,10,100,../up"], "“../up” cannot be that of a folder"),
        ([HEADER + ",name", "a,10,100,NUL"], "“NUL” cannot be"),
        ([HEADER + ",name", "a,10,100,x", "b,10,100,X"], "the name “X” is in line 2 already"),
        ([HEADER, 'a,10,"100'], "Line 2 of scans.csv cannot be read"),
        ([HEADER, "a\0,10,100"], "is not a CSV file"),
        ([HEADER, "a" * 200_000 + ",10,100"], "cannot be read"),
    ],
)
def test_a_wrong_csv_is_refused_in_one_sentence(tmp_path, lines, sentence):
    with pytest.raises(UserError) as caught:
        entries(write_list(tmp_path, *lines))
    assert sentence in caught.value.sentence
    assert caught.value.remedy
    assert len(str(caught.value)) < 400


def test_a_csv_in_another_encoding(tmp_path):
    with pytest.raises(ScanError, match="UTF-8"):
        entries(write_list(tmp_path, HEADER, "größe,10,100", encoding="latin-1"))


def test_what_is_no_list_at_all(tmp_path):
    with pytest.raises(ScanError, match="does not exist"):
        entries(tmp_path / "missing.csv")
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(ScanError, match="neither a folder nor a CSV"):
        entries(tmp_path / "picture.png")


def test_a_model_that_is_not_there_is_told_with_its_line(tmp_path):
    def refuse(run_settings: RunSettings) -> RunSettings:
        if run_settings.model == "missing":
            raise InvalidValueError("There is no model missing.", "Import it.")
        return run_settings

    path = write_list(tmp_path, HEADER + ",model", "a,10,100,lab", "b,10,100,missing")
    with pytest.raises(InvalidValueError, match=r"Line 3 of scans\.csv: There is no model missing"):
        batch_entries(path, COMMON, refuse)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"])),
        min_size=1,
        max_size=6,
    )
)
def test_any_names_of_files_give_different_plain_names(tmp_path_factory, stems):
    """Whatever the paths of a list are, each scan gets a folder of its own inside the output."""
    folder = tmp_path_factory.mktemp("list")
    lines = [HEADER]
    for stem in stems:
        quoted = f"x{stem}".replace('"', '""')
        lines.append(f'"{quoted}",10,100')
    names = [entry.name for entry in entries(write_list(folder, *lines))]
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert (folder / name).parent == folder
        assert name.strip(" .") == name
