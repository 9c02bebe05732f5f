"""Imported models on this computer: whole or not there, and removable whatever their state."""

import errno
import shutil

import pytest

from particleseg_app.cli.main import main
from particleseg_app.errors import ModelError
from particleseg_app.models import (
    ImportOptions,
    find_model,
    import_model,
    imported_models,
    list_models,
    remove_model,
)

from .tiny_model import write_tiny_model


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data" / "models"


def test_an_imported_model_can_be_removed_and_a_bundled_one_not(tmp_path):
    tiny = write_tiny_model(tmp_path / "tiny")
    remove_model(import_model(tiny.folder, ImportOptions("mine")))
    with pytest.raises(ModelError, match="no model"):
        find_model("mine")
    with pytest.raises(ModelError, match="part of the program"):
        remove_model(find_model("default"))
    with pytest.raises(ModelError, match="is no imported model"):
        remove_model(tiny)
    assert find_model("default").folder.exists()
    assert tiny.folder.exists()


def test_a_name_is_not_taken_twice(tmp_path):
    tiny = write_tiny_model(tmp_path / "tiny")
    import_model(tiny.folder, ImportOptions("mine"))
    with pytest.raises(ModelError, match="already"):
        import_model(tiny.folder, ImportOptions("mine"))


def test_a_damaged_model_can_be_removed_and_imported_again(tmp_path, models, capsys):
    tiny = write_tiny_model(tmp_path / "tiny")
    import_model(tiny.folder, ImportOptions("mine"))
    (models / "mine" / "model_card.json").write_text("damaged")
    with pytest.raises(ModelError, match="or remove that one first"):
        import_model(tiny.folder, ImportOptions("mine"))
    assert main(["model", "remove", "mine"]) == 0
    assert list(models.iterdir()) == []
    assert find_model(import_model(tiny.folder, ImportOptions("mine")).name).name == "mine"
    for name, words in (("default", "part of the program"), ("other", "no model “other”")):
        assert main(["model", "remove", name]) == 1
        assert words in capsys.readouterr().err
    assert main(["model", "remove", str(tiny.folder)]) == 1
    assert "no imported model" in capsys.readouterr().err


def test_a_removal_that_is_killed_leaves_no_half_model(tmp_path, models, monkeypatch):
    tiny = write_tiny_model(tmp_path / "tiny")
    entry = import_model(tiny.folder, ImportOptions("mine"))

    def killed(folder, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_model(entry)
    assert "mine" not in {model.name for model in list_models()}
    monkeypatch.setattr(imported_models, "ABANDONED_AFTER_S", -1)
    import_model(tiny.folder, ImportOptions("mine"))
    assert [folder.name for folder in models.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left). Free some space"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system). Check your"),
        (RuntimeError("PytorchStreamWriter failed writing file"), "no space left). Free some"),
    ],
)
def test_a_model_that_cannot_be_kept_is_told(error, words, tmp_path, models, monkeypatch, capsys):
    import torch

    def fails(*arguments, **options):
        raise error

    tiny = write_tiny_model(tmp_path / "tiny")
    monkeypatch.setattr(torch, "save", fails)
    assert main(["model", "import", str(tiny.folder)]) == 1
    told = capsys.readouterr().err
    assert f"The model cannot be kept in {models}" in told
    assert words in told
    assert list(models.iterdir()) == []


def test_a_model_that_cannot_be_removed_is_told_and_stays(tmp_path, models, monkeypatch, capsys):
    entry = import_model(write_tiny_model(tmp_path / "tiny").folder, ImportOptions("mine"))

    def fails(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(imported_models.tempfile, "mkdtemp", fails)
    assert main(["model", "remove", "mine"]) == 1
    assert "cannot be removed (Permission denied)" in capsys.readouterr().err
    assert find_model("mine") == entry
