"""The registry: one table for standard, added and users' modules, filled by imports in any order."""

import shutil
import subprocess
import sys

import pytest
from project import ROOT
from torch import nn

from ultralytics.nn import Addmodules, registry
from ultralytics.nn.registry import RegistryError, lookup, register

TUTORIAL_NAMES = ("AKConv", "LDConv", "ACmix", "C2f_DLKA", "deformable_LKA_Attention")
NEW_FILE = """
from torch import nn
from ultralytics.nn.registry import register

@register("c1, c2, *args", names=("Shuffle",), usage="[-1, 1, ChannelShuffleConv, [64]]")
class ChannelShuffleConv(nn.Conv2d):
    pass
"""


def python(code, folder=ROOT):
    """Output of a Python process that imports the package in `folder`."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", TUTORIAL_NAMES)
def test_names_of_the_tutorials_can_be_imported(name):
    code = f"from ultralytics.nn.Addmodules import {name} as cls; print(cls.__module__)"
    assert python(code).startswith("ultralytics.nn.Addmodules.")
    assert getattr(Addmodules, name) is lookup(name).cls


def test_star_import_gives_every_registered_name():
    names = {}
    exec("from ultralytics.nn.Addmodules import *", names)
    assert {name for name in registry.registered() if name in names} >= set(TUTORIAL_NAMES)
    assert names["LDConv"] is names["AKConv"]


def test_unknown_names_of_the_package():
    with pytest.raises(AttributeError, match=r"no attribute 'AKKonv'; it has .*AKConv"):
        Addmodules.AKKonv  # noqa: B018


def test_a_new_file_is_all_that_a_module_needs(tmp_path):
    shutil.copytree(ROOT / "ultralytics", tmp_path / "ultralytics", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "ultralytics" / "nn" / "Addmodules" / "shuffle.py").write_text(NEW_FILE, encoding="utf-8")
    code = (
        "from ultralytics.nn.tasks import DetectionModel\n"
        "rows = [[-1, 1, 'Conv', [8, 3, 2]], [-1, 1, 'Shuffle', [16, 3, 2, 1]], [[-1], 1, 'Detect', ['nc']]]\n"
        "network = DetectionModel({'nc': 2, 'backbone': rows[:2], 'head': rows[2:]}, verbose=False)\n"
        "from ultralytics.nn.Addmodules import ChannelShuffleConv, Shuffle\n"
        "print(type(network.model[1]) is Shuffle is ChannelShuffleConv, network.stride.tolist())"
    )
    assert python(code, tmp_path) == "True [4.0]"


def test_standard_modules_are_in_the_same_table():
    entries = registry.entries()
    assert entries["C2f"].signature == ("c1", "c2", "n", "*args")
    assert entries["Detect"].signature == ("*args", "ch", "legacy")
    assert entries["C2f"].is_standard and not entries["AKConv"].is_standard
    assert registry.registered().keys() == {name for name, entry in entries.items() if not entry.is_standard}


@pytest.mark.parametrize("first", ["from ultralytics import register", "import ultralytics.nn.Addmodules.acmix"])
def test_a_taken_name_is_an_error_in_any_order_of_imports(first):
    code = (
        f"{first}\nfrom ultralytics import register\nfrom torch import nn\n"
        "try:\n    @register('c1', names=('ACmix',))\n    class Other(nn.Identity): pass\n"
        "except ValueError as e: print(e)"
    )
    assert python(code) == (
        "'ACmix' is already registered by ultralytics.nn.Addmodules.acmix.ACmix; give __main__.Other another name"
    )


def test_a_class_that_is_defined_again_replaces_the_first():
    with registry.temporary():
        for _ in range(2):  # as a notebook cell that runs twice

            @register("c1")
            class Again(nn.Identity): ...

        assert lookup("Again").cls is Again
    assert lookup("Again") is None


@pytest.mark.parametrize("signature", ["c1, c3", "c1 c2", "c1, c2, args", ""])
def test_unknown_words_of_a_signature(signature):
    with pytest.raises(RegistryError, match=r"its words are c1, c2, n, \*args, ch, legacy"):
        register(signature)
