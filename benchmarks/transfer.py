"""What carrying weights over is worth: mAP after the first and after the last epoch, for three ways to begin.

    python benchmarks/transfer.py --data bccd.yaml --base yolov8n.yaml --base-data coco128.yaml --base-epochs 100 \
        --models yolov8n-ACmix.yaml yolov8n-DLKA.yaml --epochs 30 --imgsz 320 --seeds 0 1 2

`--weights best.pt` in place of the three options of the base starts from weights that are there. The ways:
    new      random weights
    8.3.0    tensors of equal name and shape, which is what ultralytics 8.3.0 takes over
    carried  layers that have a counterpart (ultralytics/nn/transfer/transfer.py)
All three see the same batches under the same seed. The table gives mean and range over the seeds; figures are those of
the averaged weights on the validation images, the last epoch's and not the best one's.
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

WAYS = ("new", "8.3.0", "carried")
COLUMNS = ("metrics/mAP50(B)", "metrics/mAP50-95(B)")


def start(network: DetectionModel, source: DetectionModel, way: str) -> float:
    """Give `network` its first weights; returns the share of its parameters that come from `source`."""
    if way == "carried":
        return network.load(source, verbose=False).share
    if way == "new":
        return 0.0
    fitting = intersect_dicts(source.float().state_dict(), network.state_dict())
    network.load_state_dict(fitting, strict=False)
    taken = sum(p.numel() for name, p in network.named_parameters() if name in fitting)
    return taken / sum(p.numel() for p in network.parameters())


def trainer_of(way: str, checkpoint: Path, shares: dict[str, float]) -> type[DetectionTrainer]:
    """A trainer whose networks begin in this way."""

    class Trainer(DetectionTrainer):
        def get_model(self, cfg=None, weights=None, verbose=True):
            network = super().get_model(cfg, None, verbose=False)
            network.names = self.data["names"]
            shares[way] = start(network, load_checkpoint(checkpoint).network, way)
            return network

    return Trainer


def train(
    model: str, way: str, seed: int, weights: Path, shares: dict[str, float], settings: dict
) -> list[list[float]]:
    """mAP50 and mAP50-95 after every epoch."""
    with tempfile.TemporaryDirectory() as folder:
        YOLO(model).train(trainer_of(way, weights, shares), seed=seed, project=folder, name="run", **settings)
        history = read_results(Path(folder) / "run" / "results.csv")
    return [list(values) for values in zip(*(history[c] for c in COLUMNS), strict=True)]


def base_weights(args: argparse.Namespace, folder: str, settings: dict) -> Path:
    """The given checkpoint, or one trained now."""
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
    parser.add_argument("--models", nargs="+", required=True, help="model files that get the weights")
    parser.add_argument("--weights", help="checkpoint they come from")
    parser.add_argument("--base", default="yolov8n.yaml", help="without --weights: model file that is trained first")
    parser.add_argument("--base-data", help="dataset file of that training")
    parser.add_argument("--base-epochs", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--nbs", type=int, default=64, help="images a step of the optimiser; small data want few")
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
            for way in WAYS:
                runs = [train(model, way, seed, weights, shares, settings) for seed in args.seeds]
                figures = [cell([run[epoch][i] for run in runs]) for epoch in (0, -1) for i in (0, 1)]
                lines.append(f"| {Path(model).stem} | {way} | {shares[way]:.1%} | {' | '.join(figures)} |")
    print(f"\n{args.data}: {args.epochs} epochs at {args.imgsz} pixels, batch {args.batch}, seeds {args.seeds}\n")
    print("| model | begins with | parameters | mAP50, epoch 1 | mAP50-95, epoch 1 | mAP50, last | mAP50-95, last |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
