"""The list of recent projects is short, in order, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from particleseg_app.projects import Project, RecentProjects


def test_newest_first_each_once_and_at_most_twelve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTICLESEG_CONFIG_DIR", str(tmp_path / "config"))
    assert RecentProjects().list() == []
    for number in range(15):
        RecentProjects().remember(tmp_path / f"p{number}", f"Project {number}")
    RecentProjects().remember(tmp_path / "p9", "Renamed")
    found = RecentProjects().list()
    assert [p.folder.name for p in found][:4] == ["p9", "p14", "p13", "p12"]
    assert len(found) == 12
    assert found[0].name == "Renamed"
    RecentProjects().forget(tmp_path / "p14")
    assert [p.folder.name for p in RecentProjects().list()][:2] == ["p9", "p13"]


def test_says_whether_the_project_is_still_there(tmp_path: Path) -> None:
    recent = RecentProjects(tmp_path / "recent.json")
    Project.create(tmp_path / "p", "Here").close()
    recent.remember(tmp_path / "p", "Here")
    recent.remember(tmp_path / "gone", "Gone")
    assert [(p.name, p.exists) for p in recent.list()] == [("Gone", False), ("Here", True)]


@pytest.mark.parametrize("content", ["", "{", '{"projects": 3}', '{"projects": [{"folder": 1}]}'])
def test_a_damaged_list_is_an_empty_list(tmp_path: Path, content: str) -> None:
    path = tmp_path / "recent.json"
    path.write_text(content)
    recent = RecentProjects(path)
    assert recent.list() == []
    recent.remember(tmp_path, "New")
    assert [p.name for p in recent.list()] == ["New"]


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    recent = RecentProjects(tmp_path / "file" / "recent.json")
    recent.remember(tmp_path, "New")
    assert recent.list() == []
