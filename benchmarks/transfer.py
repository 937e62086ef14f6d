"""Effect of weight transfer: mAP after the first and the last epoch for three initializations.

    python benchmarks/transfer.py --data bccd.yaml --base yolov8n.yaml --base-data coco128.yaml --base-epochs 100 \
        --models yolov8n-ACmix.yaml yolov8n-DLKA.yaml --epochs 30 --imgsz 320 --seeds 0 1 2

`--weights best.pt` instead of the three options of the base uses existing weights. The initializations:
    random       no transfer
    8.3.0        tensors of equal name and shape, which ultralytics 8.3.0 transfers
    transferred  layers that have a counterpart (ultralytics/nn/transfer/transfer.py)
All three train on the same batches for the same seed. The table gives mean and range over the seeds; metrics are those
of the EMA weights on the validation images in the last epoch, not the best one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.checkpoint import load_checkpoint
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.files import read_results
from ultralytics.utils.torch_utils import intersect_dicts

INITIALIZATIONS = ("random", "8.3.0", "transferred")
COLUMNS = ("metrics/mAP50(B)", "metrics/mAP50-95(B)")


def initialize(network: DetectionModel, source: DetectionModel, method: str) -> float:
    """Set the first weights of `network`; returns the fraction of its parameters that come from `source`."""
    if method == "transferred":
        return network.load(source, verbose=False).share
    if method == "random":
        return 0.0
    matching = intersect_dicts(source.float().state_dict(), network.state_dict())
    network.load_state_dict(matching, strict=False)
    transferred = sum(p.numel() for name, p in network.named_parameters() if name in matching)
    return transferred / sum(p.numel() for p in network.parameters())


def trainer_of(method: str, checkpoint: Path, shares: dict[str, float]) -> type[DetectionTrainer]:
    """A trainer class that initializes networks with `method`."""

    class Trainer(DetectionTrainer):
        def get_model(self, cfg=None, weights=None, verbose=True):
            network = super().get_model(cfg, None, verbose=False)
            network.names = self.data["names"]
            shares[method] = initialize(network, load_checkpoint(checkpoint).network, method)
            return network

    return Trainer


def train(
    model: str, method: str, seed: int, weights: Path, shares: dict[str, float], settings: dict
) -> list[list[float]]:
    """mAP50 and mAP50-95 after every epoch."""
    with tempfile.TemporaryDirectory() as folder:
        YOLO(model).train(trainer_of(method, weights, shares), seed=seed, project=folder, name="run", **settings)
        history = read_results(Path(folder) / "run" / "results.csv")
    return [list(values) for values in zip(*(history[c] for c in COLUMNS), strict=True)]


def base_weights(args: argparse.Namespace, folder: str, settings: dict) -> Path:
    """The checkpoint of --weights, or one that is trained now."""
    if args.weights:
        return Path(args.weights)
    yolo = YOLO(args.base)
    yolo.train(**{**settings, "data": args.base_data, "epochs": args.base_epochs}, project=folder, name="base")
    return Path(yolo.trainer.best)


def cell(values: list[float]) -> str:
    text = f"{statistics.mean(values):.3f}"
    return text if len(values) == 1 else f"{text} ({min(values):.3f}-{max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="dataset file to train on")
    parser.add_argument("--models", nargs="+", required=True, help="model files to transfer weights to")
    parser.add_argument("--weights", help="checkpoint to transfer from")
    parser.add_argument("--base", default="yolov8n.yaml", help="without --weights: model file that is trained first")
    parser.add_argument("--base-data", help="dataset file of that training")
    parser.add_argument("--base-epochs", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--nbs",
        type=int,
        default=64,
        help="nominal batch size: images per optimizer step; small datasets need a small one",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if not args.weights and not args.base_data:
        parser.error("give --weights, or --base-data to train some")
    settings = {"data": args.data, "epochs": args.epochs, "imgsz": args.imgsz, "batch": args.batch}
    settings |= {"device": args.device, "workers": args.workers, "nbs": args.nbs, "plots": False}
    with tempfile.TemporaryDirectory() as folder:
        weights = base_weights(args, folder, settings)
        lines = []
        for model in args.models:
            shares: dict[str, float] = {}
            for method in INITIALIZATIONS:
                runs = [train(model, method, seed, weights, shares, settings) for seed in args.seeds]
                figures = [cell([run[epoch][i] for run in runs]) for epoch in (0, -1) for i in (0, 1)]
                lines.append(f"| {Path(model).stem} | {method} | {shares[method]:.1%} | {' | '.join(figures)} |")
    print(f"\n{args.data}: {args.epochs} epochs at {args.imgsz} pixels, batch {args.batch}, seeds {args.seeds}\n")
    print("| model | initialization | parameters | mAP50, epoch 1 | mAP50-95, epoch 1 | mAP50, last | mAP50-95, last |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
