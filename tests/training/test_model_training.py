"""`particleseg train`: labelled patches and simulated scans become a model folder, resumably."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from particleseg_app.cli import main
from particleseg_app.errors import Cancelled, InvalidValueError, ScanError, UserError
from particleseg_app.models import Normalisation, find_model, open_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.training import LabPatchSource, train_model
from particleseg_app.training.base_model import base_model
from particleseg_app.training.lab_patches import read_lab_patch
from particleseg_app.training.lab_source import at_working_scale
from particleseg_app.training.scene_pool import (
    CONTACT_BIT,
    SceneForm,
    fill_pool,
    load_scene,
    read_scene,
)
from particleseg_app.training.scenes import DEFAULT_DIAMETER

from .lab_patch_files import predict, tiny_plan, train, write_patch


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    write_patch(tmp_path / "patches", "one")
    write_patch(tmp_path / "patches", "two", seed=1)
    return tmp_path / "patches"


class CancelAfter(CancelToken):
    def __init__(self, checks: int) -> None:
        super().__init__()
        self._left = checks

    def check(self) -> None:
        self._left -= 1
        if self._left < 0:
            self.cancel()
        super().check()


def test_lab_patches_become_a_model_and_fine_tune_it(
    tmp_path: Path, patches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(tiny_plan(patches, steps=25), tmp_path)
    card = open_model(first).card
    assert card.target_diameter_voxels == 13
    assert "2 labelled patches" in card.made_from
    assert card.least_contrast_to_noise == 0  # it has seen the noise of these scans
    assert predict(first).isfinite().all()
    assert "step 25  loss" in (tmp_path / "work" / "log.txt").read_text(encoding="utf-8")

    tuned = tmp_path / "tuned"
    command = ["train", "--patches", str(patches), "--from", str(first), "--out", str(tuned),
               "--steps", "3", "--edge", "16", "--device", "cpu"]  # fmt: skip
    assert main(command) == 0
    assert str(tuned) in capsys.readouterr().out
    assert open_model(tuned).card.target_diameter_voxels == 13
    before, after = predict(first), predict(tuned)
    assert not torch.equal(before, after)
    # Three small steps from the weights of the first, not from random ones.
    assert (before - after).abs().mean() < 0.2 * before.std()

    assert main(command) == 0  # finished: only writes the model again
    assert torch.equal(predict(tuned), after)
    assert main([*command, "--seed", "9"]) == 1
    assert "begun with other settings (--seed)" in capsys.readouterr().err


def test_trained_model_segments_a_scan(tmp_path: Path, patches: Path) -> None:
    model = train(tiny_plan(patches), tmp_path)
    assert main(["segment", str(patches / "one_image.tif"), "--voxel-size-um", "10",
                 "--particle-diameter-um", "130", "--model", str(model), "--preset", "fast",
                 "--device", "cpu", "--out", str(tmp_path / "project")]) == 0  # fmt: skip


def test_cancelled_training_goes_on_to_the_same_model(tmp_path: Path, patches: Path) -> None:
    plan = tiny_plan(patches, features=(4, 8), steps=5)
    whole = train(plan, tmp_path / "whole")
    with pytest.raises(Cancelled):
        train(plan, tmp_path / "broken", CancelAfter(2 + 3))  # two patches, then three steps
    assert not (tmp_path / "broken" / "model").exists()
    state = torch.load(tmp_path / "broken" / "work" / "checkpoint_latest.pth", weights_only=True)
    assert state["step"] == 3
    resumed = train(plan, tmp_path / "broken")
    assert torch.allclose(predict(whole), predict(resumed), atol=1e-2)


def test_simulated_scans_alone_and_beside_patches(tmp_path: Path, patches: Path) -> None:
    plan = tiny_plan(None, simulated=2, preset="touching", scene_shape=(32, 32, 32), steps=2)
    alone = open_model(train(plan, tmp_path / "alone")).card
    assert "2 simulated scans" in alone.made_from
    assert alone.least_contrast_to_noise == 2.5
    both = open_model(train(replace(plan, patches=patches, steps=3), tmp_path / "both")).card
    assert "2 labelled patches and 2 simulated scans (preset touching)" in both.made_from
    assert both.least_contrast_to_noise == 0


def test_patches_come_to_the_target_diameter(patches: Path) -> None:
    patch = read_lab_patch(patches, "one")
    grey, labels = at_working_scale(patch, 26.0)
    assert grey.shape == labels.shape == (80, 88, 96)
    assert abs(float(grey.mean())) < 0.1
    ratio = np.bincount(labels.ravel())[1:] / np.bincount(patch.labels.ravel())[1:]
    assert np.allclose(ratio, 8)


def test_simulated_scans_come_to_the_target_diameter(tmp_path: Path) -> None:
    fill_pool(tmp_path, 0, 1, "spaced", (32, 32, 32))
    (path,) = tmp_path.glob("*.npz")
    plain, labels = read_scene(path)
    assert labels.shape == (32, 32, 32)  # scenes are made for the default model
    form = SceneForm.for_diameter(2 * DEFAULT_DIAMETER, Normalisation("fixed", mean=9e3, std=7e3))
    grey, larger = read_scene(path, form)
    assert grey.shape == larger.shape == (64, 64, 64)
    assert np.array_equal(larger[::2, ::2, ::2], labels)
    # A simulated scan has no scanner's grey scale: also then it gets the z-score of its own.
    assert abs(float(grey.mean())) < 0.1
    assert float(grey.std()) == pytest.approx(1, abs=0.3)
    assert np.corrcoef(grey[::2, ::2, ::2].ravel(), plain.ravel())[0, 1] > 0.8
    scene = load_scene(path, 2.0, form, edge=80)
    assert scene.grey.shape == (80, 80, 80)


def test_small_patches_are_continued_and_contacts_are_added(patches: Path) -> None:
    never = LabPatchSource(patches, 13.0, 2.0, 1, edge=64, touching=0.0)
    always = LabPatchSource(patches, 13.0, 2.0, 1, edge=64, touching=1.0)
    contacts = []
    for source in (never, always):
        grey, target = source.batch(0, 4, 64)
        assert grey.shape == (4, 1, 64, 64, 64)
        assert set(np.unique(target & 3)) == {0, 1, 2}
        contacts.append(int((target & CONTACT_BIT > 0).sum()))
    assert contacts[1] > contacts[0]


def break_labels(folder: Path) -> None:
    tifffile.imwrite(folder / "one_labels.tif", np.ones((6, 7, 8), np.uint8))


def empty_labels(folder: Path) -> None:
    tifffile.imwrite(folder / "one_labels.tif", np.zeros((40, 44, 48), np.uint8))


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lambda f: (f / "one_labels.tif").unlink(), ScanError, "has no one_labels.tif"),
        (lambda f: (f / "one_image.tif").unlink(), ScanError, "has no one_image.tif"),
        (lambda f: (f / "one.json").unlink(), ScanError, "one.json is missing"),
        (lambda f: (f / "one.json").write_text("{}"), ScanError, "does not say voxel_size_um"),
        (break_labels, ScanError, "has the shape (6, 7, 8)"),
        (empty_labels, ScanError, "holds no particle"),
        (lambda f: (f / "one_image.tif").write_bytes(b"II*"), ScanError, "one_image.tif"),
        (lambda f: write_patch(f, "one", voxel_size_um=-1), InvalidValueError, "one.json"),
        (
            lambda f: write_patch(f, "one", voxel_size_um=1, particle_diameter_um=130),
            InvalidValueError,
            "13.1 µm wide on average, but one.json says 130 µm",
        ),
    ],
)
def test_bad_patches_are_named(patches: Path, spoil, kind: type[UserError], words: str) -> None:  # type: ignore[no-untyped-def]
    spoil(patches)
    with pytest.raises(kind) as caught:
        LabPatchSource(patches, 13.0, 2.0, 1, edge=16)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patches": None}, "nothing to train on"),
        ({"minutes": 3.0}, "length of the training"),
        ({"steps": 0}, "training of 0 steps"),
        ({"edge": 17}, "do not fit"),
        ({"touching": 1.5}, "share of 1.5"),
    ],
)
def test_bad_plans_are_explained(tmp_path: Path, patches: Path, changes, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidValueError, match=words):
        train(tiny_plan(patches, **changes), tmp_path)
    assert not (tmp_path / "work").exists()


def test_settings_may_be_corrected_until_the_first_step(tmp_path: Path, patches: Path) -> None:
    with pytest.raises(ScanError):
        train(tiny_plan(tmp_path / "elsewhere"), tmp_path)
    train(tiny_plan(patches, steps=1), tmp_path)
    with pytest.raises(InvalidValueError, match=r"other settings \(--steps\)"):
        train(tiny_plan(patches, steps=2), tmp_path)
    write_patch(patches, "three")
    with pytest.raises(InvalidValueError, match=r"other settings \(other patches in the folder\)"):
        train(tiny_plan(patches, steps=1), tmp_path)


def test_full_folders_are_refused(tmp_path: Path, patches: Path) -> None:
    model = train(tiny_plan(patches, steps=1), tmp_path)
    with pytest.raises(InvalidValueError, match="not an empty folder"):
        train_model(tiny_plan(patches), model, tmp_path / "other", "cpu", Progress(), CancelToken())
    # A training that goes on may write its own model again, but over nothing else.
    plan, work, mine = tiny_plan(patches, steps=1), tmp_path / "work", tmp_path / "mine"
    mine.mkdir()
    (mine / "plans.json").write_text("mine")
    for _ in range(2):
        with pytest.raises(InvalidValueError, match="mine is not an empty folder"):
            train_model(plan, mine, work, "cpu", Progress(), CancelToken())
    assert (mine / "plans.json").read_text() == "mine"
    elsewhere = tmp_path / "elsewhere"
    for _ in range(2):
        train_model(plan, elsewhere, work, "cpu", Progress(), CancelToken())
    assert torch.equal(predict(elsewhere), predict(model))


def test_the_default_model_can_be_trained_on() -> None:
    base = base_model(find_model("default"))
    assert base.architecture["arch_kwargs"]["features_per_stage"] == [32, 64, 128, 256, 256]
    assert all(value.dtype == torch.float32 for value in base.weights.values())


def log_of(folder: Path) -> str:
    return (folder / "work" / "log.txt").read_text(encoding="utf-8")


def test_the_log_says_what_is_trained_how_to_read_it_and_how_good_it_became(
    tmp_path: Path, patches: Path
) -> None:
    write_patch(patches, "three", seed=2)
    stop, plan = CancelAfter(3 + 2), tiny_plan(patches, steps=4)  # three patches, two steps
    with pytest.raises(Cancelled):
        train(plan, tmp_path, stop)
    begun = log_of(tmp_path)
    assert "Model “model”, recipe compact, on cpu, from a new network." in begun
    assert "Trains on 2 labelled patches, 4 steps; a step takes 2 patches of 16 voxels" in begun
    assert "Held back for measuring: " in begun
    assert "Dice from 0 to 1, the higher the better" in begun
    assert begun.rstrip().splitlines()[-1].endswith("; the same command goes on.")
    card = open_model(train(plan, tmp_path)).card
    log = log_of(tmp_path)
    assert log.startswith(begun)
    assert log.count("How to read this") == 1
    assert "Goes on after step" in log
    last = log.rstrip().splitlines()
    assert "On 4 held-back particles: F1 match" in last[-2]
    assert last[-1].endswith(f"Done: the model is in {tmp_path / 'model'}.")
    assert "labelled patch " in card.figures["scenes"]
    assert card.made_from == "Trained on 2 labelled patches by the compact recipe."
    assert card.licence == ""  # it is the lab's own


def test_fine_tuning_says_whether_it_was_worth_it(tmp_path: Path, patches: Path) -> None:
    write_patch(patches, "three", seed=2)
    base = train(tiny_plan(patches, steps=30), tmp_path / "base")
    plan = tiny_plan(patches, steps=2, base=base, features=None, target_diameter=None)
    progress = Progress()
    train_model(plan, tmp_path / "model", tmp_path / "work", "cpu", progress, CancelToken())
    figures = open_model(tmp_path / "model").card.figures
    told = progress.snapshot().messages[-1]
    assert f"F1 match {figures['f1_match']:.3f} ({figures['f1_match_before']:.3f} before)" in told
    # The model it began with was measured on what it was measured on itself, so alike.
    measured = open_model(base).card.figures
    assert figures["f1_match_before"] == pytest.approx(measured["f1_match"], abs=0.05)


def test_a_model_that_became_worse_is_told() -> None:
    from particleseg_app.training.held_back import HeldBackFigures
    from particleseg_app.training.report import held_back_sentences

    def measured(f1_match: float) -> HeldBackFigures:
        figures = dict.fromkeys(("f1", "f1_instance", "merger_ratio", "splitter_ratio"), 0.5)
        return HeldBackFigures(
            1, 1, figures | {"f1_match": f1_match}, (0.0, 0.0, 0.0), calibrated=False
        )

    assert "less well" in " ".join(held_back_sentences(measured(0.90), measured(0.95)))
    assert "less well" not in " ".join(held_back_sentences(measured(0.95), measured(0.90)))
    assert (
        "On 1 held-back particle: F1 match 0.950," in held_back_sentences(measured(0.95), None)[0]
    )
    assert "not measured" in held_back_sentences(None, None)[0]


@pytest.mark.parametrize("numbers", [1, 2])
def test_a_mask_instead_of_labels_is_refused(patches: Path, numbers: int) -> None:
    path = patches / "one_labels.tif"
    labels = tifffile.imread(path)
    mask = np.where(labels > 0, 1 + labels % numbers, 0).astype(np.uint8)
    mask = np.tile(mask, (1, 2, 2))  # sixteen particles, in pairs
    grey = np.tile(tifffile.imread(patches / "one_image.tif"), (1, 2, 2))
    tifffile.imwrite(patches / "one_image.tif", grey, photometric="minisblack")
    tifffile.imwrite(path, mask, photometric="minisblack")
    with pytest.raises(InvalidValueError, match="separate bodies but only"):
        read_lab_patch(patches, "one")


def test_a_particle_in_two_pieces_is_still_a_label(patches: Path) -> None:
    path = patches / "one_labels.tif"
    labels = tifffile.imread(path)
    labels[labels == 4] = 3
    labels[0, ::4, ::4] = 2  # crumbs of a brush
    tifffile.imwrite(path, labels, photometric="minisblack")
    assert read_lab_patch(patches, "one").labels.max() == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--edge", "16"], "too small for this network. Choose a multiple of 16, at least 32."),
        (["--edge", "40"], "Choose a multiple of 16, at least 32."),
        (["--minutes", "nan"], "A training of nan steps or minutes is not possible."),
        (["--out", "/"], "cannot be the folder of a model"),
        (["--out", "FILE/model"], "Nothing can be written into"),
    ],
)
def test_impossible_trainings_are_told_in_a_sentence(
    tmp_path: Path,
    patches: Path,
    options: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "FILE").write_text("")
    options = [option.replace("FILE", str(tmp_path / "FILE")) for option in options]
    out = [] if "--out" in options else ["--out", str(tmp_path / "model")]
    steps = [] if "--minutes" in options else ["--steps", "1"]
    assert main(["train", "--patches", str(patches), *out, *steps, *options]) == 1
    told = capsys.readouterr()
    assert words in told.err
    assert told.out == ""
    assert not (tmp_path / "model").exists()


def test_a_disk_that_is_full_before_the_first_step_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("particleseg_app.training.simulated_source.fill_pool", full)
    command = ["train", "--simulated", "4", "--steps", "1", "--out", str(tmp_path / "model")]
    assert main(command) == 1
    assert "There is no space left on the disk" in capsys.readouterr().err
