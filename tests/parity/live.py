"""Both packages side by side: `make parity-live`, or

    OFFICIAL=path/to/python pytest tests/parity/live.py

where that Python has ultralytics==8.3.0. pytest does not collect this file by default. The processes exchange only
files in temporary folders; official_side.py is the other process.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from ultralytics import YOLO
from ultralytics.nn.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from ultralytics.nn.tasks import ClassificationModel, DetectionModel, SegmentationModel, yaml_model_load

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
OFFICIAL = Path(os.environ.get("OFFICIAL") or TESTS.parent / ".cache" / "official" / "bin" / "python")
NETWORKS = ("yolov8n", "yolov8s", "yolo11n", "yolo11s")
IMGSZ = 160


def official(script, *arguments, cwd):
    """Runs a script with the official package, which keeps its settings and downloads in `cwd`."""
    assert OFFICIAL.exists(), f"{OFFICIAL} does not exist: run `make official`, or set OFFICIAL to another Python"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"YOLO_CONFIG_DIR": str(cwd)}
    done = subprocess.run(
        [OFFICIAL.absolute(), str(script), *map(str, arguments)],
        cwd=cwd,
        env=env | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def job(out, name, **arguments):
    """Runs a job of official_side.py; its results are in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "job.json").write_text(json.dumps({"do": name, "out": str(out)} | arguments))
    official(HERE / "official_side.py", out / "job.json", cwd=out)
    return out


def close(found, expected, tolerance, what=""):
    """Equal relative to the largest value."""
    assert found.shape == expected.shape, what
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max(), what


def build(name, legacy=False):
    torch.manual_seed(0)
    content = yaml_model_load(f"{name}.yaml")
    return DetectionModel(content | {"legacy": legacy} if "v8" in name else content, verbose=False)


def arrays(path):
    with np.load(path) as file:
        return [file[key] for key in file.files]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def dataset(bccd, tmp_path_factory):
    """A dataset of eight images in a folder where the official package may write."""
    root = tmp_path_factory.mktemp("data")
    (root / "images").mkdir()
    (root / "labels").mkdir()
    for source in sorted((bccd / "images" / "val").iterdir())[:8]:
        shutil.copyfile(source, root / "images" / source.name)
        shutil.copyfile(bccd / "labels" / "val" / f"{source.stem}.txt", root / "labels" / f"{source.stem}.txt")
    content = {"path": str(root), "train": "images", "val": "images", "names": {0: "a", 1: "b", 2: "c"}}
    (root / "data.yaml").write_text(json.dumps(content))
    return root


# ---- networks --------------------------------------------------------------------------------------------------------


def test_networks(recipe, tmp_path):
    """Every value of every output, in float64 to 1e-5 and in float32 to 1e-4."""
    job(tmp_path, "forward", names=NETWORKS)
    for name in NETWORKS:
        model = build(name)
        state = {key: [*value.shape, str(value.dtype)] for key, value in model.state_dict().items()}
        assert state == json.loads((tmp_path / f"{name}.json").read_text())
        for dtype, tolerance in (("float64", 1e-5), ("float32", 1e-4)):
            outputs = recipe.outputs(recipe._copy(model), recipe.DTYPES[dtype], lambda m: m.fuse(verbose=False))
            with np.load(tmp_path / f"{name}-{dtype}.npz") as expected:
                assert set(expected.files) == set(outputs)
                for key in outputs:
                    close(outputs[key].numpy(), expected[key], tolerance, f"{name} {dtype} {key}")


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("utils/golden/make.py", ("ops", "nms", "tal", "loss", "metrics")),
        ("nn/golden/make_networks.py", ("networks",)),
        ("data/golden/make_official.py", ("official",)),
    ],
)
def test_golden_files_match_the_official_package(script, names, coco128, tmp_path):
    shutil.copy(TESTS / script, tmp_path)
    arguments = []
    if "data/" in script:
        arguments.append(tmp_path / "coco128")
        for part in ("images/val2017", "labels/val2017"):
            shutil.copytree(coco128 / part, arguments[0] / part, copy_function=shutil.copyfile)
        for folder in (arguments[0], *arguments[0].rglob("*")):
            folder.chmod(0o755)  # the shared data are read-only, and the official package writes beside them
    official(tmp_path / Path(script).name, *arguments, cwd=tmp_path)
    for name in names:
        kept = json.loads((TESTS / script).with_name(f"{name}.json").read_text())
        compare(json.loads((tmp_path / f"{name}.json").read_text()), kept, name)


