"""Order, seeds, workers."""

import numpy as np
import pytest
import torch
from test_dataset import make
from toy_dataset import make_dataset

from ultralytics.data import image_cache
from ultralytics.data.loader import EpochOrder, build_dataloader


def epoch(loader):
    return [(b["im_file"], b["img"].clone(), b["bboxes"].clone()) for b in loader]


def same(one, two):
    return len(one) == len(two) and all(
        a[0] == b[0] and torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) for a, b in zip(one, two, strict=True)
    )


def files(batches):
    return [name for batch in batches for name in batch[0]]


def test_an_epoch_is_every_image_once(toy):
    dataset = make(toy, augment=True)
    loader = build_dataloader(dataset, 4, 0)
    assert len(loader) == 2
    one, two = epoch(loader), epoch(loader)
    assert [len(b[0]) for b in one] == [4, 2]  # the rest is not dropped
    assert sorted(files(one)) == sorted(files(two)) == list(dataset.im_files)
    assert files(one) != files(two)


def test_batch_larger_than_the_dataset(toy):
    loader = build_dataloader(make(toy), 100, 0, shuffle=False)
    assert (len(loader), loader.batch_size) == (1, 6)
    assert files(epoch(loader)) == list(loader.dataset.im_files)


def test_seed_and_epoch_decide(toy):
    """In 8.3.0 neither order nor augmentation depends on the seed."""

    def run(seed):
        loader = build_dataloader(make(toy, augment=True), 4, 0, seed=seed)
        return [epoch(loader) for _ in range(2)]

    first, again, other = run(0), run(0), run(1)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not same(first[0], first[1])
    assert not same(first[0], other[0])
    assert files(first[0]) != files(other[0])


@pytest.mark.parametrize("large", [False, True])
def test_workers_do_not_change_what_comes(tmp_path, monkeypatch, large):
    if large:  # images are kept for a part of the epoch only
        monkeypatch.setattr(image_cache, "STORE_BYTES", 0)
        monkeypatch.setattr(image_cache, "WINDOW_BATCHES", 8)
        monkeypatch.setattr(image_cache, "WINDOW_MARGIN", 2)
    file = make_dataset(tmp_path, n=20)
    runs = []
    for workers in (0, 2):
        loader = build_dataloader(make(file, augment=True, batch_size=2), 2, workers)
        assert loader.dataset.images.whole != large
        runs.append([epoch(loader) for _ in range(2)])
        loader.reset()
    assert all(same(a, b) for a, b in zip(*runs, strict=True))


def test_reset_shows_the_workers_what_changed(toy):
    from test_augment import OFF

    loader = build_dataloader(make(toy, augment=True, hyp={**OFF, "mosaic": 1.0}), 6, 1, shuffle=False)
    plain = torch.stack([make(toy)[i]["img"] for i in range(6)])
    (before,) = epoch(loader)
    loader.dataset.close_mosaic(None)
    loader.reset()
    (after,) = epoch(loader)
    loader.reset()
    assert not torch.equal(before[1], plain)
    assert torch.equal(after[1], plain)


def test_resume_and_a_loop_left_early(toy):
    straight = build_dataloader(make(toy, augment=True), 2, 0)
    epochs = [epoch(straight) for _ in range(3)]
    resumed = build_dataloader(make(toy, augment=True), 2, 0)
    resumed.set_epoch(2)
    assert same(epoch(resumed), epochs[2])
    left = build_dataloader(make(toy, augment=True), 2, 0)
    for _ in left:
        break
    assert left.epoch == 0
    assert same(epoch(left), epochs[1])
    assert left.epoch == 2


def test_orders():
    order = EpochOrder(10, shuffle=True, seed=3)
    assert sorted(order(0)) == list(range(10))
    assert order(0).tolist() == order(0).tolist() != order(1).tolist()
    assert EpochOrder(10, shuffle=False, seed=3)(5).tolist() == list(range(10))


@pytest.mark.parametrize("n", [10, 12, 2])
def test_processes_share_an_epoch(n):
    shares = [EpochOrder(n, shuffle=True, seed=0, rank=r, world=4) for r in range(4)]
    lengths = {len(s) for s in shares}
    drawn = np.concatenate([s(1) for s in shares])
    assert lengths == {-(-n // 4)}
    assert set(drawn.tolist()) == set(range(n))
    assert len(drawn) == 4 * len(shares[0])


def test_rank_of_a_distributed_run(toy, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    dataset = make(toy, augment=True)
    seen = [files(epoch(build_dataloader(dataset, 2, 0, rank=rank))) for rank in (0, 1)]
    assert [len(s) for s in seen] == [3, 3]
    assert sorted(seen[0] + seen[1]) == list(dataset.im_files)


def test_rect_keeps_its_order(toy):
    with pytest.raises(ValueError, match="rect=True keeps its order"):
        build_dataloader(make(toy, rect=True), 2, 0, shuffle=True)
    loader = build_dataloader(make(toy, rect=True, batch_size=2), 2, 0, shuffle=False)
    assert [b[1].shape[2:] for b in epoch(loader)] == [tuple(s) for s in loader.dataset.batch_shapes.tolist()]


def test_an_error_in_a_worker_reaches_the_caller(toy):
    loader = build_dataloader(make(toy, augment=True), 2, 1)
    loader.dataset.table.boxes = None
    with pytest.raises(TypeError, match="NoneType"):
        next(iter(loader))
    loader.reset()
