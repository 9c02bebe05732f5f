"""The journal under kills, other programs, other labels, damage and hostile files."""

from __future__ import annotations

import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from particleseg_app.errors import InvalidValueError, ProjectError
from particleseg_app.review import block_codec
from particleseg_app.review.changes import LabelChange
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.review.mended_labels import MendedLabels, open_mended_labels
from particleseg_app.units import Box
from particleseg_app.volumes import LabelVolume, open_labels
from tests.review.label_models import PlainJournal, random_change, random_labels, write_labels

SHAPE = (70, 40, 90)
WHOLE = Box.whole(SHAPE)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def base(tmp_path: Path) -> LabelVolume:
    return write_labels(tmp_path / "labels.h5", random_labels(1, SHAPE, 12))


def change_of(labels: np.ndarray, seed: int, new_label: int = 99) -> LabelChange:
    rng = np.random.default_rng(seed)
    while True:
        change = random_change(rng, labels, new_label)
        if change.changes_anything:
            return change


def with_mends(path: Path, base: LabelVolume, count: int) -> list[np.ndarray]:
    """Make a journal of `count` mends; every state of the labels."""
    plain = PlainJournal(base.read(WHOLE))
    with ReviewJournal.open(path, base) as journal:
        for seed in range(count):
            change = change_of(plain.now, seed)
            journal.append(change, "paint", f"Mend {seed}")
            plain.append(change)
    return plain.states


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from particleseg_app.review.journal import ReviewJournal
from particleseg_app.units import Box
from particleseg_app.volumes import open_labels
from tests.review.test_journal_safety import WHOLE, change_of

folder = Path(sys.argv[1])
base = open_labels(folder / "labels.h5")
journal = ReviewJournal.open(folder / "review.sqlite", base)
labels = base.read(WHOLE)
print("ready", flush=True)
for seed in range(100_000):
    change = change_of(labels, seed)
    journal.append(change, "paint", f"Mend {seed}")
    labels[change.box.slices] = change.after
    print(seed, flush=True)  # said to be done: it must be there after the kill
