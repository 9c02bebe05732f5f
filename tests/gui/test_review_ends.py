"""The review: which cases are counted, where the doubtful ones end, and the keyboard's buttons."""

from __future__ import annotations

from dataclasses import replace

import pytest
import reviewed_run as run
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from review_driver import LEFT, Reviewer

from particleseg_app.gui.review.case_texts import (
    gone_texts,
    likelihood_text,
    listed,
    who_text,
)
from particleseg_app.gui.review.end_card import end_texts
from particleseg_app.review.cases import ReviewCase, read_cases, write_cases

CONTROL = Qt.KeyboardModifier.ControlModifier


def set_probabilities(reviewer: Reviewer, *probabilities: float) -> list[ReviewCase]:
    """Give the three cases of the run other probabilities."""
    shown = reviewer.window.session.shown
    assert shown is not None and shown.review is not None
    path = shown.review.paths.cases
    cases = [
        replace(case, probability=probability)
        for case, probability in zip(read_cases(path), probabilities, strict=True)
    ]
    write_cases(path, cases)
    return cases


def tab_to(reviewer: Reviewer, button: QPushButton) -> None:
    button.setFocus(Qt.FocusReason.TabFocusReason)
    assert reviewer.window.focusWidget() is button


def test_enter_presses_the_button_that_has_the_keyboard(reviewer: Reviewer) -> None:
    reviewer.start()
    card = reviewer.page.card
    reviewer.wait_for_proposal()
    tab_to(reviewer, card.reject_button)
    reviewer.qtbot.keyClick(card.reject_button, Qt.Key.Key_Return)
    reviewer.wait_for_number(1)
    assert list(reviewer.controller.states.values()) == ["rejected"] and reviewer.mends() == 0
    reviewer.wait_for_proposal()
    tab_to(reviewer, reviewer.page.back_button)
    reviewer.qtbot.keyClick(reviewer.page.back_button, Qt.Key.Key_Enter)
    assert reviewer.window.pages.currentWidget() is reviewer.window.project_page


def test_a_button_that_is_switched_off_does_not_hand_enter_to_the_other_answer(
    reviewer: Reviewer,
) -> None:
    reviewer.start()
    card = reviewer.page.card
    for number in range(2):
        reviewer.wait_for_proposal()
        tab_to(reviewer, card.accept_button)
        reviewer.qtbot.keyClick(card.accept_button, Qt.Key.Key_Return)
        reviewer.wait_for_number(number + 1)
        reviewer.wait_for_proposal()
        assert reviewer.window.focusWidget() is not card.reject_button
    assert list(reviewer.controller.states.values()) == ["accepted"] * 2


