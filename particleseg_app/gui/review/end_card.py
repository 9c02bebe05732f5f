"""What stands in place of a case at the end of the doubtful ones, and at the end of all."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal

from particleseg_app.gui.formats import format_count, plural
from particleseg_app.gui.review.case_texts import done_text, least_doubtful, likelihood_text
from particleseg_app.gui.review.review_state import End
from particleseg_app.gui.style import Card, button, label


class EndCard(Card):
    """Tells `left_wanted` and `next_wanted`."""

    left_wanted = Signal()
    next_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(margin=14)
        self.heading = label("", "heading", wrap=True)
        self.text = label("", wrap=True)
        self.back_button = button("Back to the results", self.left_wanted.emit, primary=True)
        self.go_on_button = button("Go on with the less doubtful", self.next_wanted.emit)
        self.back_button.setToolTip("Esc")
        self.go_on_button.setToolTip("N")
        for widget in (self.heading, self.text, self.back_button, self.go_on_button):
            self.body.addWidget(widget)
        for each in (self.back_button, self.go_on_button):
            each.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def show_end(self, end: End, doubtful: int, less: int, unanswered: int) -> None:
        """Say to which end one has come.

        `doubtful` and `less`: how many cases are doubtful and less doubtful; `unanswered`: how many
        of the doubtful ones are not decided.
        """
        heading, text = end_texts(end, doubtful, less, unanswered)
        self.heading.setText(heading)
        self.text.setText(text)
        self.go_on_button.setVisible(end == "doubtful")


def end_texts(end: End, doubtful: int, less: int, unanswered: int) -> tuple[str, str]:
    """A heading and a few sentences: what is done, and what is left."""
    least = likelihood_text(least_doubtful())
    be, they = ("is", "it is") if unanswered == 1 else ("are", "they are")
    if end == "doubtful":
        follow = (
            f"{plural(less, 'less doubtful case')} (below {least}) "
            f"{'follows' if less == 1 else 'follow'}; few of them are errors."
        )
        if not doubtful:
            return "No doubtful cases", f"No case reaches {least}. {follow}"
        left = ""
        if unanswered:
            some = f"{format_count(unanswered)} of {format_count(doubtful)}"
            left = f"{some} {be} not answered yet; {they} still in the list. "
        return "All doubtful cases are seen", f"{left}{follow}"
    if unanswered:
        some = f"{format_count(unanswered)} of {plural(doubtful, 'doubtful case')}"
        return "The list ends here", f"{some} {be} not answered yet; {they} still at its top."
    if not doubtful:
        return "The review is done", f"This was the last case. None reached {least}."
    return "The review is done", done_text(doubtful, doubtful) + "."
