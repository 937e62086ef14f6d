"""Whether a network learns here what it learns in ultralytics 8.3.0: mAP of both after the same training, seed by seed.

    python benchmarks/learning.py --official path/to/official/python --data bccd.yaml --epochs 40 --imgsz 256

`make official` makes that environment. For every seed the first weights are drawn here and saved as a checkpoint, which
both packages train on, each in a process of its own with the same number of threads; everything else is their default.
Printed: the last epoch's figures, as training itself measured them, with mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SIDES = ("ours", "8.3.0")
COLUMNS = ("metrics/mAP50(B)", "metrics/mAP50-95(B)")


def worker(args: argparse.Namespace) -> None:
    """Train one side; both packages are called `ultralytics`, and this is all that is said to either."""
    from ultralytics import YOLO

    settings = {"epochs": args.epochs, "imgsz": args.imgsz, "batch": args.batch, "device": "cpu", "workers": 0}
    YOLO(args.weights).train(
        data=args.data, seed=args.seed, project=args.folder, name="run", exist_ok=True, plots=False, **settings
    )


def first_weights(args: argparse.Namespace, seed: int, names: dict[int, str], file: Path) -> None:
    """A network as it is before its training, with the classes of the data."""
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
        environment.pop("PYTHONPATH", None)  # it may lead to this tree, which would take the other package's place
    folder.mkdir()
    subprocess.run([*command, "--seed", str(seed)], check=True, env=environment, cwd=folder)
    history = read_results(folder / "run" / "results.csv")
    return [history[column][-1] for column in COLUMNS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", default=".cache/official/bin/python", help="python that has ultralytics==8.3.0")
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
    found: dict[str, list[list[float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as name:
        # 8.3.0 looks for relative paths in a folder of its own
        absolute, folder = Path(name, "data.yaml"), Path(name)
        yaml_save(absolute, {key: data[key] for key in ("train", "val", "names")} | {"path": str(data["path"])})
        for seed in args.seeds:
            weights = folder / f"first{seed}.pt"
            first_weights(args, seed, data["names"], weights)
            for side, python in zip(SIDES, (sys.executable, args.official), strict=True):
                found[side].append(train(python, args, seed, folder / f"{side}-{seed}", weights, absolute))
    print(
        f"\n{args.model}, {args.data}: {args.epochs} epochs at {args.imgsz} pixels, batch {args.batch}, from scratch\n"
    )
    print(f"| package | {' | '.join(f'seed {seed}' for seed in args.seeds)} | mean ± standard deviation |")
    print(f"| --- |{' --- |' * (len(args.seeds) + 1)}")
    for side in SIDES:
        cells = [f"{a:.3f} / {b:.3f}" for a, b in found[side]]
        for values in zip(*found[side], strict=True):
            deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{deviation}")
        print(f"| {side} | {' | '.join(cells[:-2])} | {' / '.join(cells[-2:])} |")


if __name__ == "__main__":
    main()
