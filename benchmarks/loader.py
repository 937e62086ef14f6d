"""Training samples per second of the loader on one core: this package and the official one, in turns, in one run.

    python benchmarks/loader.py --official /path/to/python/with/official/ultralytics [--data FILE] [--imgsz 640]

Each package runs in a process of its own with one thread and no workers, on a copy of the same images: one epoch to
warm up, then epochs that count. Two cases: "small", images that fit into the memory cache of both packages, and
"large", where both decode images (each image copied --copies times, and this package's cache set to its minimum). The
ratio uses CPU seconds, which other processes on the machine affect least.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

OFFICIAL, THIS = "official", "this"
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--official",
        type=os.path.abspath,
        help="python of an environment that has the official package; if absent, only this package",
    )
    parser.add_argument("--data", default=str(ROOT.parent / "shared/data/coco128/coco128.yaml"))
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=6, help="of each image, in the case 'large'")
    parser.add_argument("--package", choices=(OFFICIAL, THIS), help=argparse.SUPPRESS)
    parser.add_argument("--no-cache", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.package:
        print(json.dumps(measure(args)))
        return
    packages = [(OFFICIAL, args.official)] * bool(args.official) + [(THIS, sys.executable)]
    for case, copies in (("small", 1), ("large", args.copies)):
        results: dict[str, list[dict]] = {package: [] for package, _ in packages}
        with tempfile.TemporaryDirectory() as folder:
            data = copied(Path(args.data), Path(folder), copies)
            for number in range(args.rounds):
                for package, python in packages:
                    result = run(package, python, data, folder, args, no_cache=copies > 1)
                    results[package].append(result)
                    figures = f"{result['cpu']:6.1f} samples/CPU s, {result['wall']:6.1f} samples/s"
                    print(f"{case} round {number + 1} {package:>8}: {figures}", flush=True)
        report(case, results, args)


def report(case: str, results: dict[str, list[dict]], args: argparse.Namespace) -> None:
    print(f"\n{case}: {results[THIS][0]['images']} images, {args.imgsz} px, batch {args.batch}, one core")
    print("| package | version | OpenCV | samples/CPU s (median) | range | ratio |\n|---|---|---|---|---|---|")
    base = median(r["cpu"] for r in results[OFFICIAL]) if OFFICIAL in results else None
    for package, runs in results.items():
        cpu = [r["cpu"] for r in runs]
        ratio = f"{median(cpu) / base:.2f}" if base else "-"
        spread = f"{median(cpu):.1f} | {min(cpu):.1f}-{max(cpu):.1f}"
        print(f"| {package} | {runs[0]['version']} | {runs[0]['cv2']} | {spread} | {ratio} |")


def copied(data: Path, folder: Path, copies: int) -> Path:
    """Copy the training images and labels to `folder`, because the official package writes cache files beside them."""
    sys.path.insert(0, str(ROOT))
    from ultralytics.data.dataset_config import check_det_dataset
    from ultralytics.data.images import find_images, label_path

    info = check_det_dataset(data)
    images, labels = folder / "images" / "train", folder / "labels" / "train"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for image in find_images(info["train"]):
        source = Path(image)
        for k in range(copies):
            shutil.copy(source, images / f"{source.stem}_{k}{source.suffix}")
            if Path(label_path(image)).exists():
                shutil.copy(label_path(image), labels / f"{source.stem}_{k}.txt")
    file = folder / "data.yaml"
    content = {
        "path": str(folder),
        "train": "images/train",
        "val": "images/train",
        "names": list(info["names"].values()),
    }
    file.write_text(json.dumps(content))  # JSON is YAML
    return file


def run(package: str, python: str, data: Path, folder: str, args: argparse.Namespace, no_cache: bool) -> dict:
    """Figures of one package, measured in a new process."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env.update(OMP_NUM_THREADS="1", YOLO_VERBOSE="false", YOLO_CONFIG_DIR=str(Path(folder) / f"settings_{package}"))
    if package == THIS:
        env["PYTHONPATH"] = str(ROOT)
    Path(env["YOLO_CONFIG_DIR"]).mkdir(exist_ok=True)
    command = [python, __file__, "--package", package, "--data", str(data), "--imgsz", str(args.imgsz)]
    command += ["--batch", str(args.batch)] + ["--no-cache"] * no_cache
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{package} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict:
    """Figures of the package of this process: one epoch to warm up, then at least 256 images."""
    import cv2
    import torch

    import ultralytics

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    loader = official_loader(args) if args.package == OFFICIAL else package_loader(args)
    images = sum(len(batch["img"]) for batch in loader)
    count, cpu, wall = 0, time.process_time(), time.perf_counter()
    for _ in range(-(-256 // images)):
        for batch in loader:
            count += len(batch["img"])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    info = {"images": images, "version": ultralytics.__version__, "cv2": cv2.__version__}
    return {"cpu": count / cpu, "wall": count / wall, **info}


def official_loader(args: argparse.Namespace):
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_dataloader, build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    cfg = get_cfg(overrides={"imgsz": args.imgsz, "task": "detect", "mode": "train"})
    data = check_det_dataset(args.data)
    dataset = build_yolo_dataset(cfg, data["train"], args.batch, data, mode="train", rect=False, stride=32)
    return build_dataloader(dataset, args.batch, 0, shuffle=True, rank=-1)


def package_loader(args: argparse.Namespace):
    from ultralytics.data import image_cache
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.dataset_config import check_det_dataset
    from ultralytics.data.loader import build_dataloader

    if args.no_cache:
        image_cache.STORE_BYTES = 0
    data = check_det_dataset(args.data)
    dataset = YOLODataset(data["train"], data=data, imgsz=args.imgsz, batch_size=args.batch, augment=True)
    return build_dataloader(dataset, args.batch, 0)


if __name__ == "__main__":
    main()
