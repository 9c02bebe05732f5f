"""OpenVINO on the processor: it predicts what torch predicts, and torch takes over if it fails."""

import json
import threading
import time
from pathlib import Path

import pytest
import torch

from particleseg_app.errors import Cancelled, ModelError
from particleseg_app.models import (
    Inference,
    choose_inference,
    converted_models,
    inference,
    inference_from_id,
    open_predictor,
    predictor,
)
from particleseg_app.models.converted_models import converted_folds, converted_root
from particleseg_app.progress import CancelToken

from .tiny_model import write_tiny_model

pytest.importorskip("openvino")
EXACT = Inference("openvino", "float32")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTICLESEG_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("m") / "tiny")


@pytest.fixture(scope="module")
def two_folds(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("m") / "two", folds=2)


@pytest.mark.parametrize("mirroring", [False, True])
def test_openvino_predicts_what_torch_predicts(two_folds, monkeypatch, mirroring):
    monkeypatch.setattr(predictor, "reduced_precision", lambda device: None)
    tiles = torch.randn((2, 1, 32, 16, 48), generator=torch.Generator().manual_seed(1))
    expected = open_predictor(two_folds, "cpu", mirroring, CancelToken()).predict(tiles)
    one = open_predictor(two_folds, "cpu", mirroring, CancelToken(), EXACT)
    torch.testing.assert_close(one.predict(tiles), expected, atol=1e-4, rtol=0)
    other = one.predict(tiles[:1, :, :16])
    assert other.shape == (1, 3, 16, 16, 48)
    torch.testing.assert_close(other.sum(dim=1), torch.ones(1, 16, 16, 48))


def test_bfloat16_stays_close(model):
    if not inference.computes_bfloat16():
        pytest.skip("this processor has no bfloat16")
    tiles = torch.randn((1, 1, 32, 32, 32), generator=torch.Generator().manual_seed(1))
    reduced = open_predictor(model, "cpu", False, CancelToken(), Inference("openvino", "bfloat16"))
    exact = open_predictor(model, "cpu", False, CancelToken(), EXACT)
    difference = (reduced.predict(tiles) - exact.predict(tiles)).abs()
    assert 0 < difference.max() < 0.05


def test_a_model_is_converted_once(two_folds, monkeypatch):
    first = converted_folds(two_folds, CancelToken())
    assert [path.name for path in first] == ["fold_0.xml", "fold_1.xml"]
    monkeypatch.setattr(converted_models, "_convert", lambda *_: pytest.fail("converted again"))
    assert converted_folds(two_folds, CancelToken()) == first
    assert [path.name for path in converted_root().iterdir()] == [first[0].parent.name]


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest", "foreign"])
def test_a_damaged_conversion_is_made_anew(model, damage):
    path = converted_folds(model, CancelToken())[0]
    before = path.with_suffix(".bin").read_bytes()
    manifest = path.parent / "manifest.json"
    if damage == "cut":
        path.with_suffix(".bin").write_bytes(before[:-8])
    elif damage == "gone":
        path.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    else:
        sums = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(sums | {"../../elsewhere.xml": "0"}))
    assert converted_folds(model, CancelToken())[0] == path
    assert path.exists()
    assert path.with_suffix(".bin").read_bytes() == before


def test_a_conversion_that_fails_leaves_nothing(model, monkeypatch):
    import openvino

    def fail(*_, **__):
        raise RuntimeError("no such layer\n")

    monkeypatch.setattr(openvino, "convert_model", fail)
    with pytest.raises(ModelError, match=r"cannot take over this network .*no such layer"):
        converted_folds(model, CancelToken())
    assert list(converted_root().iterdir()) == []
    choice = choose_inference(model, "cpu", "openvino", CancelToken())
    assert choice.inference.engine == "torch"
    assert "no such layer" in choice.note
    assert choice.note.endswith("PyTorch is used.")


def test_only_the_conversions_used_last_are_kept(model):
    for number in range(15):
        (converted_root() / f"old{number}").mkdir(parents=True)
    converted_folds(model, CancelToken())
    assert len(list(converted_root().iterdir())) == converted_models.MOST_KEPT