def test_after_a_click_on_next_enter_still_accepts(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    before = reviewer.window.focusWidget()
    reviewer.qtbot.mouseClick(reviewer.page.card.next_button, LEFT)
    reviewer.wait_for_number(1)
    assert reviewer.window.focusWidget() is before
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    assert list(reviewer.controller.states.values()) == ["accepted"]


def test_only_doubtful_cases_are_counted_and_the_others_are_folded(reviewer: Reviewer) -> None:
    # The second case is less doubtful than the third one and comes after it.
    merger, splitter, speck = set_probabilities(reviewer, 0.9, 0.096, 0.3)
    reviewer.start()
    queue, lists = reviewer.page.queue, reviewer.page.queue.cases
    assert [case.id for case in reviewer.controller.cases] == [merger.id, speck.id, splitter.id]
    assert queue._done.text() == "0 of 2 doubtful cases answered"
    assert lists.fold_button.text() == "1 less doubtful (below 10 %)"
    assert len(lists.doubtful.rows.rows) == 2 and not lists.less.isVisible()
    lists.fold_button.setFocus(Qt.FocusReason.TabFocusReason)
    for unfolded in (True, False):
        reviewer.qtbot.keyClick(lists.fold_button, Qt.Key.Key_Return)
        assert lists.less.isVisible() == unfolded
    assert reviewer.mends() == 0
    reviewer.qtbot.mouseClick(lists.fold_button, LEFT)
    place = lists.less.visualRect(lists.less.rows.index(0)).center()
    reviewer.qtbot.mouseClick(lists.less.viewport(), LEFT, pos=place)
    reviewer.wait_for_number(2)
    assert reviewer.page.card._likelihood.text() == "< 10 %"


def test_the_window_says_when_the_doubtful_cases_and_the_review_are_done(
    reviewer: Reviewer,
) -> None:
    set_probabilities(reviewer, 0.9, 0.3, 0.05)
    reviewer.start()
    controller, page = reviewer.controller, reviewer.page
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_R)
    reviewer.wait_for_number(1)
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: controller.end == "doubtful")
    reviewer.wait_for_case()
    assert page.end_card.heading.text() == "All doubtful cases are seen"
    assert "1 less doubtful case (below 10 %) follows" in page.end_card.text.text()
    assert page.end_card.isVisible() and not page.card.isVisible() and not page.tools.isVisible()
    assert page.queue._done.text() == "All doubtful cases answered (2)"
    found = controller.neighbourhood  # what became of the last one is shown
    assert found is not None and not (found.labels == run.RIGHT_HALF).any()
    for key in (Qt.Key.Key_Return, Qt.Key.Key_R, Qt.Key.Key_S):
        reviewer.key(key)
    reviewer.hold(Qt.Key.Key_Return)
    reviewer.qtbot.wait(100)
    assert reviewer.mends() == 1 and controller.number == 1 and controller.end
    reviewer.key(Qt.Key.Key_P)  # back to the case
    assert not controller.end and page.card.isVisible() and page.tools.isVisible()
    reviewer.key(Qt.Key.Key_N)
    assert controller.end == "doubtful"
    reviewer.key(Qt.Key.Key_N)
    reviewer.wait_for_number(2)
    assert page.queue.cases.less.isVisible() and page.card.isVisible()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_R)
    reviewer.wait(lambda: controller.end == "all")
    assert page.end_card.heading.text() == "The review is done"
    assert not page.end_card.go_on_button.isVisible()
    reviewer.key(Qt.Key.Key_Z, CONTROL)
    reviewer.wait(lambda: not controller.end)
    assert page.card.isVisible() and not page.end_card.isVisible()
    reviewer.key(Qt.Key.Key_N)
    assert controller.end == "all"
    reviewer.qtbot.mouseClick(page.end_card.back_button, LEFT)
    assert reviewer.window.pages.currentWidget() is reviewer.window.project_page


@pytest.mark.parametrize("second", [Qt.Key.Key_N, Qt.Key.Key_Return, Qt.Key.Key_R])
def test_a_key_in_a_hurry_stops_where_the_doubtful_cases_end(
    reviewer: Reviewer, second: Qt.Key
) -> None:
    set_probabilities(reviewer, 0.9, 0.05, 0.04)
    reviewer.start()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_R)
    reviewer.key(second)
    reviewer.wait(lambda: reviewer.controller.end == "doubtful" and not reviewer.controller.busy)
    reviewer.qtbot.wait(100)
    assert reviewer.controller.number == 0 and reviewer.mends() == 0
    assert list(reviewer.controller.states.values()) == ["rejected"]


def test_where_no_case_is_doubtful_the_window_says_so(reviewer: Reviewer) -> None:
    set_probabilities(reviewer, 0.09, 0.05, 0.04)
    reviewer.window.actions_.review_action.trigger()
    page = reviewer.page
    assert page.end_card.heading.text() == "No doubtful cases"
    assert "No case reaches 10 %" in page.end_card.text.text()
    assert page.queue._done.text() == "No case reaches 10 %" and not page.queue._bar.isVisible()
    reviewer.qtbot.mouseClick(page.end_card.go_on_button, LEFT)
    reviewer.wait_for_number(0)
    assert page.card.isVisible() and not page.end_card.isVisible()


def test_what_is_not_answered_is_told_at_the_end() -> None:
    assert end_texts("doubtful", 5, 1200, 2) == (
        "All doubtful cases are seen",
        "2 of 5 are not answered yet; they are still in the list. "
        "1\u202f200 less doubtful cases (below 10 %) follow; few of them are errors.",
    )
    assert end_texts("all", 5, 0, 1) == (
        "The list ends here",
        "1 of 5 doubtful cases is not answered yet; it is still at its top.",
    )
    assert end_texts("all", 1, 0, 0)[1] == "All doubtful cases answered (1)."


