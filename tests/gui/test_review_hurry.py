"""The review used in a hurry, and by people who change their minds."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import reviewed_run as run
from PySide6.QtCore import Qt
from review_driver import LEFT, Reviewer

from particleseg_app.gui.review.controller import ReviewController

CONTROL = Qt.KeyboardModifier.ControlModifier
CONTROL_SHIFT = CONTROL | Qt.KeyboardModifier.ShiftModifier


@pytest.mark.parametrize("keys", [(Qt.Key.Key_R, Qt.Key.Key_R), (Qt.Key.Key_R, Qt.Key.Key_N)])
def test_a_second_key_in_a_hurry_skips_no_case(
    reviewer: Reviewer, keys: tuple[Qt.Key, Qt.Key]
) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    for key in keys:
        reviewer.key(key)
    reviewer.wait_for_number(1)
    reviewer.qtbot.wait(150)
    assert reviewer.controller.number == 1
    assert list(reviewer.controller.states.values()) == ["rejected"]


@pytest.mark.parametrize("second", [Qt.Key.Key_Return, Qt.Key.Key_R, Qt.Key.Key_N])
def test_a_key_after_accepting_answers_nothing_more(reviewer: Reviewer, second: Qt.Key) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.key(second)
    reviewer.wait(lambda: reviewer.mends() == 1)
    reviewer.wait_for_number(1)
    reviewer.qtbot.wait(150)
    assert reviewer.controller.number == 1
    assert list(reviewer.controller.states.values()) == ["accepted"]


def test_a_key_held_down_answers_once(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    reviewer.hold(Qt.Key.Key_R)
    reviewer.wait_for_number(1)
    reviewer.hold(Qt.Key.Key_N)  # going on, on the contrary, may be held
    reviewer.wait_for_number(2)
    assert len(reviewer.controller.states) == 1


def test_the_last_case_is_shown_as_mended(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.controller.show_case(2)
    reviewer.wait_for_proposal()
    reviewer.controller.states  # noqa: B018 - read as the page does
    for number in (0, 1):
        reviewer.controller.journal.set_case_state(reviewer.controller.cases[number].id, "rejected")
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    reviewer.wait_for_case()
    found = reviewer.controller.neighbourhood
    assert found is not None and reviewer.page.view.shown is found
    assert not (found.labels == run.FALSE).any()
    assert reviewer.page.card.state.text() == "Mended as proposed"
    assert not reviewer.controller.has_next


def test_undo_leads_back_to_the_case(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait_for_number(1)
    reviewer.key(Qt.Key.Key_Z, CONTROL)
    reviewer.wait_for_number(0)
    reviewer.wait_for_proposal()  # it can be answered otherwise
    reviewer.key(Qt.Key.Key_R)
    reviewer.wait_for_number(1)
    assert list(reviewer.controller.states.values()) == ["rejected"]
    assert reviewer.mends() == 0


def test_a_rejection_is_undone_and_redone_in_its_turn(reviewer: Reviewer) -> None:
    reviewer.start()
    cases = reviewer.controller.cases
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait_for_number(1)
    reviewer.key(Qt.Key.Key_R)
    reviewer.wait_for_number(2)
    both = {cases[0].id: "accepted", cases[1].id: "rejected"}
    assert reviewer.controller.states == both
    for state in ({cases[0].id: "accepted"}, {}):
        assert reviewer.page.queue.undo_button.isEnabled()
        reviewer.key(Qt.Key.Key_Z, CONTROL)
        reviewer.wait(
            lambda state=state: reviewer.controller.states == state and not reviewer.controller.busy
        )
    assert reviewer.mends() == 0 and not reviewer.page.queue.undo_button.isEnabled()
    reviewer.wait_for_number(0)
    for state in ({cases[0].id: "accepted"}, both):
        reviewer.wait(reviewer.page.queue.redo_button.isEnabled)
        reviewer.key(Qt.Key.Key_Z, CONTROL_SHIFT)
        reviewer.wait(lambda state=state: reviewer.controller.states == state)
    reviewer.wait_for_number(1)
    assert reviewer.mends() == 1 and not reviewer.page.queue.redo_button.isEnabled()


def test_a_rejected_case_may_be_accepted_after_all(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_R)
    reviewer.wait_for_number(1)
    reviewer.key(Qt.Key.Key_P)
    reviewer.wait_for_number(0)
    reviewer.wait_for_proposal()
    assert reviewer.page.card.accept_button.isEnabled()
    assert not reviewer.page.card.reject_button.isEnabled()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 1)
    assert list(reviewer.controller.states.values()) == ["accepted"]


def test_back_to_the_segmentation_opens_its_cases_again(reviewer: Reviewer) -> None:
    reviewer.start()
    for number in (0, 1):
        reviewer.wait_for_proposal()
        reviewer.key(Qt.Key.Key_Return if number == 0 else Qt.Key.Key_R)
        reviewer.wait_for_number(number + 1)
    reviewer.controller.revert()
    reviewer.wait(lambda: reviewer.mends() == 0)
    cases = reviewer.controller.cases
    assert reviewer.controller.states == {cases[1].id: "rejected"}
    reviewer.key(Qt.Key.Key_Z, CONTROL)
    reviewer.wait(lambda: reviewer.mends() == 1)
    assert reviewer.controller.states[cases[0].id] == "accepted"


def test_a_stroke_begun_while_the_last_one_is_written_is_kept(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_case()
    z, y, x = run.FIRST
    reviewer.choose("paint")
    port = reviewer.page.slices.view("xy").viewport()
    first, second, end = (reviewer.pixel((z, y - 10, x + d)) for d in (-3, 0, 3))
    reviewer.qtbot.mouseClick(port, LEFT, pos=first)
    reviewer.qtbot.mousePress(port, LEFT, pos=second)
    reviewer.wait(lambda: reviewer.mends() == 1)
    reviewer.wait_for_case()
    reviewer.qtbot.mouseMove(port, end)
    reviewer.qtbot.mouseRelease(port, LEFT, pos=end)
    reviewer.wait(lambda: reviewer.mends() == 2)


def test_a_group_stays_together_when_only_some_of_it_changes(reviewer: Reviewer) -> None:
    shown = reviewer.window.session.shown
    assert shown is not None
    group = (run.MERGED, run.RIGHT)
    reviewer.window.review.mend(group)
    reviewer.wait_for_case()
    before = reviewer.labels()
    z, y, x = run.FIRST
    reviewer.choose("erase")
    reviewer.drag((z, y, x - 4), (z, y, x))
    reviewer.wait(lambda: reviewer.mends() == 1)
    reviewer.wait_for_case()
    assert reviewer.controller.particles == group
    reviewer.qtbot.mouseClick(reviewer.page.tools.buttons["delete"], LEFT)
    reviewer.wait(lambda: reviewer.controller.changes is not None)
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait(lambda: reviewer.mends() == 2)
    assert not np.isin(reviewer.labels(), group).any()
    for mends in (1, 0):  # one step for the whole group
        reviewer.key(Qt.Key.Key_Z, CONTROL)
        reviewer.wait(lambda mends=mends: reviewer.mends() == mends)
        reviewer.wait_for_case()
        assert reviewer.controller.particles == group
    assert np.array_equal(reviewer.labels(), before)


def test_a_rejection_is_undone_however_soon_that_is_asked_for(reviewer: Reviewer) -> None:
    reviewer.start()
    cases = reviewer.controller.cases
    reviewer.wait_for_proposal()
    reviewer.key(Qt.Key.Key_Return)
    reviewer.wait_for_number(1)
    reviewer.key(Qt.Key.Key_R)
    reviewer.controller.undo()  # as Ctrl + Z, before the answer is written
    reviewer.wait(lambda: not reviewer.controller.busy)
    reviewer.wait_for_number(1)
    assert reviewer.controller.states == {cases[0].id: "accepted"}
    assert reviewer.mends() == 1


def test_a_tool_applies_what_was_asked_for_last(reviewer: Reviewer) -> None:
    reviewer.start()
    controller = reviewer.controller
    controller.show_case(1)
    reviewer.wait_for_proposal()
    controller.show_particles((run.LEFT_HALF,), controller.cases[1].box)
    reviewer.wait_for_case()
    reviewer.choose("join")
    z, y, x = run.HALVED
    origin = controller.neighbourhood.box.start
    # Enter follows the click at once, before what it would do has been worked out.
    controller.pick((z - origin[0], y - origin[1], x + 4 - origin[2]))
    controller.apply()
    reviewer.wait(lambda: reviewer.mends() == 1)
    labels = reviewer.labels()
    assert labels[z, y, x - 4] == labels[z, y, x + 4] != 0
    entry = controller.journal.entries()[-1]
    assert str(run.LEFT_HALF) in entry.text and str(run.RIGHT_HALF) in entry.text


def proposals_held_back(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """No proposal is worked out until the event is set."""
    going_on, proposed = threading.Event(), ReviewController._proposed

    def slow(controller: ReviewController, case: object) -> object:
        going_on.wait(20)
        return proposed(controller, case)  # type: ignore[arg-type]

    monkeypatch.setattr(ReviewController, "_proposed", slow)
    return going_on


def test_a_proposal_that_takes_long_is_announced(
    reviewer: Reviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = proposals_held_back(monkeypatch)
    reviewer.window.actions_.review_action.trigger()
    waiting = reviewer.page.card.waiting
    reviewer.wait(waiting.isVisible)
    assert not reviewer.page.card.accept_button.isEnabled()
    going_on.set()
    reviewer.wait_for_proposal()
    assert not waiting.isVisible() and reviewer.page.card.accept_button.isEnabled()


def test_leaving_does_not_wait_for_what_is_being_worked_out(
    reviewer: Reviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take long, as the tools are compiled on first use; one can go back in, too."""
    going_on = proposals_held_back(monkeypatch)
    flow = reviewer.window.review
    reviewer.window.actions_.review_action.trigger()
    reviewer.wait(lambda: flow.active and reviewer.controller.pending)
    controller = reviewer.controller
    flow.leave()
    assert controller.busy and not going_on.is_set()  # what is being worked out goes on
    assert not flow.active and reviewer.page.controller is None
    reviewer.window.actions_.review_action.trigger()
    assert not flow.active  # not before the other one has ended
    going_on.set()
    reviewer.wait(lambda: flow.active)
    reviewer.wait_for_proposal()


def test_a_mend_that_is_written_while_one_leaves_is_in_the_table(
    reviewer: Reviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewer.start()
    reviewer.wait_for_proposal()
    session = reviewer.window.session
    before = len(session.shown.table)
    apply, going_on = reviewer.controller.mending.apply, threading.Event()

    def slow(*arguments: object, **options: object) -> object:
        going_on.wait(20)
        return apply(*arguments, **options)

    monkeypatch.setattr(reviewer.controller.mending, "apply", slow)
    reviewer.key(Qt.Key.Key_Return)  # one particle is cut in two
    reviewer.window.review.leave()
    going_on.set()
    reviewer.wait(lambda: len(session.shown.table) == before + 1)
    assert len(reviewer.window.project_page.table.model.shown_labels()) == before + 1
