"""Packaging: name, version, requirements, contents. `pip install .` takes the place of an official ultralytics."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SAFETENSORS = "safetensors>=0.4.3"  # weights without pickle: YOLO("x.safetensors")
COCO = "pycocotools>=2.0.8"  # COCO's own metrics: val(save_json=True)
EXPORT = ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.1"]  # torch.onnx.export, and running what it wrote
TEST = ["pytest>=8", "setuptools>=77", "scikit-learn>=1.3", "scipy>=1.11", SAFETENSORS, COCO, *EXPORT]


def version() -> str:
    """The version, read and not imported: at this point nothing that the package needs is installed."""
    found = re.search(r'^__version__ = "(.+)"', (ROOT / "ultralytics/version.py").read_text(encoding="utf-8"), re.M)
    if not found:
        raise RuntimeError("ultralytics/version.py has no line `__version__ = ...`")
    return found[1]


class CleanBuild(build_py):
    """Starts from an empty folder: else build/ would bring a module that was deleted back into the next install."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / "ultralytics", ignore_errors=True)
        super().run()


setup(
    name="ultralytics",
    version=version(),
    description="YOLOv8 and YOLO11 with AKConv, ACmix and Deformable-LKA: an independent implementation",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="AGPL-3.0-or-later",
    python_requires=">=3.10",
    packages=find_packages(include=["ultralytics", "ultralytics.*"]),
    package_data={"ultralytics": ["cfg/**/*.yaml"]},
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "numpy>=1.26",
        "opencv-python-headless>=4.8",  # headless: the other one needs libGL, which a bare server lacks
        "pyyaml>=6",
        "pillow>=10",
        "matplotlib>=3.8",
        "tqdm>=4.66",
    ],
    extras_require={
        "safetensors": [SAFETENSORS],
        "coco": [COCO],
        "export": EXPORT,
        "test": TEST,
        "dev": [*TEST, "ruff", "mypy", "types-PyYAML", "types-tqdm"],
    },
    entry_points={"console_scripts": ["yolo = ultralytics.cli:entrypoint", "ultralytics = ultralytics.cli:entrypoint"]},
    cmdclass={"build_py": CleanBuild},
)
