from __future__ import annotations

from pathlib import Path

import pytest

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
