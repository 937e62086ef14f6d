"""mAP of this package and of ultralytics 8.3.0 after the same training from the same first weights, per seed.

    python benchmarks/learning.py --official path/to/official/python --data bccd.yaml --epochs 40 --imgsz 256

`make official` makes that environment. For every seed the first weights are initialized here and saved as a checkpoint,
which both packages train from, each in a process of its own with the same number of threads; all other options are
defaults. Printed: the last epoch's validation metrics, with mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("this package", "8.3.0")
COLUMNS = ("metrics/mAP50(B)", "metrics/mAP50-95(B)")


def worker(args: argparse.Namespace) -> None:
    """Train with the `ultralytics` of this process, whichever package that is."""
    from ultralytics import YOLO

    settings = {"epochs": args.epochs, "imgsz": args.imgsz, "batch": args.batch, "device": "cpu", "workers": 0}
    YOLO(args.weights).train(
        data=args.data, seed=args.seed, project=args.folder, name="run", exist_ok=True, plots=False, **settings
    )


def first_weights(args: argparse.Namespace, seed: int, names: dict[int, str], file: Path) -> None:
    """Save a newly initialized network with the classes of the dataset."""
    import torch

    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    yolo = YOLO(args.model)
    torch.manual_seed(seed)
    yolo.model = DetectionModel(args.model, nc=len(names), verbose=False)
    yolo.model.names = names
    yolo.save(file)


def train(python: str, args: argparse.Namespace, seed: int, folder: Path, weights: Path, data: Path) -> list[float]:
    """mAP50 and mAP50-95 of the last epoch of one training."""
    from ultralytics.utils.files import read_results

    command = [python, __file__, "--worker", "--weights", str(weights), "--data", str(data), "--folder", str(folder)]
    for key in ("epochs", "imgsz", "batch"):
        command += [f"--{key}", str(getattr(args, key))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "YOLO_CONFIG_DIR": str(folder.parent)}
    if python != sys.executable:
        environment.pop(
            "PYTHONPATH", None
        )  # it may contain this checkout, which would be imported instead of the official package
    folder.mkdir()
    subprocess.run([*command, "--seed", str(seed)], check=True, env=environment, cwd=folder)
    history = read_results(folder / "run" / "results.csv")
    return [history[column][-1] for column in COLUMNS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--official",
        type=os.path.abspath,
        default=".cache/official/bin/python",
        help="python that has ultralytics==8.3.0",
    )
    parser.add_argument("--data", required=True, help="dataset file")
    parser.add_argument("--model", default="yolo11n.yaml")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--imgsz", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    for hidden in ("--weights", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args)
        return
    from ultralytics.data.dataset_config import check_det_dataset
    from ultralytics.utils.files import yaml_save

    data = check_det_dataset(args.data, splits=("train", "val"))
    metrics: dict[str, list[list[float]]] = {package: [] for package in PACKAGES}
    with tempfile.TemporaryDirectory() as name:
        # 8.3.0 resolves relative paths against a folder of its own
        absolute, folder = Path(name, "data.yaml"), Path(name)
        yaml_save(absolute, {key: data[key] for key in ("train", "val", "names")} | {"path": str(data["path"])})
        for seed in args.seeds:
            weights = folder / f"first{seed}.pt"
            first_weights(args, seed, data["names"], weights)
            for package, python in zip(PACKAGES, (sys.executable, args.official), strict=True):
                run = folder / f"{package.replace(' ', '-')}-{seed}"
                metrics[package].append(train(python, args, seed, run, weights, absolute))
    print(
        f"\n{args.model}, {args.data}: {args.epochs} epochs at {args.imgsz} pixels, batch {args.batch}, from scratch\n"
    )
    print(f"| package | {' | '.join(f'seed {seed}' for seed in args.seeds)} | mean ± standard deviation |")
    print(f"| --- |{' --- |' * (len(args.seeds) + 1)}")
    for package in PACKAGES:
        cells = [f"{a:.3f} / {b:.3f}" for a, b in metrics[package]]
        for values in zip(*metrics[package], strict=True):
            deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{deviation}")
        print(f"| {package} | {' | '.join(cells[:-2])} | {' / '.join(cells[-2:])} |")


if __name__ == "__main__":
    main()
