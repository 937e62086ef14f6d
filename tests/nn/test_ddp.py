"""Two processes train together: no parameter stays without a gradient, and both get the mean of the two.

DistributedDataParallel stops at the second step if a parameter had no gradient in the first. One pair of processes does
every module and network in turn, since starting them is what takes long; each test looks at one result.
"""

import json
import os
import sys
from copy import deepcopy
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from module_examples import Example, class_names, listed
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ultralytics.nn.tasks import DetectionModel, yaml_model_load

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="this torch has no gloo"
)

PROCESSES = 2
NETWORKS = ("yolov8n-AKConv.yaml", "yolov8n-ACmix.yaml", "yolov8n-DLKA.yaml")
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


class _Spare(nn.Linear):
    """A module as it must not be."""

    def __init__(self):
        super().__init__(3, 3)
        self.forgotten = nn.Parameter(torch.ones(2))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Name -> what each process found, see `_two_steps`."""
    folder = tmp_path_factory.mktemp("ddp")
    torch.multiprocessing.spawn(_work, (str(folder),), PROCESSES)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(PROCESSES)]


@pytest.mark.parametrize("name", [*class_names(), *NETWORKS])
def test_gradients_are_the_mean_of_both_processes(name, results):
    for found in results:
        assert found[name] == {"error": "", "steps": 2, "apart": 0.0, "off": pytest.approx(0, abs=1e-5)}


def test_a_parameter_without_a_gradient_is_found(results):
    for found in results:
        assert found["_Spare"]["steps"] == 1
        assert "Expected to have finished reduction in the prior iteration" in found["_Spare"]["error"]


def _work(rank, folder):
    """What one process does: all modules and networks, in the order that the other one has too."""
    torch.set_num_threads(1)
    if sys.platform in LOOPBACK:  # not the address of the machine's name
        os.environ["GLOO_SOCKET_IFNAME"] = LOOPBACK[sys.platform]
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES, timeout=timedelta(minutes=2)
    )
    subjects = dict.fromkeys(class_names(), _module) | dict.fromkeys(NETWORKS, _network) | {"_Spare": _spare}
    found = {name: _two_steps(*make(name), rank) for name, make in subjects.items()}
    distributed.destroy_process_group()
    with open(f"{folder}/{rank}.json", "w", encoding="utf-8") as f:
        json.dump(found, f)


def _two_steps(m, batches, loss, rank):
    """Error text, steps done, and the largest difference of gradients between processes and to the mean."""
    single = [_gradients(copied, loss(copied, batch)) for copied, batch in ((deepcopy(m), batch) for batch in batches)]
    expected = torch.stack(single).mean(0)
    together = DistributedDataParallel(m, find_unused_parameters=False)
    found = {"error": "", "steps": 0, "apart": 0.0, "off": 0.0}
    for _ in range(2):
        together.zero_grad()
        try:
            mine = _gradients(m, loss(together, batches[rank]))
        except RuntimeError as e:
            return found | {"error": str(e)}
        both = [torch.empty_like(mine) for _ in range(PROCESSES)]
        distributed.all_gather(both, mine)
        found["steps"] += 1
        found["apart"] = max(found["apart"], (both[0] - both[1]).abs().max().item())
        found["off"] = max(found["off"], ((mine - expected).abs().max() / expected.abs().max()).item())
    return found


def _gradients(m, loss):
    """All of them in one row; zeros where there is none."""
    loss.backward()
    kept = [p for p in m.parameters() if p.requires_grad]
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in kept])


def _module(name):
    case = Example(name)
    return case.module.train(), [case.inputs(9, 6, seed=rank) for rank in range(PROCESSES)], _squares


def _spare(_name):
    return _Spare(), [torch.randn(4, 3) for _ in range(PROCESSES)], _squares


def _squares(m, x):
    return sum(y.square().mean() for y in listed(m(x)))


def _network(name):
    """A sixteenth of the width, the real loss, and a square or two in every image."""
    torch.manual_seed(0)
    content = yaml_model_load(name) | {"scales": {"n": [0.33, 0.0625, 256]}}
    m = DetectionModel(content, nc=2, verbose=False).train()
    m.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    batches = [
        {
            "img": torch.rand(2, 3, 64, 96),
            "cls": torch.tensor([[0.0], [1.0], [0.0]]),
            "bboxes": torch.rand(3, 4) * 0.4 + 0.2,
            "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        }
        for _ in range(PROCESSES)
    ]
    return m, batches, lambda network, batch: network(batch)[0]