def compare(found, expected, what):
    """Equal trees: numbers within 1e-4; versions are ignored."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), what
        for key in expected.keys() - {"made_by"}:
            compare(found[key], expected[key], f"{what}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), what
        for i, pair in enumerate(zip(found, expected, strict=True)):
            compare(*pair, f"{what}/{i}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4, nan_ok=True), what
    else:
        assert found == expected, what


# ---- our checkpoints in the official package -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_checkpoints(recipe, dataset, tmp_path_factory):
    """{name: (checkpoint, dataset with labels close to its detections)}, images, results of the official package."""
    folder = tmp_path_factory.mktemp("own")
    files = {}
    for name, legacy in (("yolov8n", False), ("yolov8n", True), ("yolov10n", False), ("yolo11n", False)):
        # rounded to half precision, because the official package reads the half-precision network
        network = recipe.stir(build(name, legacy)).half().float()
        network.names = {i: f"name {i}" for i in range(80)}
        files[f"{name}-published" if legacy else name] = network
    pairs = {}
    for name, network in files.items():
        path = folder / f"{name}.pt"
        save_checkpoint(path, network, finished=True, train_args={"task": "detect", "imgsz": IMGSZ})
        pairs[name] = str(path), str(label_with(YOLO(path), dataset, folder / name))
    # as saved during training, with the state for resuming
    running = folder / "running.pt"
    save_checkpoint(running, network, finished=False, epoch=2, optimizer={"state": {}}, resume={"rng": torch.arange(3)})
    pairs["running"] = str(running), pairs[name][1]
    images = [str(p) for p in sorted((dataset / "images").iterdir())[:4]]
    results = job(folder / "results", "use", pairs=list(pairs.values()), images=images, imgsz=IMGSZ)
    return pairs, images, results


def label_with(yolo, dataset, folder):
    """Images of the dataset with labels that the detections of a network with random weights match partly."""
    rng = np.random.default_rng(0)
    shutil.copytree(dataset / "images", folder / "images")
    (folder / "labels").mkdir()
    for result in yolo.predict(str(folder / "images"), imgsz=IMGSZ, conf=0.3, verbose=False):
        boxes = result.boxes.xywhn.numpy()[:30]
        boxes[:, 2:] *= np.exp(rng.normal(0, 0.15, (len(boxes), 2)))
        x1y1, x2y2 = (boxes[:, :2] - boxes[:, 2:] / 2).clip(0, 1), (boxes[:, :2] + boxes[:, 2:] / 2).clip(0, 1)
        boxes = np.concatenate(((x1y1 + x2y2) / 2, x2y2 - x1y1), 1)
        lines = [
            f"{c:.0f} " + " ".join(f"{v:.6f}" for v in box)
            for c, box in zip(result.boxes.cls.numpy(), boxes, strict=False)
        ]
        (folder / "labels" / f"{Path(result.path).stem}.txt").write_text("\n".join(lines) + "\n")
    names = {i: f"name {i}" for i in range(80)}
    content = {"path": str(folder), "train": "images", "val": "images", "names": names}
    (folder / "data.yaml").write_text(json.dumps(content))
    return folder / "data.yaml"


@pytest.mark.parametrize("name", ["yolov8n", "yolov8n-published", "yolov10n", "yolo11n", "running"])
def test_official_package_reads_our_checkpoints(name, own_checkpoints, recipe, tmp_path):
    pairs, images, results = own_checkpoints
    file, data = pairs[name]
    raw, *boxes = arrays(results / f"{name}.npz")
    yolo = YOLO(file)
    with torch.no_grad():
        close(yolo.model(recipe.image(recipe.SHAPES["rectangular"]))[0].numpy(), raw, 1e-4)
    for result, expected in zip(yolo.predict(images, imgsz=IMGSZ, conf=0.4, verbose=False), boxes, strict=True):
        found = result.boxes.data.numpy()
        assert found.shape == expected.shape
        assert len(found) > 5
        np.testing.assert_allclose(found[:, :4], expected[:, :4], atol=1e-2)  # pixels
        np.testing.assert_allclose(found[:, 4], expected[:, 4], atol=1e-4)
        np.testing.assert_array_equal(found[:, 5], expected[:, 5])
    metrics = yolo.val(data=data, imgsz=IMGSZ, batch=4, workers=0, plots=False, verbose=False, project=str(tmp_path))
    official_metrics = json.loads((results / f"{name}.json").read_text())
    assert official_metrics["names"] == {str(k): v for k, v in yolo.names.items()}
    for key in ("metrics/mAP50(B)", "metrics/mAP50-95(B)", "metrics/recall(B)"):
        assert metrics.results_dict[key] == pytest.approx(official_metrics[key], abs=1e-3), key
    assert official_metrics["metrics/mAP50(B)"] > 0.2  # the labels are derived from this network


# ---- official checkpoints in our package -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["yolov8n.yaml", "yolov10n.yaml", "yolo11n.yaml"])
def test_we_read_official_checkpoints(model, dataset, recipe, tmp_path):
    """Checkpoints saved during training (with loss, optimizer, settings), stripped ones, and fused ones."""
    job(tmp_path, "train", model=model, data=str(dataset / "data.yaml"), imgsz=64)
    x = recipe.image(recipe.SHAPES["rectangular"])
    for name in ("running", "finished", "running-fused", "finished-fused"):
        read = load_checkpoint(tmp_path / f"{name}.pt")
        with torch.no_grad():
            close(read.network(x)[0].numpy(), arrays(tmp_path / f"{name}.npz")[0], 1e-5, name)
        assert read.network.names == {0: "a", 1: "b", 2: "c"}
        assert read.network.is_fused() == name.endswith("fused")
        assert not read.can_resume
    running = load_checkpoint(tmp_path / "running.pt")
    assert running.content["optimizer"]["param_groups"]
    assert (running.train_args["imgsz"], running.content["version"]) == (64, "8.3.0")
    assert YOLO(tmp_path / "finished.pt").val(
        data=str(dataset / "data.yaml"), imgsz=64, workers=0, plots=False, verbose=False, project=str(tmp_path)
    )


def test_the_activation_that_a_yolov6_leaves_behind_is_restored(recipe, tmp_path):
    job(tmp_path, "activation")
    network = load_checkpoint(tmp_path / "relu.pt").network
    assert network.yaml["activation"] == "nn.ReLU()"
    with torch.no_grad():
        found = network(recipe.image(recipe.SHAPES["rectangular"]))[0].numpy()
    close(found, arrays(tmp_path / "relu.npz")[0], 1e-5)


# ---- classification --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def class_folders(bccd_crops, tmp_path_factory):
    """Nine training and fifteen validation images of three classes where the official package may write."""
    root = tmp_path_factory.mktemp("classes")
    for split, count in (("train", 3), ("val", 5)):
        for folder in sorted((bccd_crops / split).iterdir()):
            (root / split / folder.name).mkdir(parents=True)
            for source in sorted(folder.iterdir())[:count]:
                shutil.copyfile(source, root / split / folder.name / source.name)
    return root


def test_classification_checkpoints_in_both_directions(class_folders, recipe, tmp_path):
    """Probabilities to 1e-5 (1e-3 where the official package reads half precision), metrics to 1e-3."""
    images = [str(p) for p in sorted((class_folders / "val").rglob("*.jpg"))]
    job(tmp_path / "official", "train_classes", data=str(class_folders), images=images)
    same_classes(tmp_path / "official" / "official.pt", tmp_path / "official", class_folders, images, 1e-5)
    network = recipe.stir(ClassificationModel("yolo11n-cls.yaml", nc=3, verbose=False))
    network.names = {0: "Platelets", 1: "RBC", 2: "WBC"}
    file = tmp_path / "own.pt"
    save_checkpoint(file, network, finished=True, train_args={"task": "classify", "imgsz": 64})
    job(tmp_path / "own", "use_classes", file=str(file), data=str(class_folders), images=images)
    same_classes(file, tmp_path / "own", class_folders, images, 1e-2)


def same_classes(file, results, data, images, tolerance):
    yolo = YOLO(file)
    found = np.stack([r.probs.data.numpy() for r in yolo.predict(images, imgsz=64, verbose=False)])
    np.testing.assert_allclose(found, arrays(results / "probabilities.npz")[0], atol=tolerance)
    metrics = yolo.val(data=str(data), imgsz=64, workers=0, plots=False, verbose=False, project=str(results))
    expected = json.loads((results / "metrics.json").read_text())
    assert yolo.names == {int(k): v for k, v in expected["names"].items()}
    for key, value in metrics.results_dict.items():
        assert value == pytest.approx(expected[key], abs=1e-3), key


def test_segmentation_checkpoints_in_both_directions(recipe, tmp_path):
    """Masks, boxes and metrics of ours read there, and of theirs read here, are those of the golden file."""
    script = TESTS / "models" / "golden" / "make_segment.py"
    make_segment, golden = recipe.load(script), json.loads(script.with_name("segment.json").read_text())
    (tmp_path / "seg.yaml").write_text(make_segment.MODEL)
    network = make_segment.stir(SegmentationModel(tmp_path / "seg.yaml", verbose=False)).half().float()
    network.names = {0: "a", 1: "b"}
    save_checkpoint(tmp_path / "ours.pt", network, finished=True, train_args={"task": "segment"})
    out = job(tmp_path / "official", "segment", script=str(script), checkpoint=str(tmp_path / "ours.pt"))
    compare(json.loads((out / "segment.json").read_text()), golden, "golden")
    there = json.loads((out / "ours.json").read_text())
    compare(there["results"], golden["results"], "ours in the official package")
    yolo = YOLO(out / "seg.pt")
    paths = [str(out / "images" / f"{i}.png") for i in range(len(make_segment.SHAPES))]
    here = [make_segment.record(yolo.predict(path, **make_segment.PREDICT)[0]) for path in paths]
    compare(here, golden["results"], "theirs in this package")
    for metrics in (there["metrics"], yolo.val(data=str(out / "data.yaml"), **make_segment.VAL).results_dict):
        assert metrics == pytest.approx(golden["metrics"]["rect"], abs=1e-3)


def test_official_checkpoints_of_other_tasks_are_refused_by_name(tmp_path):
    job(tmp_path, "others")
    for file in tmp_path.glob("*.pt"):
        with pytest.raises(CheckpointError, match=f"{file.stem}.*this version reads DetectionModel"):
            load_checkpoint(file)
