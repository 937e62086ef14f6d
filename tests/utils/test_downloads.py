"""Downloads against a local HTTP server; archives."""

from __future__ import annotations

import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ultralytics.utils import downloads

CONTENT = bytes(range(256)) * 40


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT at /file.bin, the first half of it at /cut.bin, a redirect at /moved.bin; counts requests."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.path == "/moved.bin":
            self.send_response(302)
            self.send_header("Location", "/file.bin")
            self.end_headers()
        elif self.path in ("/file.bin", "/cut.bin"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/file.bin" else CONTENT[:5000])
        else:
            self.send_error(404)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", ["file.bin", "moved.bin"])
def test_download(server, tmp_path, name):
    downloads.download(f"{server.url}/{name}", dir=tmp_path / "new")
    assert (tmp_path / "new" / name).read_bytes() == CONTENT
    count = len(server.requests)
    downloads.download([f"{server.url}/{name}"], dir=tmp_path / "new")
    assert len(server.requests) == count, "an existing file is not downloaded again"


@pytest.mark.parametrize(
    ("name", "tries", "reason"), [("cut.bin", 3, "after 5000 of 10240 bytes"), ("none.bin", 1, "404")]
)
def test_failures_leave_nothing(server, tmp_path, name, tries, reason):
    with pytest.raises(ConnectionError, match=reason):
        downloads.safe_download(f"{server.url}/{name}", dir=tmp_path, retry=2, progress=False)
    assert len(server.requests) == tries
    assert list(tmp_path.iterdir()) == []


def test_small_files_are_errors(server, tmp_path):
    with pytest.raises(ConnectionError, match="after 10240 of"):
        downloads.safe_download(f"{server.url}/file.bin", dir=tmp_path, retry=0, min_bytes=1e6)


def test_server_that_is_not_there(tmp_path):
    with pytest.raises(ConnectionError, match="could not be downloaded"):
        downloads.safe_download("http://127.0.0.1:9/a.bin", dir=tmp_path, retry=0)


def test_zip_and_unzip(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "a.txt").write_text("a")
    (tmp_path / "data" / ".DS_Store").touch()
    archive = downloads.zip_directory(tmp_path / "data", progress=False)
    assert archive == tmp_path / "data.zip"
    folder = downloads.unzip_file(archive, tmp_path / "out", progress=False)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")] in (["a.txt"], ["sub/a.txt"])
    assert not list(folder.rglob(".DS_Store"))
    downloads.delete_dsstore(tmp_path / "data")
    assert not (tmp_path / "data" / ".DS_Store").exists()


def test_archives_cannot_write_outside(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
        archive.writestr("good.txt", "y")
    result = downloads.safe_download(tmp_path / "bad.zip", dir=tmp_path / "out", delete=True, progress=False)
    assert result == tmp_path / "out" / "bad"
    assert not (tmp_path / "evil.txt").exists()
    assert not (tmp_path / "out" / "evil.txt").exists()
    assert (result / "good.txt").read_text() == "y"
    assert not (tmp_path / "bad.zip").exists()


def test_checkpoints_are_not_downloaded(tmp_path):
    (tmp_path / "a.pt").touch()
    assert downloads.attempt_download_asset(tmp_path / "a.pt") == str(tmp_path / "a.pt")
    with pytest.raises(FileNotFoundError, match=r"yolov8n-none\.pt"):
        downloads.attempt_download_asset("yolov8n-none.pt")


def test_is_url():
    assert downloads.is_url("https://a.com/b.zip")
    assert not downloads.is_url("a.zip")
    assert not downloads.is_url("C:/a.zip")
