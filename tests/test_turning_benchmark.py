"""The benchmark of the 3D view refuses in a sentence what it cannot show."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "turning_3d.py"


@pytest.mark.parametrize("arguments", [["56"], ["100"], ["8", "--particles", "50"]])
def test_an_edge_that_cannot_be_is_told(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 2
    assert "EDGE must be a multiple of 8, and 64 or more." in capsys.readouterr().err
