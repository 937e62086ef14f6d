"""Datasets of the task classify: classes by name, splits by seed, mistakes; settings of normalizations in files."""

import numpy as np
import pytest
import torch
from classification_data import every_class, write_dataset, write_image, write_model

from ultralytics import YOLO
from ultralytics.data.dataset_config import DatasetError, DatasetNotFoundError
from ultralytics.models.yolo.classify import ClassificationValidator
from ultralytics.models.yolo.classify.val import class_map
from ultralytics.nn.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from ultralytics.nn.tasks import ClassificationModel
from ultralytics.utils import LOGGER

COMMON = {"imgsz": 32, "batch": 8, "workers": 0, "device": "cpu", "plots": False, "verbose": False}


@pytest.fixture
def model_file(tmp_path):
    return write_model(tmp_path)


@pytest.fixture
def knows_colors(model_file):
    """A network with the classes red, green, blue in this order, which recognizes them without training."""
    yolo = YOLO(model_file)
    network = ClassificationModel(model_file, nc=3, verbose=False).eval()
    network.names, network.named, network.task = {0: "red", 1: "green", 2: "blue"}, True, "classify"
    network.args = yolo.model.args
    with torch.no_grad():  # a linear head fitted to the mean features of the colors
        images = torch.eye(3)[:, :, None, None].expand(3, 3, 32, 32) * 0.8 + 0.1
        features = []
        hook = network.model[-1].drop.register_forward_hook(lambda _m, _i, out: features.append(out))
        network(images)
        hook.remove()
        centered = features[0] - features[0].mean(0)
        weight = centered / centered.norm(dim=1, keepdim=True) ** 2 * 50
        network.model[-1].linear.weight.copy_(weight)
        network.model[-1].linear.bias.copy_(-weight @ features[0].mean(0))
    yolo.model = network
    return yolo


def accuracy(yolo, data, tmp_path, **options):
    return yolo.val(data=data, project=str(tmp_path / "runs"), **COMMON | options).top1


# ---- classes by name -------------------------------------------------------------------------------------------------


def test_classes_of_the_data_are_matched_by_name(knows_colors, tmp_path):
    """The network counts red, green, blue; the folders in alphabetical order are blue, green, red."""
    data = write_dataset(tmp_path / "data", train=every_class(1), val=every_class(3))
    assert accuracy(knows_colors, data, tmp_path) == 1.0
    matrix = knows_colors.metrics.confusion_matrix.matrix
    np.testing.assert_array_equal(matrix, np.diag([3, 3, 3]))


def test_a_missing_class_folder_does_not_shift_the_classes(knows_colors, tmp_path, caplog, monkeypatch):
    """8.3.0 numbers the folders of each split by themselves."""
    monkeypatch.setattr(LOGGER, "propagate", True)
    data = write_dataset(tmp_path / "data", train=every_class(1), val={"green": 2, "red": 2})
    assert accuracy(knows_colors, data, tmp_path) == 1.0
    assert "no folder for blue" in " ".join(record.getMessage() for record in caplog.records)
    validator = ClassificationValidator(args={"data": data, "mode": "val", "project": str(tmp_path / "runs"), **COMMON})
    validator(model=knows_colors.model)
    per_class = {c.name: (c.images, dict(c.metrics)) for c in validator.result.per_class}
    ones = dict.fromkeys(validator.metric_keys, 1.0)
    assert per_class == {"red": (2, ones), "green": (2, ones), "blue": (0, {})}


def test_weights_of_a_class_are_transferred_by_name(knows_colors, tmp_path):
    """Training on blue and red continues with the rows of these classes."""
    rows = knows_colors.model.model[-1].linear.weight.detach().clone()  # red, green, blue
    data = write_dataset(tmp_path / "data", train={"blue": 4, "red": 4}, val={"blue": 1, "red": 1})
    knows_colors.save(tmp_path / "colors.pt")
    transferred = []
    yolo = YOLO(tmp_path / "colors.pt")
    yolo.add_callback("on_train_start", lambda t: transferred.append(t.model.model[-1].linear.weight.detach().clone()))
    yolo.train(data=data, epochs=1, project=str(tmp_path / "runs"), **COMMON)
    assert yolo.names == {0: "blue", 1: "red"}
    assert torch.equal(transferred[0], rows[[2, 0]])


def test_a_class_map_needs_every_class():
    network = {0: "cat", 1: "dog", 2: "bird"}
    assert class_map({0: "bird", 1: "cat"}, network, "data") == [2, 0]
    assert class_map({0: "x", 1: "y", 2: "z"}, network, "data") == [0, 1, 2]  # no name is known
    with pytest.raises(ValueError, match=r"data: 'fish' is not a class of the network \(cat, dog, bird\)"):
        class_map({0: "cat", 1: "fish", 2: "dog"}, network, "data")
    with pytest.raises(ValueError, match="'x' is not a class"):
        class_map({0: "x", 1: "y"}, network, "data")


# ---- one folder, divided ---------------------------------------------------------------------------------------------


