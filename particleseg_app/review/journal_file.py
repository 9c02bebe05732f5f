"""The SQLite file of a journal: made whole or not at all, and checked before it is believed.

A journal may come from elsewhere with its project, so its file is hostile until checked: it must
have exactly the tables that this program makes (no trigger, view or index of anyone else), and no
value may be larger than the journal could have written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from particleseg_app.durable_files import part_file
from particleseg_app.errors import ProjectError
from particleseg_app.review.block_codec import DamagedBlobError

APPLICATION_ID = 0x50535256  # "PSRV"
FORMAT_VERSION = 1
LONGEST_VALUE = 64 * 2**20  # bytes, of a text or a blob
# A power cut after a commit cannot take it back: also the folder is flushed.
SYNCHRONOUS = "EXTRA"
_BUSY_S = 10.0

TABLES = {
    "about": "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "entries": (
        "CREATE TABLE entries (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, text TEXT NOT NULL, "
        "user TEXT NOT NULL, made_at TEXT NOT NULL, state TEXT NOT NULL, box TEXT NOT NULL, "
        "voxels INTEGER NOT NULL, labels BLOB NOT NULL, case_id TEXT NOT NULL, "
        "case_before TEXT NOT NULL, case_after TEXT NOT NULL)"
    ),
    "changes": (
        "CREATE TABLE changes (entry INTEGER NOT NULL, z INTEGER NOT NULL, y INTEGER NOT NULL, "
        "x INTEGER NOT NULL, difference BLOB NOT NULL, PRIMARY KEY (entry, z, y, x))"
    ),
    "blocks": (
        "CREATE TABLE blocks (z INTEGER NOT NULL, y INTEGER NOT NULL, x INTEGER NOT NULL, "
        "touched INTEGER NOT NULL, labels BLOB NOT NULL, PRIMARY KEY (z, y, x))"
    ),
    "cases": "CREATE TABLE cases (id TEXT PRIMARY KEY, state TEXT NOT NULL)",
}


def create_journal_file(path: Path, about: dict[str, str]) -> None:
    """Make an empty journal; it appears under its name only when it is whole."""
    with journal_errors(path), part_file(path) as part:
        part.unlink(missing_ok=True)
        connection = sqlite3.connect(part, isolation_level=None)
        try:
            # The file is flushed and renamed once it is whole: it needs no journal of its own.
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("BEGIN")
            for statement in TABLES.values():
                connection.execute(statement)
            connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            connection.execute("COMMIT")
        finally:
            connection.close()


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a journal's file and check that it is one; raise `ProjectError`.

    Also to be read only the file is opened for writing where that is allowed, because SQLite has
    to take back what a killed program left half done; nothing else is ever written then.
    """
    with journal_errors(path):
        _check_header(path)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_S,
        )
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            for setting in (
                "trusted_schema = OFF",
                "cell_size_check = ON",
                "mmap_size = 0",
                f"synchronous = {SYNCHRONOUS}",
            ):
                connection.execute(f"PRAGMA {setting}")
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            _check_schema(path, connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(100)
    # Bytes 18 and 19: a rollback journal, the only kind that this program makes.
    if len(header) < 100 or header[:16] != b"SQLite format 3\0" or header[18:20] != b"\1\1":
        raise damaged(path)


def _check_schema(path: Path, connection: sqlite3.Connection) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise damaged(path)
    if connection.execute("PRAGMA user_version").fetchone()[0] > FORMAT_VERSION:
        raise ProjectError(
            f"The journal of mends {path} was written by a newer version of ParticleSeg.",
            "Install the newest version to open it; nothing was changed.",
        )
    found = {}
    for kind, name, statement in connection.execute("SELECT type, name, sql FROM sqlite_schema"):
        if kind == "index" and statement is None and str(name).startswith("sqlite_autoindex_"):
            continue
        found[name] = statement if kind == "table" else None
    if found != TABLES:
        raise damaged(path)


def damaged(path: Path) -> ProjectError:
    return ProjectError(
        f"The journal of mends {path} is damaged or not a journal.",
        "Put back a copy of it from a backup, or move it away to go on without its mends; "
        "the segmentation itself is untouched.",
    )


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the operating system say about the file into a `ProjectError`."""
    try:
        yield
    except ProjectError:
        raise
    except DamagedBlobError as error:
        raise damaged(path) from error
    except sqlite3.Error as error:
        raise _explained(path, error) from error
    except OSError as error:
        raise ProjectError(
            f"The journal of mends {path} cannot be opened or written ({error.strerror or error}).",
            "Check your permissions and the free space of the disk.",
        ) from error


def _explained(path: Path, error: sqlite3.Error) -> ProjectError:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return ProjectError(
            f"The journal of mends {path} is in use by another program.", "Try again."
        )
    if code.startswith("SQLITE_FULL"):
        return ProjectError(
            f"There is no space left on the disk of {path}.",
            "Free some space and try again; the mends made so far are safe.",
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
        return ProjectError(
            f"The journal of mends {path} cannot be opened or written ({error}).",
            "Check your permissions and that the drive is still connected.",
        )
    return damaged(path)
