"""The particle table's model and filter, against plain pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_results import column_of, made_up_table
from PySide6.QtCore import Qt
from pytestqt.modeltest import ModelTester

from particleseg_app.errors import InvalidValueError
from particleseg_app.gui.panels.particle_table_model import ParticleTableModel
from particleseg_app.gui.panels.table_filter import Condition, TableFilter, parse_conditions
from particleseg_app.particles import COLUMNS
from particleseg_app.particles.phases import with_phases


def model_of(table: pd.DataFrame) -> ParticleTableModel:
    model = ParticleTableModel()
    model.set_table(table)
    return model


def test_the_model_keeps_qts_rules(table: pd.DataFrame, qtmodeltester: ModelTester) -> None:
    qtmodeltester.check(model_of(table))


def test_every_column_has_a_title_with_its_unit(table: pd.DataFrame) -> None:
    model = model_of(table)
    titles = [model.headerData(n, Qt.Orientation.Horizontal) for n in range(model.columnCount())]
    assert len(titles) == len(COLUMNS)
    assert any("µm³" in title for title in titles)


def test_sorting_and_filtering_agree_with_pandas(table: pd.DataFrame) -> None:
    model = model_of(table)
    model.set_filter(TableFilter(parse_conditions("diameter > 150", COLUMNS), hide_edge=True))
    column = column_of(model, "volume_um3")
    model.sort(column, Qt.SortOrder.DescendingOrder)
    expected = (
        table[(table.equivalent_diameter_um > 150) & ~table.touches_scan_edge]
        .sort_values("volume_um3", ascending=False, kind="stable")
        .label.to_numpy()
    )
    assert np.array_equal(model.shown_labels(), expected)
    assert model.shown_count == len(expected) < model.total_count == len(table)


@given(seed=st.integers(0, 99), count=st.integers(0, 60), descending=st.booleans())
def test_rows_and_labels_lead_to_each_other(seed: int, count: int, descending: bool) -> None:
    model = model_of(made_up_table(count, seed))
    model.set_filter(TableFilter((Condition("sphericity", minimum=0.7),)))
    order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
    model.sort(column_of(model, "sphericity"), order)
    for row in range(model.rowCount()):
        assert model.row_of_label(model.label_of_row(row)) == row
    hidden = set(range(1, count + 1)) - set(model.shown_labels().tolist())
    assert all(model.row_of_label(label) is None for label in hidden)
    assert model.row_of_label(count + 1) is None


def test_values_that_are_none_sort_last_either_way() -> None:
    table = made_up_table(5)
    table.loc[2, "sphericity"] = np.nan
    model = model_of(table)
    column = column_of(model, "sphericity")
    for order in Qt.SortOrder:
        model.sort(column, order)
        assert model.label_of_row(4) == 3
    assert model.data(model.index(4, column)) == "–"


def test_fifty_thousand_rows_are_arranged_without_a_python_loop_per_row() -> None:
    model = model_of(made_up_table(50_000))
    for column in range(model.columnCount()):
        model.sort(column, Qt.SortOrder.DescendingOrder)
    model.set_filter(TableFilter(hide_edge=True))
    assert 40_000 < model.shown_count < 50_000


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("", ()),
        ("17", (Condition("label", 17, 17),)),
        ("volume > 1000", (Condition("volume_um3", 1000, strict_minimum=True),)),
        ("Diameter>=1,5", (Condition("equivalent_diameter_um", 1.5),)),
        ("sphericity 0.5..0.8", (Condition("sphericity", 0.5, 0.8),)),
        ("diameter > 0.2 mm", (Condition("equivalent_diameter_um", 200, strict_minimum=True),)),
        ("diameter 0,1 to 0,2 mm", (Condition("equivalent_diameter_um", 100, 200),)),
        ("volume >= 0.001 mm³", (Condition("volume_um3", 1e6),)),
        ("voxels >= 20 voxels", (Condition("volume_voxels", 20),)),
        ("edge = no", (Condition("touches_scan_edge", 0, 0),)),
        (
            "diameter > 150 µm, sphericity < 0.8",
            (
                Condition("equivalent_diameter_um", 150, strict_minimum=True),
                Condition("sphericity", maximum=0.8, strict_maximum=True),
            ),
        ),
        (
            "voxels ≥ 20 and grey ≤ 3e4",
            (Condition("volume_voxels", 20), Condition("grey_mean", maximum=3e4)),
        ),
    ],
)
def test_filters_are_typed_as_people_say_them(text: str, conditions: tuple) -> None:
    assert parse_conditions(text, COLUMNS) == conditions


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("colour > 3", "no column “colour”"),
        ("volume", "“volume” is not a filter"),
        ("volume > big", "has no number"),
        ("volume > 5 mm", "has another unit"),
        ("sphericity < 0.8 mm", "has another unit"),
        ("box > 3", "could be"),
    ],
)
def test_a_filter_that_is_not_understood_says_which_part(text: str, part: str) -> None:
    with pytest.raises(InvalidValueError, match=part):
        parse_conditions(text, COLUMNS)


def test_shares_of_all_phases_have_the_same_decimals(table: pd.DataFrame) -> None:
    count = len(table)
    first = np.linspace(0.0, 0.04, count)
    first[0] = 0.5
    shares = np.column_stack([first, 1 - first])
    model = model_of(with_phases(table, shares, ("Pyrite", "Quartz")))
    for name in ("Pyrite share", "Quartz share"):
        column = next(n for n, c in enumerate(model.columns) if c.title == name)
        assert {len(str(model.index(row, column).data())) for row in range(5)} == {len("0.500")}


@pytest.mark.parametrize(
    ("voxel_um", "decimals"),
    [(10.0, (0, 0, 0)), (5.0, (1, 0, 0)), (0.5, (2, 1, 1)), (0.1, (2, 2, 3)), (25.0, (0, 0, 0))],
)
def test_decimals_follow_the_voxel_and_not_the_run(
    voxel_um: float, decimals: tuple[int, int, int]
) -> None:
    for factor in (0.3, 1.0, 8.0):  # runs of one scan with smaller and larger particles
        table = made_up_table(40)
        table["volume_um3"] *= factor**3
        table["equivalent_diameter_um"] *= factor
        table["sphericity"] = 1.0 if factor == 8.0 else table["sphericity"]
        table["volume_voxels"] = (table["volume_um3"] / voxel_um**3).clip(lower=1).astype(np.int64)
        table["volume_um3"] = table["volume_voxels"] * voxel_um**3
        model = model_of(table)

        def shown(name: str, model: ParticleTableModel = model) -> int:
            text = str(model.index(3, column_of(model, name)).data())
            return len(text.partition(".")[2])

        names = ("equivalent_diameter_um", "surface_area_um2", "volume_um3")
        assert tuple(shown(name) for name in names) == decimals
        assert shown("centroid_z_um") == decimals[0]
        assert shown("sphericity") == 3
        assert shown("grey_mean") == shown("grey_std") == 1


def test_an_empty_table_can_be_shown() -> None:
    assert model_of(made_up_table(5).iloc[:0]).rowCount() == 0
