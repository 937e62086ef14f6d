"""Downloads that a script asks for by calling these functions of 8.3.0; nothing else here uses the network."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from ultralytics.utils import LOGGER
from ultralytics.utils.addresses import clean_url, is_url, url2file
from ultralytics.utils.files import atomic_write
from ultralytics.utils.progress_bar import TQDM
from ultralytics.utils.user_folders import weights_dir

__all__ = ["attempt_download_asset", "delete_dsstore", "download", "is_url", "safe_download", "unzip_file",
           "zip_directory"]  # fmt: skip

_ARCHIVES = (".zip", ".tar", ".tar.gz")
_JUNK = (".DS_Store", "__MACOSX")  # written by macOS
_CHUNK = 1 << 20  # bytes
_TIMEOUT = 30.0  # seconds


class DownloadError(ConnectionError):
    """A file could not be downloaded whole; names the address and the reason."""


def download(
    url: str | Sequence[str],
    dir: str | Path | None = None,  # noqa: A002 - the name in 8.3.0
    unzip: bool = True,
    delete: bool = False,
    curl: bool = False,
    threads: int = 1,
    retry: int = 3,
    exist_ok: bool = False,
) -> None:
    """Download one file or several into a folder, one after another.

    Args:
        url: address, or several.
        dir: the folder; the current one by default, made if it does not exist.
        unzip, delete, retry, exist_ok: as of `safe_download`.
        curl, threads: of 8.3.0; without effect.

    Raises:
        DownloadError: as `safe_download`.
    """
    folder = Path(dir) if dir is not None else Path.cwd()
    for address in [url] if isinstance(url, str) else url:
        safe_download(address, dir=folder, unzip=unzip, delete=delete, retry=retry, exist_ok=exist_ok)


def safe_download(
    url: str | Path,
    file: str | Path | None = None,
    dir: str | Path | None = None,  # noqa: A002 - as above
    unzip: bool = True,
    delete: bool = False,
    curl: bool = False,
    retry: int = 3,
    min_bytes: float = 1.0,
    exist_ok: bool = False,
    progress: bool = True,
) -> Path:
    """Download a file unless it exists, and unpack it if it is an archive.

    Args:
        url: address, or the path of a file that exists, which is only unpacked.
        file: target; by default the name in the address.
        dir: folder of the target.
        unzip: unpack .zip, .tar and .tar.gz archives.
        delete: remove the archive afterwards.
        curl: of 8.3.0; without effect.
        retry: further tries after a failure.
        min_bytes: smaller files are errors.
        exist_ok: overwrite files when unpacking.
        progress: show a bar.

    Returns:
        The file, or the folder into which it was unpacked.

    Raises:
        DownloadError: the server cannot be reached, has no such file, or closed the connection too early.
    """
    source = Path(url)
    target = Path(dir or ".") / (file or url2file(str(url)))
    if not is_url(url) and source.is_file():
        target = source
    elif not target.is_file():
        _fetch_with_retries(str(url), target, retry, min_bytes, progress)
    if not (unzip and target.name.endswith(_ARCHIVES)):
        return target
    folder = Path(dir or target.parent)
    if zipfile.is_zipfile(target):
        folder = unzip_file(target, folder, exist_ok=exist_ok, progress=progress)
    else:
        shutil.unpack_archive(target, folder, filter="data")  # refuses paths outside the folder
    if delete:
        target.unlink()
    return folder


def attempt_download_asset(file: str | Path, repo: str = "ultralytics/assets", release: str = "v8.3.0") -> str:
    """Path of a checkpoint that exists, here or in the settings' weights folder; it is not downloaded.

    Args:
        file: name of the checkpoint.
        repo, release: of 8.3.0; without effect.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(str(file).strip().replace("'", "")).expanduser()
    from_settings = weights_dir() / path.name
    for candidate in (path, from_settings):
        if candidate.is_file():
            return str(candidate)
    raise FileNotFoundError(f"there is no file '{path}' (searched {path.absolute().parent}, {from_settings.parent})")


def unzip_file(
    file: str | Path,
    path: str | Path | None = None,
    exclude: Sequence[str] = _JUNK,
    exist_ok: bool = False,
    progress: bool = True,
) -> Path:
    """Unpack a .zip archive.

    Args:
        file: the archive.
        path: folder; by default that of the archive. An archive that is not one folder is unpacked into a folder with
            the archive's name.
        exclude: names with one of these texts are left out.
        exist_ok: unpack although the folder exists and is not empty.
        progress: show a bar.

    Returns:
        The folder with the content.

    Raises:
        zipfile.BadZipFile: it is not a .zip archive.
    """
    target = Path(path) if path is not None else Path(file).parent
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if not any(text in name for text in exclude)]
        tops = {name.split("/")[0] for name in names}
        is_one_folder = len(tops) == 1 and all("/" in name for name in names)
        result = target / next(iter(tops)) if is_one_folder else target / Path(file).stem
        root = target if is_one_folder else result
        if result.is_dir() and any(result.iterdir()) and not exist_ok:
            LOGGER.warning(f"{file} is not unpacked: the folder {result} exists")
            return result
        for name in TQDM(names, desc=f"Unpacking {file}", unit="file", disable=not progress):
            archive.extract(name, root)  # which keeps names that point outside inside the folder
    return result


def zip_directory(
    directory: str | Path, compress: bool = True, exclude: Sequence[str] = _JUNK, progress: bool = True
) -> Path:
    """Pack a folder into a .zip archive beside it.

    Args:
        directory: the folder.
        compress: deflate the files.
        exclude: paths with one of these texts are left out.
        progress: show a bar.

    Returns:
        The archive.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder '{folder}'")
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not any(t in str(file) for t in exclude)]
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for file in TQDM(files, desc=f"Packing {folder}", unit="file", disable=not progress):
            archive.write(file, file.relative_to(folder))
    return target


def delete_dsstore(path: str | Path, files_to_delete: Sequence[str] = _JUNK) -> None:
    """Delete the files of these names in a folder and its subfolders."""
    for name in files_to_delete:
        for file in sorted(Path(path).rglob(name)):
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def _fetch_with_retries(url: str, target: Path, retry: int, min_bytes: float, progress: bool) -> None:
    for attempt in range(retry + 1):
        try:
            return _fetch(url, target, min_bytes, progress)
        except (OSError, HTTPException, ValueError) as e:
            is_final = attempt == retry or isinstance(e, ValueError)
            if is_final or (isinstance(e, urllib.error.HTTPError) and e.code < 500):
                raise DownloadError(f"{clean_url(url)} could not be downloaded: {e}") from e
            LOGGER.warning(f"{clean_url(url)}: {e}; trying again ({attempt + 1} of {retry})")
    return None


def _fetch(url: str, target: Path, min_bytes: float, progress: bool) -> None:
    """Download to a temporary file that takes the target's name when it is whole."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
        expected = int(response.headers.get("Content-Length") or 0)
        bar = TQDM(total=expected or None, desc=str(target), unit="B", unit_scale=True, disable=not progress)
        with bar, atomic_write(target) as file:
            size = 0
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                size += len(chunk)
                bar.update(len(chunk))
            if size < max(min_bytes, expected):
                # not an OSError, to which atomic_write adds a file name
                raise HTTPException(f"the connection ended after {size} of {expected or int(min_bytes)} bytes")
