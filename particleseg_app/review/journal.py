"""The journal of a run's mends: every mend a small entry, durable, undoable for ever.

The segmentation itself is never changed. The journal holds the blocks that differ from it and,
for each mend, the voxels that changed; both are written in one transaction, so that after a kill
at any moment each mend is there whole or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from particleseg_app.errors import InvalidValueError, ProjectError
from particleseg_app.review.changes import LabelChange, as_changes
from particleseg_app.review.entries import (
    ACCEPTED,
    APPLIED,
    CASE_STATES,
    DROPPED,
    MENDED,
    REVERT,
    REVERTED,
    UNDONE,
    BaseLabels,
    JournalEntry,
)
from particleseg_app.review.gesture import Gesture
from particleseg_app.review.journal_file import journal_errors
from particleseg_app.review.journal_store import JournalState, JournalStore
from particleseg_app.review.present_blocks import PresentBlocks
from particleseg_app.units import Box
from particleseg_app.user_folders import user_name

Listener = Callable[[Box, frozenset[int]], None]

_LONGEST_TEXT = 2000


class ReviewJournal:
    """Mends of one run's labels. A context manager; may be used from several threads.

    One journal at a time may write (the project's lock sees to that); any number may read, and
    see the state of the moment they were opened or last called `refresh`.
    """

    def __init__(self, path: Path, base: BaseLabels, read_only: bool) -> None:
        """Use `ReviewJournal.open`."""
        self.path = Path(path)
        self.read_only = read_only
        self.base = base
        self.present = PresentBlocks(base)
        self._lock = threading.RLock()
        self._store: JournalStore | None = None
        self._closed = False
        self._state = JournalState()
        self._listeners: list[Listener] = []
        self.refresh()

    @staticmethod
    def open(path: Path, base: BaseLabels, *, read_only: bool = False) -> ReviewJournal:
        """Open the journal at `path` for the labels `base`; without a file it is empty.

        The file is made with the first entry. Raises `ProjectError` when the journal belongs to
        other labels, is damaged, or was written by a newer version.
        """
        return ReviewJournal(path, base, read_only)

    # What there is -----------------------------------------------------------------------------

    def entries(self) -> list[JournalEntry]:
        """Every mend ever made, oldest first, those undone and dropped too."""
        with self._lock:
            reverted_before = max(
                (e.id for e in self._state.entries if e.kind == REVERT and e.state == APPLIED),
                default=0,
            )
            return [
                replace(e, state=REVERTED) if e.state == APPLIED and e.id < reverted_before else e
                for e in self._state.entries
            ]

    def effective_entries(self) -> list[JournalEntry]:
        """The mends that make the labels what they are now, oldest first."""
        return [e for e in self.entries() if e.state == APPLIED and e.kind != REVERT]

    @property
    def mend_count(self) -> int:
        """How many mends the labels contain now."""
        return len(self.effective_entries())

    @property
    def can_undo(self) -> bool:
        return not self.read_only and self._last(APPLIED) is not None

    @property
    def can_redo(self) -> bool:
        return not self.read_only and self._first(UNDONE) is not None

    def next_label(self) -> int:
        """A number above every label ever used, so that a number never means two particles."""
        with self._lock:
            used = max((e.highest_label for e in self._state.entries), default=0)
            return max(int(self.base.count), used) + 1

    def highest_label(self) -> int:
        """No label above this one is in the labels as they are now."""
        with self._lock:
            applied = (e.highest_label for e in self._state.entries if e.state == APPLIED)
            return max(int(self.base.count), max(applied, default=0))

    def case_states(self) -> dict[str, str]:
        """What was decided of each case that was looked at.

        A case of which all mends were taken back by a return to the segmentation is open again.
        """
        with self._lock:
            entries = self.entries()
            gone = {e.case_id for e in entries if e.state == REVERTED}
            gone -= {e.case_id for e in entries if e.state == APPLIED}
            return {
                case_id: state
                for case_id, state in self._state.cases.items()
                if case_id not in gone or state not in (ACCEPTED, MENDED)
            }

    @property
    def queue_position(self) -> str:
        """Id of the case that was shown last, empty at first."""
        return self._state.position

    # Mends -------------------------------------------------------------------------------------

    def append(
        self,
        change: LabelChange | Iterable[LabelChange],
        kind: str,
        text: str,
        *,
        case_id: str = "",
        case_state: str = "mended",
    ) -> JournalEntry:
        """Apply one gesture; when this returns, it is on the disk.

        `text` says in words what was done. What was undone before is dropped (and stays in the
        history as such). With `case_id` the case gets `case_state` in the same transaction; undo
        takes that back, too. Raises `InvalidValueError` when the labels changed since the preview
        was made or nothing changes, and `ProjectError`; either way nothing is changed then.
        """
        if kind == REVERT:
            raise ValueError("use revert()")
        _check_case_state(case_state)
        with self._lock, journal_errors(self.path):
            store = self._writable()
            gesture = Gesture(self.base.shape, self.next_label(), self.present.block)
            for one in as_changes(change):
                gesture.add(one)
            entry = self._commit(store, gesture, kind, text, case_id, case_state)
        if entry is None:
            raise InvalidValueError("This would not change a single voxel.")
        self._tell(entry)
        return entry

    def revert(self) -> JournalEntry | None:
        """Back to the segmentation, as one more entry, which can be undone; None if it is there."""
        with self._lock, journal_errors(self.path):
            if not self.present.differ:
                return None
            store = self._writable()
            gesture = Gesture(self.base.shape, self.next_label(), self.present.block)
            for index in self.present.touched:
                gesture.put_as_segmented(index, self.present.segmented(index))
            count = self.mend_count
            text = f"Back to the segmentation ({count} mend{'s' * (count != 1)} taken back)"
            entry = self._commit(store, gesture, REVERT, text, "", "")
        if entry is not None:
            self._tell(entry)
        return entry

    def undo(self) -> JournalEntry | None:
        """Take back the last mend that is applied; None when there is none."""
        return self._step(backwards=True)

    def redo(self) -> JournalEntry | None:
        """Apply again what was undone last; None when there is nothing."""
        return self._step(backwards=False)

    # Queue -------------------------------------------------------------------------------------

    def set_case_state(self, case_id: str, state: str) -> None:
        """Keep what was decided of a case ("" forgets it)."""
        _check_case_state(state)
        with self._lock:
            store = self._writable()
            with store.transaction():
                store.set_case(case_id, state)
            self._case_changed(case_id, state)

    def set_queue_position(self, case_id: str) -> None:
        """Keep which case is shown, for the next start."""
        with self._lock:
            store = self._writable()
            with store.transaction():
                store.set_position(case_id)
            self._state.position = case_id

    # Listeners ---------------------------------------------------------------------------------

    def add_listener(self, listener: Listener) -> None:
        """Call `listener(box, labels)` after every mend, undo and redo, in the thread that made it.

        `box` holds every voxel that changed, `labels` those that gained or lost voxels.
        """
        with self._lock:
            self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    # Inside ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read the journal's state from the disk again."""
        with self._lock:
            if self._store is None:
                if self._closed or not self.path.is_file():
                    return
                self._store = JournalStore.open(self.path, read_only=self.read_only)
            try:
                self._state = self._store.load(self.base)
            except BaseException:
                self._store.close()
                self._store = None
                raise
            self.present.replace_all(self._state.blocks, self._state.touched)

    def _writable(self) -> JournalStore:
        if self.read_only:
            raise ProjectError(
                "The project was opened to be read only, so its mends cannot be changed.",
                "Open it for changes.",
            )
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        if self._store is None:
            if self.path.exists():  # another program made it meanwhile
                self.refresh()
            else:
                self._store = JournalStore.create(self.path, self.base)
                self.refresh()
        assert self._store is not None
        return self._store

    def _commit(
        self,
        store: JournalStore,
        gesture: Gesture,
        kind: str,
        text: str,
        case_id: str,
        case_state: str,
    ) -> JournalEntry | None:
        made = gesture.finish()
        if made.box is None:
            return None
        entries = self._state.entries
        entry = JournalEntry(
            id=entries[-1].id + 1 if entries else 1,
            kind=kind,
            text=" ".join(text.split())[:_LONGEST_TEXT],
            user=user_name(),
            made_at=datetime.now().astimezone().isoformat(timespec="seconds"),
            state=APPLIED,
            box=made.box,
            voxels=made.voxels,
            labels_before=tuple(t.label for t in made.traces if t.before),
            labels_after=tuple(t.label for t in made.traces if t.after),
            case_id=case_id,
            traces=tuple(made.traces),
        )
        step = self.present.step_of(made)
        with store.transaction():
            case_before = self._state.cases.get(case_id, "") if case_id else ""
            store.insert(entry, made.differences, (case_before, case_state if case_id else ""))
            store.set_blocks(step.blocks, step.touched)
            if case_id:
                store.set_case(case_id, case_state)
        self._state.entries = [
            *(replace(e, state=DROPPED) if e.state == UNDONE else e for e in entries),
            entry,
        ]
        self.present.make(step)
        self._case_changed(case_id, case_state)
        return entry

    def _step(self, *, backwards: bool) -> JournalEntry | None:
        with self._lock, journal_errors(self.path):
            old = self._last(APPLIED) if backwards else self._first(UNDONE)
            if old is None:
                return None
            store = self._writable()
            entry = replace(old, state=UNDONE if backwards else APPLIED)
            step = self.present.step_along(
                store.differences(entry.id), reverting=entry.kind == REVERT, backwards=backwards
            )
            before, after = store.case_of(entry.id)
            case_state = before if backwards else after
            with store.transaction():
                store.set_entry_state(entry.id, entry.state)
                store.set_blocks(step.blocks, step.touched)
                if entry.case_id:
                    store.set_case(entry.case_id, case_state)
            self._state.entries = [entry if e is old else e for e in self._state.entries]
            self.present.make(step)
            self._case_changed(entry.case_id, case_state)
        self._tell(entry)
        return entry

    def _case_changed(self, case_id: str, state: str) -> None:
        if state and case_id:
            self._state.cases[case_id] = state
        else:
            self._state.cases.pop(case_id, None)

    def _last(self, state: str) -> JournalEntry | None:
        with self._lock:
            return next((e for e in reversed(self._state.entries) if e.state == state), None)

    def _first(self, state: str) -> JournalEntry | None:
        with self._lock:
            return next((e for e in self._state.entries if e.state == state), None)

    def _tell(self, entry: JournalEntry) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(entry.box, entry.labels)

    def close(self) -> None:
        """Let go of the file; may be called twice. Does not close the base labels."""
        with self._lock:
            self._closed = True
            if self._store is not None:
                self._store.close()
                self._store = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_case_state(state: str) -> None:
    if state not in CASE_STATES:
        raise ValueError(f"{state!r} is no state of a case")
