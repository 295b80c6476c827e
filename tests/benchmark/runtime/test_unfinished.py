from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.runtime.atomic import replacing, replacing_folder
from benchmark.runtime.home import cache_dir
from benchmark.runtime.unfinished import remove_unfinished, removed_at_the_end


def broken_off(path: Path) -> None:
    with removed_at_the_end(path):
        path.touch()
        raise KeyboardInterrupt


def test_passing_files_and_folders_are_removed_whatever_ends_the_block(tmp_path: Path) -> None:
    with removed_at_the_end(tmp_path / "well") as path:
        path.mkdir()
        (path / "inside").touch()
    with pytest.raises(KeyboardInterrupt):
        broken_off(tmp_path / "broken")
    with removed_at_the_end(tmp_path / "renamed") as path:
        path.touch()
        path.rename(tmp_path / "kept")
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


def test_a_process_that_does_not_leave_its_blocks_removes_what_is_half_written(tmp_path: Path) -> None:
    with removed_at_the_end(tmp_path / "half") as path:
        path.touch()
        remove_unfinished()
        assert not path.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from benchmark.runtime.atomic import replacing, replacing_folder
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def aged(path: Path, hours: float) -> Path:
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))
    return path


def killed(script: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=False)


def test_what_killed_processes_left_in_a_cache_goes_with_the_next_look(fresh_home: Path) -> None:
    folder = cache_dir() / "deep"
    with replacing(folder / "c.json") as mine:
        killed(KILLED, folder / "a.json")
        (left,) = set(folder.iterdir()) - {mine}
        older = folder / ".a.json.abcdefgh.part"  # of a version that did not name the process
        older.write_text("half")
        elsewhere = folder / ".entry.00000000-1.abcdefgh.part"
        (elsewhere / "new").mkdir(parents=True)
        finished = folder / "b.json"
        finished.write_text("whole")
        aged(mine, 25)
        every = {left, older, elsewhere, finished, mine}
        cache_dir()
        assert set(folder.iterdir()) == every, "it was looked through within the day"
        aged(cache_dir() / ".looked", 25)
        cache_dir()
        assert set(folder.iterdir()) == every - {left}, "of the others nobody knows whether they live"
        for path in (older, elsewhere):
            aged(path, 25)
        aged(cache_dir() / ".looked", 25)
        cache_dir()
        assert set(folder.iterdir()) == {finished, mine}


AGAIN = """
import sys
from pathlib import Path
from benchmark.runtime.atomic import write_text
write_text(Path(sys.argv[1]), "whole")
"""


def test_what_a_killed_process_left_beside_an_output_goes_when_somebody_writes_there(tmp_path: Path) -> None:
    killed(KILLED, tmp_path / "made.json")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".made.json.")
    assert left.suffix == ".part"
    users = tmp_path / ".mine.123.part"
    users.write_text("a user's own")
    elsewhere = tmp_path / ".made.json.00000000-999999999.abcdefgh.part"
    elsewhere.write_text("of another machine")
    with replacing(tmp_path / "made.json") as living:
        killed(AGAIN, tmp_path / "other.json")
        assert set(tmp_path.iterdir()) == {living, users, elsewhere, tmp_path / "other.json"}
    aged(elsewhere, 25)
    aged(users, 1000)
    killed(AGAIN, tmp_path / "other.json")
    assert set(tmp_path.iterdir()) == {users, tmp_path / "made.json", tmp_path / "other.json"}


KILLED_FOLDER = """
import os, signal, sys
from pathlib import Path
from benchmark.runtime import atomic
with atomic.replacing_folder(Path(sys.argv[1])) as folder:
    (folder / "weights").write_text(sys.argv[2])
    count, real = 0, os.replace
    def replace(source, target):
        global count
        if count == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        real(source, target)
    os.replace = replace
"""


def test_a_folder_is_the_older_or_the_newer_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    out = tmp_path / ("of a name that is longer than " * 3)
    for moment, number in ((9, "1"), (0, "2"), (9, "3")):
        killed(KILLED_FOLDER, out, number, moment)
        expected = "1" if number == "2" else number
        assert (out / "weights").read_text() == expected
    assert list(tmp_path.iterdir()) == [out]

    killed(KILLED_FOLDER, out, "4", 1)  # the older stepped aside
    (left,) = tmp_path.iterdir()
    assert left != out
    killed(AGAIN, tmp_path / "other.json")
    assert left.exists(), "it holds the only copy"
    with pytest.raises(RuntimeError), replacing_folder(out):
        raise RuntimeError
    assert (out / "weights").read_text() == "4"
    assert set(tmp_path.iterdir()) == {out, tmp_path / "other.json"}


def test_a_cache_that_cannot_be_written_to_is_left_alone(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object, **_settings: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "touch", refused)
    assert cache_dir().is_dir()


def test_a_disk_s_error_names_the_output_not_its_passing_name(tmp_path: Path) -> None:
    def read_only(folder: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(folder / "weights"))

    with pytest.raises(OSError, match="Read-only") as told, replacing_folder(tmp_path / "made") as folder:
        read_only(folder)
    assert told.value.filename == str(tmp_path / "made")
    with pytest.raises(OSError, match="Read-only") as told, replacing_folder(tmp_path / "made"):
        read_only(tmp_path / "another")
    assert told.value.filename == str(tmp_path / "another" / "weights")
