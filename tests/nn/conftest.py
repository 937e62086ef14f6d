"""What the tests of the networks share: the official package's figures, their recipe, and a network of a few layers."""

import importlib
import importlib.util
import json
import sys
from copy import deepcopy
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"

TINY = {
    "nc": 3,
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "C2f", [16, True]],
        [-1, 1, "Conv", [16, 3, 2]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 1, "C2f", [16]],
        [[6, 3], 1, "Detect", ["nc"]],
    ],
}


@pytest.fixture
def tiny():
    """Content of a model file with eight layers and two levels."""
    return deepcopy(TINY)


def _put_in(d, at, row):
    # rows that read the row before `at` read the new one instead
    d = {**d, "backbone": [*d["backbone"]], "head": [*d["head"]]}
    rows = [*d["backbone"], *d["head"]]

    def moved(x):
        return x if x < 0 else x + (x >= at - 1)

    rows = [[[moved(x) for x in f] if isinstance(f, list) else moved(f), *rest] for f, *rest in rows]
    rows[at:at] = [row]
    split = len(d["backbone"]) + (at <= len(d["backbone"]))
    return {**d, "backbone": rows[:split], "head": rows[split:]}


@pytest.fixture
def put_in():
    """Function (content, at, row) -> content of a model file with one row more and all `from` numbers set right."""
    return _put_in


@pytest.fixture(scope="session")
def recipe():
    """The script that made the golden figures: its inputs, weights and fingerprints."""
    spec = importlib.util.spec_from_file_location("make_networks", GOLDEN / "make_networks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def families():
    """The script that made the golden figures of all families, see golden/make_families.py."""
    sys.path.insert(0, str(GOLDEN))  # it imports the script beside it
    try:
        return importlib.import_module("make_families")
    finally:
        sys.path.remove(str(GOLDEN))


@pytest.fixture(scope="session")
def families_golden():
    """What the official package computed for all families."""
    return json.loads((GOLDEN / "families.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def golden():
    """What the official package computed, see golden/make_networks.py."""
    return json.loads((GOLDEN / "networks.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def assert_fingerprint(recipe):
    """Compare a tensor with the fingerprint of the official one."""

    def check(tensor, expected, rtol=1e-5, atol=2e-5):
        result = recipe.fingerprint(tensor)
        assert result["shape"] == expected["shape"]
        assert result["mean_abs"] == pytest.approx(expected["mean_abs"], rel=rtol)
        assert result["samples"] == pytest.approx(expected["samples"], rel=rtol, abs=atol)

    return check