def test_one_folder_is_divided_by_the_seed_of_training(model_file, tmp_path):
    """Later validations use the same images, whatever the fraction of the training images."""
    data = write_dataset(tmp_path / "data", all=every_class(10))
    used, validated = set(), []

    def note(trainer):
        used.update(image.path for image in trainer.train_loader.dataset.samples)
        validated.append({image.path for image in trainer.test_loader.dataset.samples})

    for fraction in (1.0, 0.5):
        yolo = YOLO(model_file)
        yolo.add_callback("on_train_start", note)
        yolo.train(data=data, epochs=1, seed=5, fraction=fraction, project=str(tmp_path / "runs"), **COMMON)
    assert validated[0] == validated[1] and len(validated[0]) == 6
    assert not used & validated[0]
    again = YOLO(yolo.trainer.best)
    again.add_callback("on_val_start", lambda v: validated.append({i.path for i in v.dataloader.dataset.samples}))
    again.val(project=str(tmp_path / "runs"), workers=0, plots=False, verbose=False)
    assert validated[2] == validated[0]


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("splits", "error", "message"),
    [
        ({"train": {"red": 2}}, ValueError, "there are no images for validation"),
        ({"train": {"red": 2}, "val": {"blue": 1}}, DatasetError, "'blue' is not a class of the training images"),
        ({"train": {"red": 0}, "val": {"red": 1}}, DatasetError, "train: there is no image"),
        ({"val": {"red": 1}}, DatasetNotFoundError, "there is no folder 'train'"),
    ],
)
def test_mistakes_are_named_and_leave_no_folder(model_file, tmp_path, splits, error, message):
    root = tmp_path / "data"
    for split, classes in splits.items():
        for name, count in classes.items():
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                write_image(root / split / name / f"{i}.png", name, i)
    with pytest.raises(error, match=message):
        YOLO(model_file).train(data=str(root), epochs=1, project=str(tmp_path / "runs"), **COMMON)
    assert not (tmp_path / "runs").exists()


def test_data_of_another_task(model_file, tiny_model, tiny_data, tmp_path):
    with pytest.raises(DatasetError, match="classification takes a folder"):
        YOLO(model_file).train(data=str(tiny_data), epochs=1, project=str(tmp_path / "runs"), **COMMON)
    for folder in (tiny_data.parent, tiny_data.parent / "images"):
        with pytest.raises(DatasetError, match=r"images' and 'labels' belong to|no image in the folders|no class"):
            YOLO(model_file).train(data=str(folder), epochs=1, project=str(tmp_path / "runs"), **COMMON)
    data = write_dataset(tmp_path / "data", train=every_class(1), val=every_class(1))
    with pytest.raises((ValueError, FileNotFoundError), match="is a folder"):
        YOLO(str(tiny_model)).train(data=data, epochs=1, project=str(tmp_path / "runs"), **COMMON)
    with pytest.raises(ValueError, match="needs data: use data=FOLDER"):
        YOLO(model_file).train(epochs=1, project=str(tmp_path / "runs"), **COMMON)


def test_a_missing_split_is_named(knows_colors, tmp_path):
    data = write_dataset(tmp_path / "data", train=every_class(1), test=every_class(1))
    with pytest.raises(ValueError, match="validation needs images in 'val', but the dataset has only train, test"):
        accuracy(knows_colors, data, tmp_path)
    assert accuracy(knows_colors, data, tmp_path, split="test") == 1.0


def test_corrupt_images_are_left_out(model_file, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    data = write_dataset(tmp_path / "data", train=every_class(2), val=every_class(1))
    (tmp_path / "data" / "train" / "red" / "0.png").write_bytes(b"no image")
    YOLO(model_file).train(data=data, epochs=1, project=str(tmp_path / "runs"), **COMMON)
    assert "5 images in 3 classes, 1 corrupt" in " ".join(record.getMessage() for record in caplog.records)


# ---- settings of normalizations --------------------------------------------------------------------------------------


def norms(network):
    return {(m.eps, m.momentum) for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)}


def test_normalizations_are_those_of_8_3_0(model_file):
    network = ClassificationModel(model_file, verbose=False)
    assert norms(network) == {(1e-5, 0.1)}
    state = network.state_dict()
    assert all(int(v) == 0 for k, v in state.items() if k.endswith("num_batches_tracked"))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_normalizations_of_a_file_are_kept(model_file, tmp_path, suffix):
    """Files of earlier versions of ultralytics have other settings."""
    network = ClassificationModel(model_file, verbose=False)
    for m in network.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.eps, m.momentum = 1e-3, 0.03
    path = tmp_path / f"older{suffix}"
    save_checkpoint(path, network, finished=True)
    assert norms(load_checkpoint(path).network) == {(1e-3, 0.03)}
    next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)).eps = -1.0
    save_checkpoint(path, network, finished=True)
    with pytest.raises(CheckpointError, match="has the epsilon and momentum"):
        load_checkpoint(path)
