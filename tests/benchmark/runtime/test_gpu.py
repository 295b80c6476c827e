from __future__ import annotations

import torch

from benchmark.runtime.gpu import wait_for


def test_a_gpu_is_waited_for_and_a_cpu_is_not(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    wait_for("cpu")
    wait_for(torch.device("cpu"))
    assert waited == []
    wait_for("cuda:1")
    assert waited == ["cuda:1"]
