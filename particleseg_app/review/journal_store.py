"""Reads and writes the rows of a journal; knows nothing of what they mean to the labels."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from particleseg_app.errors import ProjectError
from particleseg_app.review.block_codec import (
    BlockIndex,
    DamagedBlobError,
    encode_traces,
    grid_shape,
)
from particleseg_app.review.entries import (
    APPLIED,
    DROPPED,
    UNDONE,
    BaseLabels,
    JournalEntry,
    about_labels,
    box_to_text,
    entry_from_row,
)
from particleseg_app.review.journal_file import (
    connect,
    create_journal_file,
    damaged,
    journal_errors,
)

_ENTRY_COLUMNS = "id, kind, text, user, made_at, state, box, voxels, labels, case_id"
_POSITION = "queue position"


@dataclass
class JournalState:
    """What a journal's file holds at one moment.

    `blocks` (packed; empty bytes: as segmented) and `touched` (by how many applied mends) have
    an item for each block that an applied mend touched.
    """

    entries: list[JournalEntry] = field(default_factory=list)
    blocks: dict[BlockIndex, bytes] = field(default_factory=dict)
    touched: dict[BlockIndex, int] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)
    position: str = ""


class JournalStore:
    """The open file of a journal. Not thread-safe: `ReviewJournal` guards it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._seen = -1

    @staticmethod
    def open(path: Path, *, read_only: bool) -> JournalStore:
        """Open the file of a journal; raise `ProjectError` when it is not one."""
        return JournalStore(path, connect(path, read_only=read_only))

    @staticmethod
    def create(path: Path, base: BaseLabels) -> JournalStore:
        create_journal_file(path, about_labels(base))
        return JournalStore.open(path, read_only=False)

    def load(self, base: BaseLabels) -> JournalState:
        """Everything but the changes; `ProjectError` for damage or a journal of other labels."""
        with journal_errors(self._path):
            # One read transaction, so that everything is of one moment.
            self._connection.execute("BEGIN")
            try:
                self._check_labels(base)
                state = JournalState()
                columns = f"SELECT {_ENTRY_COLUMNS} FROM entries ORDER BY id"
                for row in self._connection.execute(columns):
                    state.entries.append(entry_from_row(row, base.shape))
                _check_order(state.entries)
                self._load_blocks(state, base)
                for case_id, decided in self._connection.execute("SELECT id, state FROM cases"):
                    state.cases[_text(case_id)] = _text(decided)
                found = self._about().get(_POSITION)
                state.position = "" if found is None else _text(found)
                self._seen = self._version()
            finally:
                self._connection.execute("ROLLBACK")
        return state

    def differences(self, entry_id: int) -> Iterator[tuple[BlockIndex, bytes]]:
        """The packed differences of a mend, block by block."""
        with journal_errors(self._path):
            rows = self._connection.execute(
                "SELECT z, y, x, difference FROM changes WHERE entry = ?", (entry_id,)
            )
            for z, y, x, difference in rows:
                if not isinstance(difference, bytes):
                    raise DamagedBlobError("a change is not packed")
                yield (z, y, x), difference

    def case_of(self, entry_id: int) -> tuple[str, str]:
        """State of the mend's case before and after the mend."""
        with journal_errors(self._path):
            before, after = self._connection.execute(
                "SELECT case_before, case_after FROM entries WHERE id = ?", (entry_id,)
            ).fetchone()
        return _text(before), _text(after)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is on the disk at the end of the block, or nothing is."""
        with journal_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                if self._version() != self._seen:
                    raise ProjectError(
                        f"The journal of mends {self._path} was changed by another program.",
                        "Close the project and open it again.",
                    )
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def insert(
        self,
        entry: JournalEntry,
        differences: dict[BlockIndex, bytes],
        case_states: tuple[str, str],
    ) -> None:
        """Write a new mend and drop those that were undone before it."""
        self._connection.execute("UPDATE entries SET state = ? WHERE state = ?", (DROPPED, UNDONE))
        self._connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.id, entry.kind, entry.text, entry.user, entry.made_at, entry.state,
                box_to_text(entry.box), entry.voxels, encode_traces(entry.traces), entry.case_id,
                *case_states,
            ),
        )  # fmt: skip
        self._connection.executemany(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?)",
            ((entry.id, *index, packed) for index, packed in differences.items()),
        )

    def set_entry_state(self, entry_id: int, state: str) -> None:
        self._connection.execute("UPDATE entries SET state = ? WHERE id = ?", (state, entry_id))

    def set_blocks(
        self, blocks: dict[BlockIndex, bytes | None], touched: dict[BlockIndex, int]
    ) -> None:
        """Write the present state of blocks; None removes one that no applied mend touches."""
        gone: Iterable[BlockIndex] = (i for i, content in blocks.items() if content is None)
        self._connection.executemany("DELETE FROM blocks WHERE z = ? AND y = ? AND x = ?", gone)
        self._connection.executemany(
            "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?)",
            ((*i, touched[i], packed) for i, packed in blocks.items() if packed is not None),
        )

    def set_case(self, case_id: str, state: str) -> None:
        if state:
            self._connection.execute("INSERT OR REPLACE INTO cases VALUES (?, ?)", (case_id, state))
        else:
            self._connection.execute("DELETE FROM cases WHERE id = ?", (case_id,))

    def set_position(self, case_id: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (_POSITION, case_id))

    def close(self) -> None:
        self._connection.close()

    def _version(self) -> Any:
        """Changes when another connection wrote something since this one last read."""
        return self._connection.execute("PRAGMA data_version").fetchone()[0]

    def _about(self) -> dict[Any, Any]:
        return dict(self._connection.execute("SELECT name, value FROM about").fetchall())

    def _check_labels(self, base: BaseLabels) -> None:
        stored = self._about()
        for name, value in about_labels(base).items():
            if name not in stored:
                raise damaged(self._path)
            if stored[name] != value:
                raise ProjectError(
                    f"The journal of mends {self._path} belongs to other labels than these.",
                    "Put back the labels it was made for, or move it away to go on without it.",
                )

    def _load_blocks(self, state: JournalState, base: BaseLabels) -> None:
        grid = grid_shape(base.shape)
        rows = self._connection.execute("SELECT z, y, x, touched, labels FROM blocks")
        for z, y, x, times, labels in rows:
            index = z, y, x
            if (
                not all(isinstance(value, int) for value in (*index, times))
                or not isinstance(labels, bytes)
                or not all(0 <= i < n for i, n in zip(index, grid, strict=True))
                or times < 1
            ):
                raise DamagedBlobError("a block holds values of the wrong kind")
            state.blocks[index], state.touched[index] = labels, times


def _check_order(entries: list[JournalEntry]) -> None:
    """Mends that are undone come after all that are applied, or undo would go astray."""
    undone = False
    for entry in entries:
        if entry.state == UNDONE:
            undone = True
        elif entry.state == APPLIED and undone:
            raise DamagedBlobError("a mend is applied after one that is undone")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DamagedBlobError("a text is of the wrong kind")
    return value
