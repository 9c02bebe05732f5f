"""The accuracy benchmark judges, tabulates and remembers as it says."""

import numpy as np
import pytest
import torch

from particleseg_app.models import open_model
from particleseg_app.progress import CancelToken

from .benchmarks import accuracy, accuracy_methods, accuracy_table
from .benchmarks.accuracy_cases import chosen_cases
from .benchmarks.accuracy_methods import Method, axis_ratios, judged, outcome_of
from .benchmarks.slice_network import SlicePredictor
from .benchmarks.slice_network.network import FEATURES, build_slice_network, slice_logits
from .benchmarks.slice_network.training import SliceTraining, write_model
from .independent_scans import LabelledScan


def three_blocks():
    labels = np.zeros((12, 24, 24), np.uint32)
    labels[2:10, 2:10, 2:10] = 1
    labels[2:10, 2:10, 10:18] = 2
    labels[2:10, 14:22, 4:20] = 3
    grey = np.where(labels > 0, 200, 50).astype(np.uint8)
    return LabelledScan("three blocks", grey, labels, 9.0, "a test")


def test_the_reference_itself_is_judged_perfect():
    case = three_blocks()
    outcome = judged(case, case.labels)
    assert outcome.figures["f1_match"] == outcome.figures["f1_instance"] == 1
    assert outcome.figures["volumetric_similarity"] == 1
    assert outcome.figures["elongation_deviation"] == outcome.figures["flatness_deviation"] == 0
    assert outcome.right.tolist() == [1, 2, 3]
    assert outcome.missed.size == 0


def test_a_merged_pair_and_a_missing_particle_are_seen():
    case = three_blocks()
    labels = case.labels.copy()
    labels[labels == 2] = 1
    labels[labels == 3] = 0
    outcome = judged(case, labels)
    assert outcome.figures["merger_ratio"] == pytest.approx(1 / 3)
    assert outcome.figures["elongation_deviation"] > 0.3
    assert 3 in outcome.missed


def test_nothing_found_gives_figures_and_no_error():
    case = three_blocks()
    outcome = judged(case, np.zeros_like(case.labels))
    assert outcome.figures["f1_match"] == 0
    assert outcome.missed.tolist() == [1, 2, 3]


def test_axis_ratios_of_bricks_are_those_of_their_edges():
    labels = np.zeros((40, 40, 40), np.uint32)
    labels[2:8, 2:14, 2:26] = 2
    elongation, flatness = axis_ratios(labels)[2]
    assert elongation == pytest.approx(12 / 24, abs=0.01)
    assert flatness == pytest.approx(6 / 12, abs=0.01)
    assert np.isnan(axis_ratios(labels)[1]).all()


def results_with(match: float, classical: float):
    case = three_blocks()
    ours, other = judged(case, case.labels), judged(case, case.labels)
    ours.figures.update(f1_match=match, f1_instance=0.9)
    other.figures.update(f1_instance=classical)
    methods = [Method(name, name, lambda place: ours) for name in ("default", "threshwater")]
    return accuracy_table.Results(
        methods,
        {"pushed_fragments": "pushed"},
        {"pushed_fragments": ""},
        {"pushed_fragments": {"default": ours, "threshwater": other}},
        [],
    )


def test_targets_are_marked_as_reached_or_not():
    good = "\n".join(accuracy_table.target_list(results_with(0.98, 0.5)))
    poor = "\n".join(accuracy_table.target_list(results_with(0.92, 0.95)))
    assert "not reached" not in good
    assert "**not reached**: mean F1_match 0.920" in poor
    assert "**not reached**: F1_match of “pushed” 0.920" in poor
    assert "behind in: pushed" in poor


def test_only_what_stands_between_the_marks_is_replaced(tmp_path, monkeypatch):
    document = tmp_path / "accuracy.md"
    document.write_text("before\n<!-- table: start -->\nold\n<!-- table: end -->\nafter\n")
    monkeypatch.setattr(accuracy, "DOCUMENT", document)
    accuracy.replace_section("table", ["new"])
    assert document.read_text() == (
        "before\n<!-- table: start -->\nnew\n<!-- table: end -->\nafter\n"
    )


def test_cases_are_chosen_by_parts_of_their_names():
    assert list(chosen_cases(["settled_gr"])) == ["settled_grains"]
    assert len(chosen_cases(None)) >= 18
    with pytest.raises(ValueError, match="There are: bundled_sample"):
        chosen_cases(["no such case"])


def test_a_cached_outcome_is_taken_again_only_for_the_same_voxels_and_method(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTICLESEG_BENCHMARK_CACHE", str(tmp_path))
    case, calls = three_blocks(), []

    def run(place):
        calls.append(1)
        return judged(case, case.labels, "kept")

    def ask(key, asked=case):
        return outcome_of(Method("m", "m", run, key), asked, lambda: None)

    first, second = ask("a"), ask("a")
    assert len(calls) == 1
    assert second.figures == first.figures
    assert second.note == "kept"
    assert np.array_equal(second.plane, first.plane)
    ask("b")
    other = LabelledScan("x", case.grey + 1, case.labels, case.diameter_voxels)
    ask("a", other)
    assert len(calls) == 3
    assert accuracy_methods.cache_folder() == tmp_path


def test_slices_of_any_size_are_classified_one_by_one():
    torch.manual_seed(0)
    network = build_slice_network().eval()
    volume = torch.randn(5, 37, 50)
    with torch.inference_mode():
        whole, one = slice_logits(network, volume), slice_logits(network, volume[2:3])
    assert whole.shape == (3, 5, 37, 50)
    assert torch.allclose(whole[:, 2:3], one, atol=1e-4)
    assert len(FEATURES) == 5


def test_the_trained_network_stands_in_for_a_3d_predictor(tmp_path):
    training = SliceTraining(tmp_path / "work", minutes=1, say=lambda line: None)
    write_model(training, scenes=0, offsets=(100.0, 0.0, 0.0), folder=tmp_path / "model")
    predictor = SlicePredictor(open_model(tmp_path / "model"), "cpu", True, CancelToken())
    shares = predictor.predict(torch.randn(2, 1, 4, 32, 32))
    assert shares.shape == (2, 3, 4, 32, 32)
    assert torch.allclose(shares.sum(1), torch.ones(2, 4, 32, 32), atol=1e-3)
    assert shares[:, 0].min() > 0.99  # the offset that says background