"""


@pytest.mark.parametrize("kill", range(4))
def test_killed_at_any_moment_it_loses_at_most_the_gesture_in_progress(
    kill: int, base: LabelVolume, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    timer = threading.Timer(random.Random(kill).uniform(0.02, 0.8), process.kill)
    timer.start()
    said = [int(line) for line in process.stdout.read().split("\n")[:-1]]
    timer.join()
    assert process.wait() == (-signal.SIGKILL if sys.platform != "win32" else 1)
    with ReviewJournal.open(tmp_path / "review.sqlite", base) as journal:
        made = len(journal.entries())
        assert len(said) <= made <= len(said) + 1
        states = [base.read(WHOLE)]
        for seed in range(made):
            states.append(states[-1].copy())
            change = change_of(states[-1], seed)
            states[-1][change.box.slices] = change.after
        labels = MendedLabels(base, journal)
        for state in reversed(states):
            np.testing.assert_array_equal(labels.read(WHOLE), state)
            journal.undo()
        assert not journal.can_undo
        assert journal.mend_count == 0


def test_a_kill_in_the_middle_of_writing_is_taken_back(base: LabelVolume, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    states = with_mends(path, base, 3)
    script = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN')\n"
        "c.execute('DELETE FROM entries')\n"
        "c.execute('UPDATE blocks SET labels = zeroblob(90000)')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.with_name("review.sqlite-journal").exists()
    # Also one who only reads finds the state before.
    with open_mended_labels(base.path, path) as labels:
        np.testing.assert_array_equal(labels.read(WHOLE), states[-1])
        assert labels.journal.mend_count == 3


def test_history_names_user_time_and_what_was_done(base: LabelVolume, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    assert not path.exists()
    with ReviewJournal.open(path, base) as journal:
        assert not path.exists(), "made with the first mend"
        labels = MendedLabels(base, journal)
        change = change_of(labels.read(WHOLE), 5)
        entry = journal.append(change, "paint", "Painted  particle 5\n with a ball", case_id="m 5")
        assert entry.text == "Painted particle 5 with a ball"
        assert entry.user
        assert entry.made_at[:2] == "20"
        assert entry.voxels == change.voxels
        assert entry.labels == change.labels()
        assert journal.case_states() == {"m 5": "mended"}
        journal.undo()
        assert journal.case_states() == {}
        other = change_of(labels.read(WHOLE), 6)
        journal.append(other, "paint", "Another")
        journal.revert()
        assert journal.mend_count == 0
        journal.set_case_state("m 7", "rejected")
        journal.set_queue_position("m 7")
    with ReviewJournal.open(path, base, read_only=True) as journal:
        assert [e.state for e in journal.entries()] == ["dropped", "reverted", "applied"]
        assert [e.kind for e in journal.entries()] == ["paint", "paint", "revert"]
        assert journal.entries()[0].box == entry.box
        assert journal.case_states() == {"m 7": "rejected"}
        assert journal.queue_position == "m 7"
        with pytest.raises(ProjectError, match="read only"):
            journal.undo() if journal.can_undo else journal.set_queue_position("x")


def test_a_number_never_means_two_particles(base: LabelVolume, tmp_path: Path) -> None:
    with ReviewJournal.open(tmp_path / "review.sqlite", base) as journal:
        first = journal.next_label()
        assert first == base.count + 1
        before = base.read(WHOLE)
        after = before.copy()
        after[0, 0, :5] = first
        change = LabelChange(WHOLE, before, after, first)
        journal.append(change, "paint", "")
        journal.undo()
        assert journal.highest_label() == base.count
        assert journal.next_label() == first + 1
        with pytest.raises(InvalidValueError, match="have changed since"):
            journal.append(change, "paint", "made before the first one")


def test_a_preview_out_of_date_is_refused(base: LabelVolume, tmp_path: Path) -> None:
    with ReviewJournal.open(tmp_path / "review.sqlite", base) as journal:
        labels = MendedLabels(base, journal)
        box = Box((0, 0, 0), (60, 40, 60))
        before = labels.read(box)
        one, other = before.copy(), before.copy()
        one[5, 5, 5:20] = 1000
        other[:, :, 30:] = 0
        journal.append(LabelChange(box, before, one), "paint", "")
        with pytest.raises(InvalidValueError, match="have changed since"):
            journal.append(LabelChange(box, before, other), "erase", "")
        with pytest.raises(InvalidValueError, match="not change a single voxel"):
            journal.append(LabelChange(box, one, one), "erase", "")
        np.testing.assert_array_equal(labels.read(box), one)
        assert len(journal.entries()) == 1


def test_one_gesture_of_many_particles_is_one_entry(base: LabelVolume, tmp_path: Path) -> None:
    with ReviewJournal.open(tmp_path / "review.sqlite", base) as journal:
        labels = MendedLabels(base, journal)
        whole = labels.read(WHOLE)
        changes = []
        for x in (0, 30, 60):
            box = Box((0, 0, x), (70, 40, x + 30))
            changes.append(LabelChange(box, whole[box.slices], np.full(box.shape, x, np.uint32)))
        journal.append(iter(changes), "paint", "")
        assert len(journal.entries()) == 1
        journal.undo()
        np.testing.assert_array_equal(labels.read(WHOLE), whole)


def test_readers_see_whole_mends_while_others_are_made(base: LabelVolume, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    before = base.read(WHOLE)
    problems: list[str] = []
    stop = threading.Event()
    with ReviewJournal.open(path, base) as journal:
        labels = MendedLabels(base, journal)
        journal.append(LabelChange(WHOLE, before, np.full(SHAPE, 1, np.uint32)), "paint", "")

        def read_here() -> None:
            while not stop.is_set():
                if len(np.unique(labels.read(WHOLE))) != 1:
                    problems.append("half a mend in this process")

        def read_there() -> None:
            while not stop.is_set():
                with open_mended_labels(base.path, path) as seen:
                    if len(np.unique(seen.read(WHOLE))) != 1:
                        problems.append("half a mend from the disk")

        readers = [threading.Thread(target=work) for work in (read_here, read_here, read_there)]
        for reader in readers:
            reader.start()
        for value in range(2, 14):
            now = labels.read(WHOLE)
            journal.append(LabelChange(WHOLE, now, np.full(SHAPE, value, np.uint32)), "paint", "")
        stop.set()
        for reader in readers:
            reader.join()
        assert not problems
        unpickled = pickle.loads(pickle.dumps(labels))
        with unpickled:
            np.testing.assert_array_equal(unpickled.read(WHOLE), labels.read(WHOLE))


def test_a_second_writer_is_noticed(base: LabelVolume, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    with_mends(path, base, 1)
    with ReviewJournal.open(path, base) as mine, ReviewJournal.open(path, base) as other:
        assert other.undo() is not None
        with pytest.raises(ProjectError, match="changed by another program"):
            mine.undo()
        mine.refresh()
        assert mine.redo() is not None


def test_listeners_hear_box_and_labels(base: LabelVolume, tmp_path: Path) -> None:
    heard: list[tuple[Box, frozenset[int]]] = []
    with ReviewJournal.open(tmp_path / "review.sqlite", base) as journal:
        journal.add_listener(lambda box, labels: heard.append((box, labels)))
        change = change_of(base.read(WHOLE), 3)
        journal.append(change, "paint", "")
        journal.undo()
        journal.redo()
        assert [labels for _, labels in heard] == [change.labels()] * 3
        changed = np.zeros(SHAPE, bool)
        changed[change.box.slices] = change.before != change.after
        inside = np.zeros(SHAPE, bool)
        inside[heard[0][0].slices] = True
        assert not (changed & ~inside).any()


def test_a_journal_of_other_labels_is_refused(base: LabelVolume, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    with_mends(path, base, 1)
    others = base.read(WHOLE)
    others[0, 0, 0] = 3
    other = write_labels(tmp_path / "other.h5", others)
    with pytest.raises(ProjectError, match="belongs to other labels"):
        ReviewJournal.open(path, other)
    shutil.copy(base.path, tmp_path / "copy.h5")
    ReviewJournal.open(path, open_labels(tmp_path / "copy.h5")).close()


DAMAGE = {
    "no database": lambda path: path.write_bytes(b"not a database" * 500),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "empty": lambda path: path.write_bytes(b""),
    "header of WAL": lambda path: path.write_bytes(
        path.read_bytes()[:18] + b"\2\2" + path.read_bytes()[20:]
    ),
}
STATEMENTS = {
    "trigger": "CREATE TRIGGER t AFTER UPDATE ON entries BEGIN DELETE FROM blocks; END",
    "view": "CREATE VIEW v AS SELECT * FROM blocks",
    "table": "CREATE TABLE more (a)",
    "no table": "DROP TABLE cases",
    "application": "PRAGMA application_id = 7",
    "block of rubbish": "UPDATE blocks SET labels = randomblob(900)",
    "block of text": "UPDATE blocks SET labels = 'x'",
    "block outside": "UPDATE blocks SET z = z + 900",
    "touched never": "UPDATE blocks SET touched = 0",
    "state": "UPDATE entries SET state = 'lost'",
    "box": "UPDATE entries SET box = '[[0,0,0],[999,1,1]]'",
    "deep box": "UPDATE entries SET box = replace(printf('%050000d', 0), '0', '[')",
    "labels": "UPDATE entries SET labels = zeroblob(100)",
    "no labels": "DELETE FROM about",
    "order": "UPDATE entries SET state = 'undone' WHERE id = 1",
    "changes": "UPDATE changes SET difference = randomblob(50)",
    "number": "UPDATE entries SET voxels = 'many'",
    "case": "INSERT INTO cases VALUES ('a', x'00')",
}


def use(path: Path, base: LabelVolume) -> None:
    """What the window does with a journal: open, read everything, undo everything."""
    with open_mended_labels(base.path, path, read_only=False) as labels:
        labels.read(WHOLE)
        while labels.journal.undo() is not None:
            labels.read(WHOLE)


@pytest.mark.parametrize("kind", [*DAMAGE, *STATEMENTS])
def test_damage_is_told_in_one_sentence(kind: str, base: LabelVolume, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    with_mends(path, base, 3)
    if kind in DAMAGE:
        DAMAGE[kind](path)
    else:
        connection = sqlite3.connect(path)
        connection.execute(STATEMENTS[kind])
        connection.commit()
        connection.close()
    with pytest.raises(ProjectError, match=r"is damaged or not a journal\.") as caught:
        use(path, base)
    assert caught.value.remedy


def test_a_newer_journal_is_left_alone(base: LabelVolume, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    with_mends(path, base, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ProjectError, match="newer version"):
        use(path, base)


@pytest.mark.parametrize("seed", range(25))
def test_flipped_bytes_never_do_more_than_a_sentence(
    seed: int, base: LabelVolume, tmp_path: Path
) -> None:
    path = tmp_path / "review.sqlite"
    with_mends(path, base, 3)
    content = bytearray(path.read_bytes())
    rng = random.Random(seed)
    for _ in range(rng.choice([1, 8, 200])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)
    try:
        use(path, base)
    except ProjectError as error:
        assert error.sentence.endswith(".")


def test_a_small_blob_cannot_take_much_memory() -> None:
    bomb = zlib.compress(bytes(500 * 2**20), 9)
    for decode in (
        lambda: block_codec.decode_block(bomb, (64, 64, 64)),
        lambda: block_codec.apply_difference(bomb, np.zeros((64, 64, 64), np.uint32)),
        lambda: block_codec.decode_traces(bomb, SHAPE),
    ):
        with pytest.raises(block_codec.DamagedBlobError):
            decode()


def test_reading_without_mends_costs_next_to_nothing(base: LabelVolume, tmp_path: Path) -> None:
    import time

    with ReviewJournal.open(tmp_path / "review.sqlite", base) as journal:
        labels = MendedLabels(base, journal)
        journal.append(change_of(base.read(WHOLE), 1), "paint", "")
        journal.undo()
        started = time.process_time()
        for _ in range(200):
            labels.journal.present.overlay.paste(WHOLE, np.zeros((1, 1, 1), np.uint32))
        assert (time.process_time() - started) / 200 < 0.001
