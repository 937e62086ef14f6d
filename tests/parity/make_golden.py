"""Writes the golden files: the outputs of ultralytics 8.3.0 for fixed inputs. `make parity` runs it with that package.

    python tests/parity/make_golden.py [coco128 folder]

This folder's file is golden/scales.json, the networks at every scale. The other golden files are beside the tests that
read them and have their own scripts, which this script runs as well (tests/data only with the image folder).
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import recipe
import torch

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent


def main():
    torch.set_num_threads(1)
    scales()
    networks = TESTS / "nn" / "golden"
    for script in (
        TESTS / "utils" / "golden" / "make.py",
        networks / "make_networks.py",
        networks / "make_families.py",
        TESTS / "models" / "golden" / "make_classification.py",
        TESTS / "models" / "golden" / "make_pose.py",
        TESTS / "models" / "golden" / "make_segment.py",
    ):
        subprocess.run([sys.executable, str(script)], check=True)
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as folder:  # the official package writes files beside the data
            copy = Path(folder) / "coco128"
            shutil.copytree(sys.argv[1], copy, copy_function=shutil.copyfile)
            for path in [copy, *copy.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)
            script = TESTS / "data" / "golden" / "make_official.py"
            subprocess.run([sys.executable, str(script), str(copy)], check=True)


def scales():
    from ultralytics.nn.tasks import DetectionModel

    networks = {}
    for name in recipe.SCALES:
        torch.manual_seed(0)
        model = DetectionModel(f"{name}.yaml", verbose=False)
        networks[name] = recipe.describe(model, lambda m: m.fuse(verbose=False))
        print(name, networks[name]["parameters"], flush=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in networks.items())
    head = json.dumps(recipe.made_by("python tests/parity/make_golden.py"))
    (HERE / "golden" / "scales.json").write_text(f'{{"made_by": {head},\n"networks": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
