"""Devices, seeds, moving average, early stopping."""

import math
import platform
import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from ultralytics.utils.torch_utils import (
    EarlyStopping,
    ModelEMA,
    images_to_device,
    init_seeds,
    intersect_dicts,
    keep_freed_memory,
    kept_rng,
    max_stride,
    random_rescale,
    rng_state,
    select_device,
    set_rng_state,
    unwrap,
)


@pytest.mark.parametrize("text", ["cpu", "CPU", torch.device("cpu")])
def test_cpu(text):
    assert select_device(text) == torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "message"),
    [("7", "CUDA devices"), (63, "CUDA devices"), ("0,1", "one device"), ([0, 1], "one device"), ("tpu", "use cpu")],
)
def test_impossible_devices(device, message):
    with pytest.raises(ValueError, match=message):
        select_device(device)


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def test_seed_repeats_all_streams():
    init_seeds(5)
    first = draw()
    init_seeds(5)
    assert draw() == first
    init_seeds(6)
    assert draw() != first


def test_new_memory_is_not_filled_first():
    init_seeds(0, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(False)


def test_rng_state_goes_on_where_it_was(tmp_path):
    init_seeds(1)
    draw()
    torch.save(rng_state(), tmp_path / "rng.pt")
    expected = draw()
    draw()
    set_rng_state(torch.load(tmp_path / "rng.pt", weights_only=True))  # nothing but plain types inside
    assert draw() == expected


def test_kept_rng():
    init_seeds(2)
    expected = draw()
    init_seeds(2)
    with kept_rng():
        draw()
    assert draw() == expected


def test_ema_follows_the_formula():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ema = ModelEMA(net)
    literal = {k: v.clone() for k, v in net.state_dict().items()}
    for u in range(1, 4):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(1.0)
            net[1].num_batches_tracked += 1
            net[1].running_mean += 0.5
        ema.update(net)
        decay = 0.9999 * (1 - math.exp(-u / 2000))
        for k, v in net.state_dict().items():
            if v.is_floating_point():
                literal[k] = decay * literal[k] + (1 - decay) * v
    for k, v in ema.ema.state_dict().items():
        torch.testing.assert_close(v, literal[k])
    assert int(ema.ema[1].num_batches_tracked) == 0


@pytest.mark.parametrize(("updates", "decay"), [(1, 0.00049983), (100, 0.0487657), (2000, 0.632057)])
def test_ema_decay(updates, decay):
    assert ModelEMA(nn.Linear(1, 1)).decay(updates) == pytest.approx(decay, rel=1e-5)


def test_early_stopping_counts_from_the_best():
    stopper = EarlyStopping(patience=3)
    answers = [stopper(e, f) for e, f in enumerate([0.1, 0.3, 0.2, 0.2, 0.2], start=1)]
    assert answers == [False, False, False, False, True]
    assert stopper.best_epoch == 2 and stopper.best_fitness == 0.3
    again = EarlyStopping(patience=3)
    again.load_state_dict(stopper.state_dict())
    assert again(6, 0.1) is True


def test_early_stopping_off():
    stopper = EarlyStopping(0)
    assert not any(stopper(e, 0.0 if e > 1 else 1.0) for e in range(1, 500))
    assert EarlyStopping(1)(1, None) is False


def test_freed_memory_is_kept_only_where_nobody_chose_otherwise(monkeypatch):
    keep_freed_memory.cache_clear()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert keep_freed_memory() is False
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    keep_freed_memory.cache_clear()
    glibc = platform.libc_ver()[0] == "glibc"
    assert keep_freed_memory() is glibc
    keep_freed_memory.cache_clear()
    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_freed_memory() is False
    keep_freed_memory.cache_clear()


def test_images_to_device():
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)
    moved = images_to_device(images, torch.device("cpu"))
    torch.testing.assert_close(moved, images.float() / 255)
    assert moved.is_contiguous(memory_format=torch.channels_last) and images[0, 0, 0, 1] == 1
    assert images_to_device(images, torch.device("cpu"), torch.float16).dtype == torch.float16


@pytest.mark.parametrize(("strides", "least", "expected"), [([8, 16], 32, 32), ([8, 64], 32, 64), ([8, 16], 1, 16)])
def test_max_stride(strides, least, expected):
    net = nn.Linear(1, 1)
    net.stride = torch.tensor(strides)
    assert max_stride(net, least) == expected


def test_random_rescale_keeps_the_aspect_and_the_stride():
    random.seed(0)
    images, shapes = torch.rand(2, 3, 64, 96), set()
    for _ in range(60):
        scaled = random_rescale(images, imgsz=96, stride=32)
        height, width = scaled.shape[2:]
        assert height % 32 == width % 32 == 0 and 32 <= width <= 160 and abs(height - width * 64 / 96) < 32
        assert scaled is images or (height, width) != (64, 96)
        shapes.add(width)
    assert shapes == {32, 64, 96, 128, 160}


@pytest.mark.parametrize(("number", "imgsz", "smallest"), [(1, 64, 64), (2, 64, 32), (1, 32, 32), (2, 32, 32)])
def test_random_rescale_leaves_enough_cells_for_batch_normalization(number, imgsz, smallest):
    random.seed(0)
    images = torch.rand(number, 3, imgsz, imgsz)
    sizes = {random_rescale(images, imgsz, stride=32).shape[2] for _ in range(60)}
    assert min(sizes) == smallest < max(sizes)


def test_intersect_dicts():
    a = {"x": torch.zeros(2), "y": torch.zeros(3), "z.bias": torch.zeros(1)}
    b = {"x": torch.ones(2), "y": torch.ones(4), "z.bias": torch.ones(1)}
    assert list(intersect_dicts(a, b)) == ["x", "z.bias"]
    assert list(intersect_dicts(a, b, exclude=("z",))) == ["x"]


def test_unwrap():
    net = nn.Linear(1, 1)
    assert unwrap(nn.DataParallel(net)) is net
    assert unwrap(net) is net
