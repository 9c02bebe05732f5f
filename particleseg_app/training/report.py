"""What a training says of itself in plain sentences: in its log, at its end, on the model card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from particleseg_app.training.held_back import HeldBackFigures

if TYPE_CHECKING:
    from particleseg_app.models import ModelEntry
    from particleseg_app.training.training_plan import TrainingPlan
    from particleseg_app.training.training_task import TrainingTask

HOW_TO_READ = (
    "How to read this: loss falls while the network learns. Every validation tries it on what was "
    "held back: Dice from 0 to 1, the higher the better; core at contacts is the share of voxels "
    "between touching particles that would join them, the lower the better.",
)
# Differences of F1_match below this one say nothing with a few dozen particles.
WORTH_TELLING = 0.005


def several(count: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 patch`, `3 patches`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def opening_lines(
    name: str, plan: TrainingPlan, task: TrainingTask, base: ModelEntry | None, device: str
) -> list[str]:
    """The first lines of the log: what is trained, on what, for how long, and how to read it."""
    data = []
    if task.training_names:
        data.append(f"{several(len(task.training_names), 'labelled patch', 'labelled patches')}")
    if plan.simulated:
        data.append(f"up to {several(plan.simulated, 'simulated scan')} (preset {plan.preset})")
    start = "a new network"
    if base is not None:
        start = f"the weights of “{base.name}” {base.card.version}"
    length = several(task.steps or 0, "step")
    if task.minutes is not None:
        length = f"{task.minutes:g} minutes"
    lines = [
        f"Model “{name}”, recipe {task.recipe.name}, on {device}, from {start}.",
        f"Trains on {' and '.join(data)}, {length}; a step takes "
        f"{several(task.batch, 'patch', 'patches')} of {task.edge} voxels along each edge at the "
        "working scale.",
    ]
    if task.held_back_names:
        lines.append(f"Held back for measuring: {', '.join(task.held_back_names)}.")
    return [*lines, *HOW_TO_READ]


def origin(plan: TrainingPlan, task: TrainingTask, simulated: int, base: ModelEntry | None) -> str:
    """What the model was made from; `simulated`: how many scans took part."""
    parts = []
    if task.training_names:
        parts.append(several(len(task.training_names), "labelled patch", "labelled patches"))
    if plan.simulated:
        parts.append(f"{several(simulated, 'simulated scan')} (preset {plan.preset})")
    text = "Trained on " + " and ".join(parts) + f" by the {task.recipe.name} recipe"
    if base is not None:
        text += f", going on from the model “{base.name}” {base.card.version}"
    return text + "."


def held_back_sentences(
    figures: HeldBackFigures | None, before: HeldBackFigures | None
) -> list[str]:
    """How good the model is, and whether the training was worth it. `before`: the model it began
    with, on the same volumes."""
    if figures is None:
        return ["Nothing was held back, so the model was not measured."]

    def value(name: str) -> str:
        text = f"{figures.figures[name]:.3f}"
        return text if before is None else f"{text} ({before.figures[name]:.3f} before)"

    sentences = [
        f"On {several(figures.particles, 'held-back particle')}: F1 match {value('f1_match')}, "
        f"F1 instance {value('f1_instance')}, merger ratio {value('merger_ratio')}, "
        f"splitter ratio {value('splitter_ratio')}."
    ]
    if before is not None:
        gain = figures.figures["f1_match"] - before.figures["f1_match"]
        if gain < -WORTH_TELLING:
            sentences.append(
                "It finds particles less well than the model it began with: use that one, or "
                "train longer or on more patches."
            )
    return sentences


def card_figures(
    figures: HeldBackFigures | None,
    before: HeldBackFigures | None,
    task: TrainingTask,
    simulated: int,
) -> dict[str, Any]:
    """The figures of the model card; `simulated`: how many scans were held back."""
    if figures is None:
        return {}
    parts = []
    if task.held_back_names:
        word = "patch" if len(task.held_back_names) == 1 else "patches"
        parts.append(f"labelled {word} {', '.join(task.held_back_names)}")
    if simulated:
        parts.append(several(simulated, "simulated scan"))
    text = f"Held back from the training: {' and '.join(parts)}; measured at the working scale."
    if figures.calibrated:
        text += (
            " Class offsets were chosen on them; each was measured with the offsets that were "
            "best on the other half."
        )
    result = {"scenes": text, **figures.as_dict()}
    if before is not None:
        result |= {f"{name}_before": value for name, value in before.figures.items()}
    return result
