from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.runtime.atomic import replacing
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
from benchmark.runtime.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def aged(path: Path, hours: float) -> Path:
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))
    return path


def test_what_a_killed_process_left_in_a_cache_goes_after_a_day(fresh_home: Path) -> None:
    folder = cache_dir() / "deep"
    subprocess.run([sys.executable, "-c", KILLED, str(folder / "a.json")], check=False)
    (left,) = folder.iterdir()
    older = folder / ".a.json.abcdefgh.part"  # of a version that did not name the process
    older.write_text("half")
    packed = folder / ".entry.999999999.abcdefgh.part"
    (packed / "new").mkdir(parents=True)
    finished = folder / "b.json"
    finished.write_text("whole")
    with replacing(folder / "c.json") as mine:
        every = {left, older, packed, finished, mine}
        for path in every:
            aged(path, 25)
        assert cache_dir().joinpath("deep").is_dir()
        assert set(folder.iterdir()) == every, "it was looked through within the day"
        aged(cache_dir() / ".looked", 25)
        aged(left, 23)
        cache_dir()
        assert set(folder.iterdir()) == {left, finished, mine}, "the one is too young, the other's writer lives"
        aged(cache_dir() / ".looked", 25)
        aged(left, 25)
        cache_dir()
        assert set(folder.iterdir()) == {finished, mine}


def test_a_cache_that_cannot_be_written_to_is_left_alone(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object, **_settings: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "touch", refused)
    assert cache_dir().is_dir()