def test_a_conversion_does_not_fail_where_another_process_tidies_up(model, monkeypatch):
    (converted_root() / "old").mkdir(parents=True)
    gone = converted_root() / "gone"
    every = Path.iterdir
    is_folder = Path.is_dir

    def as_listed_before(folder):
        return [*every(folder), *([gone] if folder == converted_root() else [])]

    monkeypatch.setattr(Path, "iterdir", as_listed_before)
    monkeypatch.setattr(Path, "is_dir", lambda path: path == gone or is_folder(path))
    assert converted_folds(model, CancelToken())


def test_cancel_does_not_wait_for_a_conversion(model, monkeypatch):
    going_on = threading.Event()
    monkeypatch.setattr(converted_models, "_convert", lambda *_: going_on.wait(10))
    cancel = CancelToken()
    threading.Timer(0.1, cancel.cancel).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        converted_folds(model, cancel)
    assert time.monotonic() - started < 1
    going_on.set()


def test_cancel_ends_a_prediction(model):
    cancel = CancelToken()
    one = open_predictor(model, "cpu", True, cancel, EXACT)
    tile = torch.zeros((1, 1, 32, 32, 32))
    one.predict(tile)
    threading.Timer(0.05, cancel.cancel).start()
    with pytest.raises(Cancelled):
        while True:
            one.predict(tile)


def test_without_openvino_torch_computes(model, monkeypatch):
    monkeypatch.setattr(inference, "openvino_version", lambda: None)
    assert choose_inference(model, "cpu", "auto", CancelToken()).note == ""
    choice = choose_inference(model, "cpu", "openvino", CancelToken())
    assert choice.inference.engine == "torch"
    assert "not installed" in choice.note


@pytest.mark.parametrize("wanted", ["auto", "openvino", "torch"])
def test_a_graphics_card_is_for_torch(model, monkeypatch, wanted):
    half = Inference("torch", "float16")
    monkeypatch.setattr(inference, "torch_inference", lambda device_id: half)
    assert choose_inference(model, "cuda:0", wanted, CancelToken()).inference == half


def test_quick_networks_stay_with_torch(model, monkeypatch):
    monkeypatch.setattr(inference, "QUICK_TILE_S", 60.0)  # whatever else the computer is doing
    assert choose_inference(model, "cpu", "auto", CancelToken()).inference.engine == "torch"
    assert not converted_root().exists()


def test_the_choice_is_measured_once_per_computer_and_model(model, monkeypatch):
    monkeypatch.setattr(inference, "QUICK_TILE_S", 0.0)
    slow = {"torch": 0.3, "openvino": 0.1}
    monkeypatch.setattr(
        inference, "_seconds", lambda one, *_: slow["torch" if _is_torch(one) else "openvino"]
    )
    choice = choose_inference(model, "cpu", "auto", CancelToken())
    assert choice.inference == EXACT, "bfloat16 is no quicker, so the more exact one is taken"
    monkeypatch.setattr(inference, "_measured", lambda *_: pytest.fail("measured again"))
    assert choose_inference(model, "cpu", "auto", CancelToken()) == choice
    monkeypatch.setattr(inference, "_processor_name", lambda: "another one")
    with pytest.raises(pytest.fail.Exception):
        choose_inference(model, "cpu", "auto", CancelToken())


def _is_torch(one):
    return isinstance(one, predictor.Predictor)


@pytest.mark.parametrize(
    ("seconds", "wanted", "expected"),
    [
        ((1.0, 0.8, 0.4), "auto", "openvino bfloat16"),
        ((1.0, 0.8, 0.78), "auto", "openvino float32"),
        ((0.3, 0.8, 0.4), "auto", "torch bfloat16"),
        ((0.3, 0.8, 0.4), "openvino", "openvino bfloat16"),
        ((1.0, None, None), "openvino", "torch bfloat16"),
        ((1.0, None, 0.4), "auto", "openvino bfloat16"),
    ],
)
def test_the_quickest_engine_is_taken_if_its_prediction_can_be_trusted(seconds, wanted, expected):
    ids = ("torch bfloat16", "openvino float32", "openvino bfloat16")
    measured = {
        inference_from_id(name): value
        for name, value in zip(ids, seconds, strict=True)
        if value is not None
    }
    choice = inference._best(measured, inference_from_id("torch bfloat16"), wanted)
    assert choice.inference.id == expected
    assert bool(choice.note) == (seconds[1:] == (None, None))


@pytest.mark.parametrize("text", ["", "openvino", "openvino int8", "magic float32"])
def test_engines_of_other_versions_are_not_known(text):
    assert inference_from_id(text) is None