def test_what_is_improbable_is_not_urged(reviewer: Reviewer) -> None:
    set_probabilities(reviewer, 0.5, 0.49, 0.3)
    reviewer.start()
    accept = reviewer.page.card.accept_button
    assert accept.property("primary") is True
    reviewer.key(Qt.Key.Key_N)
    reviewer.wait_for_number(1)
    reviewer.wait_for_proposal()
    assert accept.property("primary") is False
    assert not reviewer.page.card.reject_button.property("primary")
    reviewer.key(Qt.Key.Key_Return)  # the keys stay
    reviewer.wait(lambda: reviewer.mends() == 1)


def test_a_proposal_of_several_parts_says_how_many(reviewer: Reviewer) -> None:
    shown = reviewer.window.session.shown
    assert shown is not None and shown.review is not None
    merger, *others = read_cases(shown.review.paths.cases)
    z, y, x = run.FIRST
    markers = ((z, y, x - 6), (z, y, x + 2), run.SECOND)
    path = shown.review.paths.cases
    write_cases(path, [replace(merger, markers=tuple(map(to_floats, markers))), *others])
    reviewer.start()
    reviewer.wait_for_proposal()
    card = reviewer.page.card
    assert card.question.text() == "Several particles joined?"
    assert card.accept_button.text() == "Split into 3 as drawn"
    reviewer.key(Qt.Key.Key_N)
    reviewer.wait_for_number(1)
    assert card.question.text() == "One particle cut in two?"
    assert card.accept_button.text() == "Join them"


def to_floats(point: tuple[int, int, int]) -> tuple[float, float, float]:
    z, y, x = point
    return float(z), float(y), float(x)


def test_a_deleted_particle_is_said_to_be_gone_until_it_is_back(reviewer: Reviewer) -> None:
    reviewer.window.review.mend((run.FALSE,))
    reviewer.wait_for_case()
    page = reviewer.page
    assert page.card.question.text() == "Mend a particle"
    assert not page.side.keys_text.isVisible()
    reviewer.choose("delete")
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: page.card.question.text() == "Particle 4 deleted")
    assert page.card._who.text().startswith("Undo (Ctrl+Z) brings it back.")
    assert not any(button.isEnabled() for button in page.tools.buttons.values())
    reviewer.key(Qt.Key.Key_Z, CONTROL)
    reviewer.wait(lambda: page.card.question.text() == "Mend a particle")
    assert all(button.isEnabled() for button in page.tools.buttons.values())
    assert not page.tools.as_new.isChecked()
    reviewer.key(Qt.Key.Key_N)
    reviewer.wait_for_number(0)
    assert page.side.keys_text.isVisible()


def test_several_particles_are_spoken_of_in_the_plural(reviewer: Reviewer) -> None:
    reviewer.window.review.mend((run.LEFT_HALF, run.FALSE, run.RIGHT))
    reviewer.wait_for_case()
    page = reviewer.page
    assert page.card.question.text() == "Mend 3 particles"
    assert page.card._who.text().startswith("Particles 2 (")
    reviewer.choose("delete")
    assert page.tools._hint.text() == "All 3 become background."
    assert "All 3 become one." in page.tools.buttons["join"].toolTip()
    assert who_text((3, 4, 6), {4: 46.6}) == "Particles 3, 4 (46.6 µm) and 6"
    assert listed([str(n) for n in range(100)]) == "0, 1, 2, 3, 4 and 95 more"
    assert gone_texts((3, 4), False)[0] == "Particles 3 and 4 deleted"
    assert gone_texts((6,), True)[0] == "Particle 6 taken back"


def test_a_probability_below_the_limit_never_reads_like_one_above_it() -> None:
    assert [likelihood_text(p) for p in (0.001, 0.094, 0.096, 0.1, 0.83, 0.995)] == [
        "< 1 %", "9 %", "< 10 %", "10 %", "83 %", "> 99 %",
    ]  # fmt: skip


def test_the_cards_keep_clear_of_the_scroll_bar(reviewer: Reviewer) -> None:
    reviewer.start()
    scroll = reviewer.page.side.scroll_area
    scroll.setFixedHeight(300)  # as in a low window
    for tool in reviewer.page.tools.buttons:
        reviewer.choose(tool)
        reviewer.wait(lambda: scroll.verticalScrollBar().isVisible())
        inside = scroll.widget()
        reviewer.wait(lambda inside=inside: inside.width() == scroll.viewport().width())
        assert inside.minimumSizeHint().width() <= scroll.viewport().width()
    assert reviewer.page.back_button.icon().isNull()  # not the picture of Undo
