"""The command that trains the default model: stops, goes on, and writes a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from particleseg_app.errors import InvalidValueError
from particleseg_app.models import find_model, open_model
from particleseg_app.training.base_model import base_model
from particleseg_app.training.default_model import main

TINY = ["--batch", "1", "--edge", "32", "--scene-edge", "48", "--features", "16", "32", "64", "128",
        "128", "--window", "2", "--first", "1", "--processes", "1",
        "--presets", "varied=0.5", "zoned=0.5"]  # fmt: skip


@pytest.mark.slow
def test_stopped_gone_on_with_and_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = str(tmp_path / "work")
    options = [work, *TINY, "--steps", "3", "--hard-places", "0.5", "--critical-weight", "3"]
    main([*options, "--stop-after", "0.00001"])
    assert "the same command goes on" in capsys.readouterr().out
    main(options)
    assert "3 steps" in capsys.readouterr().out
    state = torch.load(tmp_path / "work" / "checkpoint_latest.pth", weights_only=True)
    assert state["settings"]["critical_weight"] == 3
    main(options)  # nothing is left to do
    main([work, "--export", str(tmp_path / "model")])
    assert open_model(tmp_path / "model").card.border_thickness_voxels == 2
    main([work, "--export", str(tmp_path / "mean"), "--average-with", "light"])
    trained, mean, begun = (
        base_model(entry).weights
        for entry in (
            *map(open_model, (tmp_path / "model", tmp_path / "mean")),
            find_model("light"),
        )
    )
    assert any(not torch.equal(trained[name], begun[name]) for name in begun)
    for name, weights in mean.items():
        torch.testing.assert_close(weights, (trained[name] + begun[name]) / 2, atol=2e-3, rtol=2e-3)
    with pytest.raises(InvalidValueError, match="different layers"):
        main([work, "--export", str(tmp_path / "none"), "--average-with", "default"])


@pytest.mark.parametrize("presets", ["sandcastle=1", "varied", "varied=much", "varied=-1"])
def test_presets_that_do_not_exist_are_refused(
    presets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--presets", presets])
    assert "such as varied=0.4" in capsys.readouterr().err
