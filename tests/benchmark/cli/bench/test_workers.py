"""Benches of whole entries draw their own photos, and say so where a track that reads photos is named."""

from __future__ import annotations

import pytest
from command_line import run

from benchmark.interfaces import FaceVeilError


@pytest.mark.parametrize("command", ["workers", "evaluate"])
def test_a_track_that_reads_photos_is_refused_with_those_that_can_be_named(fresh_home, command):
    with pytest.raises(FaceVeilError, match=r"'camera-112' reads photos.*synthetic-quick, synthetic-smoke"):
        run("bench", command, "--track", "camera-112")
    assert not any(fresh_home.rglob("*.npy")), "before any work"
