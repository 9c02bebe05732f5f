"""The accuracy benchmark judges, tabulates and remembers as it says."""

import argparse

import numpy as np
import pytest
import torch
from PIL import Image

from particleseg_app.models import open_model
from particleseg_app.progress import CancelToken

from .benchmarks import (
    accuracy,
    accuracy_checks,
    accuracy_methods,
    accuracy_pictures,
    accuracy_record,
    accuracy_table,
)
from .benchmarks.accuracy_cases import chosen_cases
from .benchmarks.accuracy_methods import Method, axis_ratios, judged, outcome_of, version_of
from .benchmarks.accuracy_record import Measured, Record, code_version, scan_digest, why_not_kept
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


def test_other_seeds_make_other_scans_and_their_errors_are_counted_together(monkeypatch):
    seen = []

    def figures(case, method):
        seen.append(case)
        ratios = {"merger_ratio": len(seen) / 100, "splitter_ratio": 0.02}
        return "", ratios | {"reference_count": 100, "f1": 0.9, "f1_match": 0.8, "f1_instance": 0.7}

    monkeypatch.setattr(accuracy_checks, "_figures", figures)
    chosen = chosen_cases(["eight_voxels", "nuclei"])
    lines = accuracy_checks.other_seeds_table(chosen, "light", "standard")
    assert len(seen) == 3
    assert len({scan_digest(case) for case in seen}) == 3
    assert {case.grey.shape for case in seen} == {(56, 64, 64)}
    assert lines[2] == "| eight voxels | 300 | 6 | 6 | 0.900 | 0.800 | 0.700 |"
    assert lines[3].startswith("| **all** | 300 | 6 | 6 |")
    assert lines[-1] == "Mean of all kinds: merger 0.0200, splitter 0.0200."


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


def test_a_method_is_kept_only_while_its_scans_and_itself_are_the_same():
    case = three_blocks()
    scans = {"three": scan_digest(case)}
    measured = Measured("M", "2026-01-01", "here", "v1", {"three": {"f1": 1.0}})
    record = Record(scans)
    assert why_not_kept(measured, record, scans, "v1") == ""
    assert "method has changed" in why_not_kept(measured, record, scans, "v2")
    assert "not there any more" in why_not_kept(measured, record, scans, None)
    assert "not measured on other" in why_not_kept(measured, record, scans | {"other": "x"}, "v1")
    case.grey[0, 0, 0] += 1
    changed = {"three": scan_digest(case)}
    assert "scan three has changed" in why_not_kept(measured, record, changed, "v1")


def test_versions_follow_the_code_and_not_its_comments(tmp_path):
    source = tmp_path / "rule.py"
    source.write_text('"""A rule."""\n\ndef rule():\n    """Says."""\n    return 1\n')
    first = code_version([source])
    source.write_text('"""The rule."""\n\n\ndef rule():\n    # Why.\n    return 1\n')
    assert code_version([source]) != first  # a function without a docstring is another tree
    source.write_text('"""The rule."""\n\n\ndef rule():\n    """So."""\n    return 1  # why\n')
    assert code_version([source]) == first
    source.write_text('"""The rule."""\n\n\ndef rule():\n    """So."""\n    return 2\n')
    assert code_version([source]) != first
    assert len({version_of(name) for name in ("threshwater", "otsu", "slices", "default")}) == 4
    assert version_of("no such model") is None


def test_methods_measured_apart_share_one_table(tmp_path, monkeypatch):
    """The whole way of --write --methods: table, record, pictures, and what is left out."""
    case = three_blocks()
    document, record = tmp_path / "accuracy.md", tmp_path / "record.json"
    sections = ("table", "pictures")
    document.write_text("".join(f"<!-- {s}: start -->\n<!-- {s}: end -->\n" for s in sections))
    monkeypatch.setattr(accuracy, "DOCUMENT", document)
    monkeypatch.setattr(accuracy, "PICTURES", tmp_path / "pictures")
    (tmp_path / "pictures").mkdir()
    monkeypatch.setattr(accuracy, "read_record", lambda: accuracy_record.read_record(record))
    monkeypatch.setattr(
        accuracy, "write_record", lambda new: accuracy_record.write_record(new, record)
    )
    versions = {"default": "d1", "light": "l1", "threshwater": "t1"}
    monkeypatch.setattr(accuracy, "version_of", versions.get)
    titles = {"default": "default 1", "light": "light 1", "threshwater": "ThreshWater"}
    days = iter(["2026-01-01", "2026-01-02", "2026-01-03"])
    options = argparse.Namespace(write=True, pictures=None)

    def write(*names):
        day = next(days)
        monkeypatch.setattr(accuracy, "today", lambda: day)
        methods = [
            Method(name, titles[name], lambda place: judged(case, case.labels), "", versions[name])
            for name in names
        ]
        drawn = tmp_path / day
        drawn.mkdir()
        accuracy.write_table({"three": lambda: case}, methods, drawn, options)
        with Image.open(tmp_path / "pictures" / "three.jpg") as picture:
            panels = (picture.width - accuracy_pictures.MARGIN) // (
                accuracy_pictures.PANEL + accuracy_pictures.MARGIN
            )
        return document.read_text(), panels

    text, panels = write("default", "threshwater")
    assert text.count("ThreshWater |") == 2  # means and case
    assert panels == 3
    text, panels = write("light")
    assert panels == 4
    rows = [line.split("|")[3].strip() for line in text.splitlines() if line.startswith("| three")]
    assert rows == ["default 1", "light 1", "ThreshWater"]
    assert "Measured 2026-01-02" in text and ": light 1." in text
    assert ": default 1; ThreshWater (taken over from then)." in text
    versions["threshwater"] = "t2"
    text, panels = write("default")
    assert "ThreshWater" not in text
    assert panels == 3


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
