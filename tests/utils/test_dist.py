"""Facts of a distributed run: in one process, from the environment, and in two gloo processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import ultralytics
from ultralytics.utils import dist

ROOT = Path(ultralytics.__file__).resolve().parents[1]
WORKER = """
import sys, torch.distributed as td
from datetime import timedelta
from ultralytics.utils import dist
td.init_process_group("gloo", timeout=timedelta(seconds=60))
order = open(sys.argv[1], "a")
with dist.main_process_first():
    print(f"first {dist.rank()}", file=order, flush=True)
sent = dist.broadcast(f"from {dist.rank()}")
print(dist.rank(), dist.world_size(), sent, dist.on_main_process(lambda: dist.rank() + 7))
def fail():
    raise OSError("disk full")
try:
    dist.on_main_process(fail)
except (OSError, RuntimeError) as e:
    print(type(e).__name__, e)
dist.barrier()
td.destroy_process_group()
"""


def test_a_single_process(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (dist.rank(), dist.local_rank(), dist.world_size(), dist.is_main_process()) == (-1, -1, 1, True)
    assert dist.broadcast({"a": 1}) == {"a": 1}
    assert dist.on_main_process(lambda: 3) == 3
    dist.barrier()


@pytest.mark.parametrize(("text", "rank", "main"), [("", -1, True), ("0", 0, True), ("3", 3, False), ("x", -1, True)])
def test_the_environment_is_read_at_every_call(monkeypatch, text, rank, main):
    monkeypatch.setenv("RANK", text)
    assert (dist.rank(), dist.is_main_process()) == (rank, main)


def test_two_processes_agree(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script, order = tmp_path / "worker.py", tmp_path / "order.txt"
    script.write_text(WORKER)
    shared = {**os.environ, "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(order)],
            env={**shared, "RANK": str(i), "LOCAL_RANK": str(i), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in (0, 1)
    ]
    outputs = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    assert outputs[0][0].splitlines() == ["0 2 from 0 7", "OSError disk full"]
    assert outputs[1][0].splitlines() == ["1 2 from 0 7", "RuntimeError rank 0 failed: OSError: disk full"]
    assert order.read_text().splitlines() == ["first 0", "first 1"]
