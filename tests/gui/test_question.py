"""A question: Enter gives the emphasised answer, Esc keeps everything, names are only text."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from particleseg_app.gui.question import Question

RETURN, ESCAPE = Qt.Key.Key_Return, Qt.Key.Key_Escape


@pytest.mark.parametrize(
    ("harmless", "key", "agrees"),
    [(False, RETURN, False), (True, RETURN, True), (False, ESCAPE, False), (True, ESCAPE, False)],
)
def test_keys_give_the_answer_that_is_emphasised(
    qtbot: QtBot, harmless: bool, key: Qt.Key, agrees: bool
) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    parent.show()
    said: list[str] = []
    question = Question("Remove it?", "It is gone then.", "Remove", parent, harmless=harmless)
    question.ask(lambda: said.append("agreed"), lambda: said.append("ended"))
    question.activateWindow()
    qtbot.waitUntil(question.isActiveWindow)
    focused = question.focusWidget()
    assert focused is (question.agree_button if harmless else question.keep_button)
    qtbot.keyClick(focused, key)
    assert said == (["ended", "agreed"] if agrees else ["ended"])


def test_names_in_it_are_only_text(qtbot: QtBot) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    question = Question("Remove “<b>Ore</b>”?", "<img src=x>", "Remove", parent)
    for words in (question.title, question.text):
        assert words.textFormat() == Qt.TextFormat.PlainText
