"""A look at a database's bytes, while the process that looks has it open."""

import sqlite3
import subprocess
import sys
from contextlib import closing

from features.remnants import holds_any

WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("INSERT INTO told VALUES (?)", ("written by another",))
connection.commit()
connection.close()
"""


def test_bytes_are_found_in_the_file_and_in_its_log(tmp_path):
    path = tmp_path / "one.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE told (text)")
        connection.execute("INSERT INTO told VALUES ('anna was here')")
        connection.commit()
        assert holds_any(path, {b"nobody", b"anna was"})
        assert not holds_any(path, {b"nobody"})
    assert holds_any(path, {b"anna was"})


def test_who_looks_keeps_the_locks_that_its_connections_hold(tmp_path):
    path = tmp_path / "one.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE told (text)")
        connection.commit()
        assert connection.execute("SELECT count(*) FROM told").fetchone() == (0,)
        assert not holds_any(path, {b"anna"})
        subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True)
        # The other was not the last to leave: the log must be there still.
        assert path.with_name("one.db-wal").stat().st_size > 0
        assert connection.execute("SELECT count(*) FROM told").fetchone() == (1,)
