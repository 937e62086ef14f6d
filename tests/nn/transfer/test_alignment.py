"""Alignment: the best order of pairs, rows that were put in, taken out or exchanged, and modules inside rows."""

import pytest

from ultralytics.nn.modules import C3, Bottleneck, Conv
from ultralytics.nn.tasks import DetectionModel
from ultralytics.nn.transfer.alignment import align_rows, rows_of
from ultralytics.nn.transfer.module_pairs import best_pairs, pair_modules


@pytest.mark.parametrize(
    ("scores", "pairs"),
    [
        ([], []),
        ([[0.0]], []),
        ([[2, 1], [1, 2]], [(0, 0), (1, 1)]),
        ([[0, 3], [2, 0]], [(0, 1)]),  # both would cross
        ([[1, 3], [2, 1]], [(0, 1)]),  # 3 against 1 + 1
        ([[1, 3], [2, 2.5]], [(0, 0), (1, 1)]),  # 3.5 against 3
        ([[1, 1, 1]], [(0, 0)]),  # the earliest of equals
        ([[1], [1]], [(0, 0)]),
    ],
)
def test_best_pairs(scores, pairs):
    assert best_pairs(scores) == pairs


def aligned(source, target):
    return align_rows(*(rows_of(DetectionModel(d, verbose=False)) for d in (source, target)))


@pytest.mark.parametrize("at", [0, 1, 3, 7])
@pytest.mark.parametrize("row", [[-1, 1, "deformable_LKA_Attention", []], [-1, 1, "nn.Identity", []]])
def test_a_row_put_in_moves_all_later_ones(tiny, at, row, put_in):
    longer = put_in(tiny, at, row)
    kept = list(range(8))
    expected = {j + (j >= at): j for j in kept}
    assert aligned(tiny, longer) == expected
    assert aligned(longer, tiny) == {i: j for j, i in expected.items()}, "and taken out again"


def test_a_row_of_the_same_type_put_in(tiny, put_in):
    longer = put_in(tiny, 2, [-1, 1, "Conv", [16, 3, 1]])
    assert aligned(tiny, longer) == {0: 0, 1: 1, **{j + 1: j for j in range(2, 8)}}


def test_an_exchanged_row_shows_the_place_of_the_others(tiny):
    tiny["backbone"][3] = [-1, 1, "Conv", [16, 3, 2]]
    other = {**tiny, "backbone": [*tiny["backbone"][:3], [-1, 1, "AKConv", [16, 3, 2]]]}
    assert aligned(tiny, other) == {j: j for j in range(8)}


START = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 1]]]
CONV = [16, 3, 1]  # layers 2 and later have the same shapes


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        # the join reads the second of two equals
        (
            [[1, 1, "Conv", CONV], [[-1, 1], 1, "Concat", [1]]],
            [[1, 1, "Conv", CONV], [1, 1, "Conv", CONV], [[-1, 1], 1, "Concat", [1]]],
            {4: 3, 5: 4},
        ),
        # the join reads both, but one of them reads layer 2
        (
            [[1, 1, "Conv", CONV], [[-1, 2], 1, "Concat", [1]]],
            [[2, 1, "Conv", CONV], [1, 1, "Conv", CONV], [[-2, -1, 2], 1, "Concat", [1]]],
            {4: 3, 5: 4},
        ),
    ],
    ids=["by who reads it", "by what it reads"],
)
def test_equal_rows_are_told_apart_by_the_graph(source, target, expected):
    source, target = ({"nc": 3, "backbone": START, "head": rows} for rows in (source, target))
    assert aligned(source, target) == {0: 0, 1: 1, 2: 2, **expected}


def test_rows_of_the_head_meet_rows_of_the_head(tiny):
    tiny["backbone"][2:] = [[-1, 1, "C2f", [16]]]
    tiny["head"] = [[-1, 1, "C2f", [16]], [[-1], 1, "Detect", ["nc"]]]
    assert aligned(tiny, {**tiny, "backbone": tiny["backbone"][:2]}) == {0: 0, 1: 1, 2: 3, 3: 4}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("yolov8n", "yolov8s", {j: j for j in range(23)}),  # equal shapes one stage apart must not win
        ("yolo11s", "yolo11n", {j: j for j in range(24)}),
        # the pyramid goes one level further up and down: rows 16-21 are new, and with them the level at 1/4
        ("yolov8n", "yolov8n-p2", {**{j: j for j in range(16)}, **{j + 6: j for j in range(16, 23)}}),
    ],
)
def test_shipped_networks(source, target, expected):
    assert aligned(f"{source}.yaml", f"{target}.yaml") == expected


def test_chains_meet_in_their_first_links():
    pairs = {(a, b) for a, _, b, _ in pair_modules(C3(8, 8, 1), C3(8, 8, 3)) if a.startswith("m.")}
    assert ("m.0", "m.0") in pairs
    assert not any(b.startswith(("m.1", "m.2")) for _, b in pairs)


def test_one_copy_meets_the_first_of_several(tiny):
    tiny["backbone"][2] = [-1, 1, "Bottleneck", [16]]
    deeper = {**tiny, "backbone": [*tiny["backbone"][:2], [-1, 3, "Bottleneck", [16]], tiny["backbone"][3]]}
    one, three = (DetectionModel(d, verbose=False).model[2] for d in (tiny, deeper))
    assert isinstance(one, Bottleneck) and len(three) == 3
    names = [(a, b) for a, m, b, _ in pair_modules(one, three) if isinstance(m, Conv)]
    assert names == [("cv1", "0.cv1"), ("cv2", "0.cv2")]
    assert [(b, a) for a, m, b, _ in pair_modules(three, one) if isinstance(m, Conv)] == names
