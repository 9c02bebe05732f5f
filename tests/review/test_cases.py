"""Cases on disk."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from particleseg_app.errors import ProjectError
from particleseg_app.review.cases import (
    ReviewCase,
    case_id,
    read_cases,
    write_cases,
)
from particleseg_app.review.missed import pack_region
from particleseg_app.units import Box


def case(kind="merger", labels=(3,), probability=0.25, weight=1.5, markers=(), region=b""):
    centre = (4.5, 4.0, 4.25)
    return ReviewCase(
        case_id(kind, labels, centre), kind, labels, probability, weight, {"solidity": 0.75},
        "May be several particles: it has a neck.", Box((0, 1, 2), (9, 8, 7)), centre,
        markers, region,
    )  # fmt: skip


CASES = [
    replace(case(markers=((1.0, 2.0, 3.0), (4.0, 5.0, 6.5))), focus=3),
    case("splitter", (2, 4_000_000_000), 0.5, 1.0),
    case("false particle", (9,), 0.0, 1.0),
    case("missed particle", (), 0.7, 1.0, region=pack_region(np.ones((9, 7, 5), bool))),
]


def test_cases_come_back_as_they_were(tmp_path):
    write_cases(tmp_path / "cases.parquet", CASES)
    assert read_cases(tmp_path / "cases.parquet") == CASES
    assert read_cases(tmp_path / "cases.parquet")[0].evidence == {"solidity": 0.75}


def test_an_empty_queue_comes_back_empty(tmp_path):
    write_cases(tmp_path / "cases.parquet", [])
    assert read_cases(tmp_path / "cases.parquet") == []


def test_the_id_does_not_depend_on_the_order_of_the_labels():
    assert case_id("splitter", (7, 3)) == case_id("splitter", (3, 7)) == "splitter:3+7"


def test_a_case_without_labels_is_called_by_its_place():
    assert CASES[3].id == "missed particle:at 4,4,4"


def _of_another_kind(path):
    pq.write_table(pa.table({"label": np.arange(3)}), path)


def _with_impossible_probability(path):
    write_cases(path, [case(probability=0.5)])
    table = pq.read_table(path)
    changed = table.set_column(3, "probability", pa.array([1.5]))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)


def _missed_without_voxels(path):
    write_cases(path, [case("missed particle", ())])


def _at_another_particle(path):
    write_cases(path, [replace(case(), focus=4)])


def _merger_with_voxels(path):
    write_cases(path, [case(region=b"something")])


def _with_broken_markers(path):
    write_cases(path, [case()])
    table = pq.read_table(path)
    markers = pa.array([[1.0, 2.0]], pa.list_(pa.float64()))
    changed = table.set_column(table.schema.get_field_index("markers"), "markers", markers)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"PAR1 nothing"),
        lambda path: None,
        _of_another_kind,
        _with_impossible_probability,
        _with_broken_markers,
        _missed_without_voxels,
        _merger_with_voxels,
        _at_another_particle,
    ],
)
def test_a_damaged_or_missing_queue_is_told_with_a_remedy(tmp_path, damage):
    path = tmp_path / "cases.parquet"
    damage(path)
    with pytest.raises(ProjectError) as error:
        read_cases(path)
    assert "cases.parquet" in error.value.sentence
    assert error.value.remedy
