"""Fixtures that all tests share: the real data sets beside the project, no network, a settings folder of its own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _shared(name: str) -> Path:
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the shared data set '{name}' is not beside the project (looked in ../shared/data)")
    return folder


@pytest.fixture(scope="session")
def bccd() -> Path:
    """Folder of the BCCD photographs (images/{train,val,test}, labels, bccd.yaml), read only."""
    return _shared("bccd")


@pytest.fixture(scope="session")
def coco128() -> Path:
    """Folder of the COCO photographs (images/{train2017,val2017}, labels, labels-seg, coco128.yaml), read only."""
    return _shared("coco128")


@pytest.fixture(autouse=True)
def _no_outside_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for the network fails; local sockets (worker processes) stay possible."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and not (isinstance(address, tuple) and str(address[0]).startswith("127.")):
            raise AssertionError(f"a test tried to reach the network: {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True, scope="session")
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Settings, runs and caches of the tests stay out of the user's folders."""
    os.environ["YOLO_CONFIG_DIR"] = str(tmp_path_factory.mktemp("settings"))
