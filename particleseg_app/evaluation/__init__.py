"""Accuracy of labelled particles against a reference."""

from particleseg_app.evaluation.overlaps import Overlaps, count_overlaps
from particleseg_app.evaluation.score import Score, evaluate, matched_pairs, score

__all__ = ["Overlaps", "Score", "count_overlaps", "evaluate", "matched_pairs", "score"]
