"""Fixtures of all tests: shared datasets, a tiny model and dataset, no network access, a separate settings folder."""

from __future__ import annotations

import os
from pathlib import Path

# small models are slower with several threads; set before torch is imported, also for child processes
os.environ["OMP_NUM_THREADS"] = "1"
# without a GPU, Triton kernels are tested in Triton's interpreter, which reads this at import
os.environ.setdefault("TRITON_INTERPRET", "0" if Path("/dev/nvidiactl").exists() else "1")

import socket

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _shared(name: str) -> Path:
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the shared dataset '{name}' is missing (searched ../shared/data)")
    return folder


@pytest.fixture(scope="session")
def bccd() -> Path:
    """Folder of the BCCD images (images/{train,val,test}, labels, bccd.yaml), read only."""
    return _shared("bccd")


@pytest.fixture(scope="session")
def coco128() -> Path:
    """Folder of COCO images (images/{train2017,val2017}, labels, labels-seg, coco128.yaml), read only."""
    return _shared("coco128")


@pytest.fixture(scope="session")
def bccd_crops() -> Path:
    """Folder of cells cut out of the BCCD images, three classes (train, val), read only."""
    return _shared("bccd-crops")


@pytest.fixture(autouse=True)
def _no_outside_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that connects to the network fails; local sockets (worker processes) are allowed."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and not (isinstance(address, tuple) and str(address[0]).startswith("127.")):
            raise AssertionError(f"a test tried to connect to the network: {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True, scope="session")
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor write the settings of the user."""
    os.environ["YOLO_CONFIG_DIR"] = str(tmp_path_factory.mktemp("settings"))


TINY_MODEL = """\
# a detector of five thousand weights with the three levels of the standard models
nc: 2
scales: {n: [0.33, 0.125, 1024]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, C2f, [128, True]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, SPPF, [128, 5]]
head:
  - [[3, 4, 6], 1, Detect, [nc]]
"""


@pytest.fixture(scope="session")
def tiny_model_text() -> str:
    """Text of a model file so small that a training step takes milliseconds."""
    return TINY_MODEL


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """That model file on disk."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_MODEL, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset file with 12 training and 6 validation images: bright squares (class 0) and dark ones (class 1)."""
    import cv2
    import numpy as np

    root = tmp_path_factory.mktemp("小 data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(90, 140, (64, 96, 3), dtype=np.uint8)
            lines = []
            for c in (0, 1):
                w, h = rng.integers(16, 30, 2)
                x, y = int(rng.integers(0, 96 - w)), int(rng.integers(0, 64 - h))
                image[y : y + h, x : x + w] = 250 if c == 0 else 5
                lines.append(f"{c} {(x + w / 2) / 96:.6f} {(y + h / 2) / 64:.6f} {w / 96:.6f} {h / 64:.6f}")
            (root / "images" / split / f"{i}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
            (root / "labels" / split / f"{i}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [bright, dark]\n")
    return root / "data.yaml"
