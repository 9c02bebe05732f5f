"""The evidence of a case in words for people: the two or three things that speak loudest."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# What each figure says when it speaks for an error.
_PHRASES: dict[str, Callable[[float], str]] = {
    "relative_size": lambda v: _size("it is", v),
    "solidity": lambda v: f"it fills {_percent(v)} of its convex hull",
    "neck_ratio": lambda v: f"it has a neck {_percent(v)} as wide as the smaller lobe",
    "lobe_share": lambda v: f"its second lobe holds {_percent(v)} of it",
    "lobe_radius_ratio": lambda v: f"its second lobe is {_percent(v)} as thick as the first",
    "lobe_grey_difference": lambda v: f"its lobes differ by {_percent(v)} of the contrast",
    "neck_grey_dip": lambda v: f"the neck is darker by {_percent(v)} of the contrast"
    if v > 0.02 else "nothing dark lies across the neck",
    "thickness": lambda v: "it is thin for its volume" if v < 0.7 else "it is compact",
    "stands_out": lambda v: f"it stands out by {_percent(v)} of the usual contrast",
    "brightness": lambda v: f"its grey value is {_percent(v)} of the way from background"
    " to particles",
    "unevenness": lambda v: f"its grey values vary by {_percent(v)} of the contrast",
    "touching_share": lambda v: f"{_percent(v)} of its surface touches others",
    "at_edge": lambda v: "it is cut by the scan's edge" if v else "it lies inside the scan",
    "core_saddle": lambda v: "the network sees a border through it" if v < 0
    else "the network is unsure along the neck",
    "core_depth": lambda v: "the network sees two cores with a gap",
    "core_lobe_share": lambda v: f"the second core holds {_percent(v)} of it",
    "second_part": lambda v: f"a second look cuts off {_percent(v)} of it",
    "foreground": lambda v: f"the network calls {_percent(v)} of it particle",
    "core_peak": lambda v: "the network sees a weak core" if v < 1 else "the network sees a core",
    "core_share": lambda v: f"{_percent(v)} of it is core",
    "disagreement": lambda v: f"two looks of the network differ by {_percent(v)}",
    "contact_share": lambda v: f"the contact is {v:.2f} of the smaller one's size",
    "size_ratio": lambda v: f"one is {_percent(2.718281828 ** v)} of the other's volume",
    "smaller_size": lambda v: _size("the smaller one is", v),
    "union_size": lambda v: _size("together they are", v),
    "union_solidity": lambda v: f"together they fill {_percent(v)} of their convex hull",
    "solidity_gain": lambda v: "together they are more convex" if v > 0
    else "together they are less convex",
    "union_neck": lambda v: f"the contact is {_percent(v)} as thick as the smaller one",
    "contact_grey_difference": lambda v: f"the grey values differ by {_percent(v)} of the contrast",
    "contact_grey_dip": lambda v: f"the contact is darker by {_percent(v)} of the contrast"
    if v > 0.02 else "nothing dark lies between them",
    "contact_core_margin": lambda v: "the network sees core across the contact" if v > 0
    else "the network is unsure at the contact",
    "contact_mean_margin": lambda v: "the network sees little border at the contact",
    "contact_depth": lambda v: "their cores hardly part at the contact" if v < 3
    else "their cores part at the contact",
    "joined": lambda v: f"a second look joins {_percent(v)} of the smaller one",
    "pair_disagreement": lambda v: f"two looks of the network differ by {_percent(v)}",
    "lesser_core_peak": lambda v: "one has a weak core" if v < 1 else "both have cores",
}  # fmt: skip
_SUBJECT = {
    "merger": "May be several particles",
    "splitter": "May be one particle",
    "false particle": "May be no particle",
    "missed particle": "May be a particle that was missed",
}
_FAINT = 0.3
_MOST = 3


def in_words(kind: str, evidence: Mapping[str, float], pushes: Mapping[str, float]) -> str:
    """One sentence: what the case may be and what speaks for it, loudest first."""
    loud = [name for name in pushes if pushes[name] > _FAINT and name in _PHRASES]
    loud.sort(key=lambda name: -pushes[name])
    said: list[str] = []
    for name in loud:
        phrase = _PHRASES[name](evidence[name])
        if phrase not in said:
            said.append(phrase)
    if not said:
        return f"{_SUBJECT[kind]}: little speaks for it."
    return f"{_SUBJECT[kind]}: {', '.join(said[:_MOST])}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"


def _size(start: str, log_ratio: float) -> str:
    ratio = 2.718281828**log_ratio
    digits = f"{ratio:.1f}" if ratio >= 0.95 else f"{ratio:.2g}"
    return f"{start} {digits} × the median volume"
