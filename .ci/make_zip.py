"""Makes the coursework zip in dist/: everything under version control but CI, in one folder named after the version."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "dist"
LEFT_OUT = (".ci/", ".gitignore", ".gitattributes")
EPOCH = (2024, 9, 30, 0, 0, 0)  # one date for all files, so that the same tree gives the same zip


def main() -> None:
    name = archive_name()
    target = TARGET / f"{name}.zip"
    target.parent.mkdir(exist_ok=True)
    files = tracked_files()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            # zipfile marks names that are not ASCII as UTF-8 by itself, so 训练说明.md keeps its name everywhere
            entry = zipfile.ZipInfo(f"{name}/{file}", EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = ((ROOT / file).stat().st_mode & 0o777) << 16
            archive.writestr(entry, (ROOT / file).read_bytes())
    print(f"{target}: {len(files)} files, {target.stat().st_size / 1e6:.1f} MB")


def archive_name() -> str:
    """`ultralytics-8.3.0-addmodules.1`: the version without the plus sign, which some unpackers change."""
    text = (ROOT / "ultralytics/version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"', text, re.M)
    if not found:
        raise RuntimeError("ultralytics/version.py has no line `__version__ = ...`")
    return f"ultralytics-{found[1].replace('+', '-')}"


def tracked_files() -> list[str]:
    """Files that git knows or would add, relative to the root, in order."""
    # git refuses a checkout of another user, usual on CI machines; -z, because it quotes Chinese names otherwise
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode("utf-8")
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    return sorted(name for name in names if not name.startswith(LEFT_OUT))


if __name__ == "__main__":
    main()
