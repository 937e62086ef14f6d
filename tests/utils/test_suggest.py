"""Suggestions for misspelled names."""

import pytest

from ultralytics.utils.suggest import closest, did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "text"),
    [
        ("epoch", ["epochs", "patience"], "; did you mean 'epochs'?"),
        ("EPOCHS", ["epochs"], "; did you mean 'epochs'?"),
        ("zzz", ["epochs"], ""),
        ("hsv", ["hsv_h", "hsv_s", "mosaic"], "; did you mean 'hsv_s' or 'hsv_h'?"),
    ],
)
def test_did_you_mean(word, known, text):
    assert did_you_mean(word, known) == text


def test_the_most_similar_comes_first_in_its_own_case():
    assert closest("cov", ["Conv", "Concat", "C2f"]) == ["Conv"]
    assert closest("x", []) == []
