"""The build step that pyproject.toml cannot express; all metadata is there. `pip install .` reads both files."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class CleanBuild(build_py):
    """Builds into an empty folder: a stale build/ would put deleted modules into the next install."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / "ultralytics", ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": CleanBuild})
