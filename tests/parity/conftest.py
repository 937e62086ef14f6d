"""Fixture of the comparisons: the inputs and weights that both packages use."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recipe():
    """The module recipe.py."""
    spec = importlib.util.spec_from_file_location("parity_recipe", Path(__file__).with_name("recipe.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
