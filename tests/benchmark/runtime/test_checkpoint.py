from __future__ import annotations

import torch

from benchmark.runtime.checked import intact
from benchmark.runtime.checkpoint import save_checkpoint


def test_it_is_read_again_and_carries_a_checksum(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 3, "weights": torch.arange(4.0)})
    assert intact(path)
    state = torch.load(path, weights_only=True)
    assert state["step"] == 3
    torch.testing.assert_close(state["weights"], torch.arange(4.0))


def test_one_that_cannot_be_written_leaves_the_older_one(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    try:
        save_checkpoint(path, {"step": lambda: None})  # which no pickle takes
    except Exception:
        assert torch.load(path, weights_only=True) == {"step": 1}
        assert intact(path)
    else:
        raise AssertionError("a function was saved")
