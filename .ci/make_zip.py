"""Makes the coursework zip in dist/: all files under version control except hidden ones, in one folder."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "dist"
TIMESTAMP = (2024, 9, 30, 0, 0, 0)  # the same for all files, so that the same tree gives the same zip


def main() -> None:
    name = archive_name()
    target = TARGET / f"{name}.zip"
    target.parent.mkdir(exist_ok=True)
    files = tracked_files()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            # zipfile marks non-ASCII names as UTF-8, so 训练说明.md keeps its name on every system
            entry = zipfile.ZipInfo(f"{name}/{file}", TIMESTAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = ((ROOT / file).stat().st_mode & 0o777) << 16
            archive.writestr(entry, (ROOT / file).read_bytes())
    print(f"{target}: {len(files)} files, {target.stat().st_size / 1e6:.1f} MB")


def archive_name() -> str:
    """`ultralytics-8.3.0-addmodules.1`: the version without the plus sign, which some unpackers change."""
    text = (ROOT / "ultralytics/version.py").read_text(encoding="utf-8")
    match = re.search(r'^FULL_VERSION = "(.+)"', text, re.M)
    if not match:
        raise RuntimeError("ultralytics/version.py has no line `FULL_VERSION = ...`")
    return f"ultralytics-{match[1].replace('+', '-')}"


def tracked_files() -> list[str]:
    """Sorted paths, relative to the root, of files that git tracks or would add; hidden ones are left out."""
    # safe.directory, because on CI machines the checkout often belongs to another user;
    # -z, because git quotes Chinese names otherwise
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode("utf-8")
    names = {name for name in output.split("\0") if name and (ROOT / name).is_file()}
    return sorted(name for name in names if not name.startswith("."))


if __name__ == "__main__":
    main()
