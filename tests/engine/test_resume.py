"""Resuming a run: every option given beside `resume` has its effect or is refused by name."""

import shutil

import pytest

from ultralytics import YOLO
from ultralytics.nn.checkpoint import load_checkpoint
from ultralytics.utils.files import read_results, yaml_load


class Interrupt(KeyboardInterrupt):
    pass


@pytest.fixture(scope="module")
def interrupted(tiny_data, tiny_model_text, tmp_path_factory):
    """Folder of a run of 3 epochs that was interrupted after the first one."""
    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "tiny.yaml").write_text(tiny_model_text)
    shutil.copytree(tiny_data.parent, folder / "data")
    yolo = YOLO(folder / "tiny.yaml")

    def stop(trainer):
        if trainer.epoch == 1:
            raise Interrupt

    yolo.add_callback("on_train_epoch_start", stop)
    args = {"epochs": 3, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False, "optimizer": "auto"}
    with pytest.raises(Interrupt):
        yolo.train(data=str(folder / "data" / "data.yaml"), project=str(folder / "runs"), **args)
    return yolo.trainer.save_dir


@pytest.fixture
def run(interrupted, tmp_path):
    """A copy of that run's folder, for this test only."""
    return shutil.copytree(interrupted, tmp_path / "runs" / "train")


def resume(path, **options):
    yolo = YOLO(path)
    yolo.train(resume=True, **options)
    return yolo


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "SGD"},
        {"lr0": 0.5},
        {"seed": 7},
        {"project": "elsewhere"},
        {"name": "another"},
        {"freeze": 2},
        {"mosaic": 0.1, "fraction": 0.5},
        {"single_cls": True},
        {"amp": False},
        {"pretrained": "w.pt"},
    ],
    ids=str,
)
def test_options_that_cannot_change_are_refused_by_name(run, options):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    with pytest.raises(ValueError, match=f"resume.*{', '.join(options)}") as e:
        resume(run / "weights" / "last.pt", **options)
    assert str(run / "weights" / "last.pt") in str(e.value)
    assert before == {p: p.stat().st_mtime_ns for p in run.rglob("*")}, "nothing was changed"


def test_the_values_of_the_run_may_be_repeated(run, interrupted):
    data = str(interrupted.parents[1] / "data" / "data.yaml")
    yolo = resume(run / "weights" / "last.pt", data=data, epochs=3, optimizer="auto", imgsz=64, lr0=0.01)
    assert read_results(yolo.trainer.csv)["epoch"] == [1, 2, 3]


def test_options_that_may_change_have_their_effect(run):
    yolo = resume(run / "weights" / "last.pt", patience=1, save_period=1, batch=6, val=False, plots=True)
    assert yolo.trainer.stopper.patience == 1 and yolo.trainer.batch_size == 6
    assert (run / "weights" / "epoch2.pt").exists() and (run / "results.png").exists()
    stored = yaml_load(run / "args.yaml")
    assert stored["patience"] == 1 and stored["val"] is False


@pytest.mark.parametrize("epochs", [2, 5])
def test_the_number_of_epochs_may_change(run, epochs):
    yolo = resume(run / "weights" / "last.pt", epochs=epochs)
    results = read_results(yolo.trainer.csv)
    assert results["epoch"] == list(range(1, epochs + 1))
    assert yaml_load(run / "args.yaml")["epochs"] == epochs
    assert results["lr/pg0"][-1] == pytest.approx(yolo.trainer.lr["lr/pg0"], rel=1e-4)
    with pytest.raises(ValueError, match="nothing to resume"):
        resume(run / "weights" / "last.pt", epochs=epochs)


def test_a_run_cannot_have_fewer_epochs_than_it_has_trained(run, tmp_path):
    path = run / "weights" / "last.pt"
    content = load_checkpoint(path).content
    assert content["epoch"] == 0
    with pytest.raises(ValueError, match=r"epochs=1.*has finished 1 epoch"):
        resume(path, epochs=1)


def test_auto_keeps_its_optimizer_when_the_number_of_epochs_changes(run):
    yolo = resume(run / "weights" / "last.pt", epochs=20_000, time=1 / 3600)
    assert type(yolo.trainer.optimizer).__name__ == "AdamW", "auto takes SGD for a new run of that length"


def test_moved_data_can_be_given(run, tiny_data, tmp_path):
    data = shutil.copytree(tiny_data.parent, tmp_path / "moved")
    yolo = resume(run / "weights" / "last.pt", data=str(data / "data.yaml"))
    assert yolo.trainer.train_loader.dataset.im_files[0].startswith(str(data))
    assert yaml_load(run / "args.yaml")["data"] == str(data / "data.yaml")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("[bright, dark, gray]", "2: 'gray'"),
        ("[bright, black]", "1: 'dark'.*'black'"),
        ("[dark, bright]", "0: 'bright'"),
    ],
)
def test_other_classes_are_refused(run, tiny_data, tmp_path, names, message):
    data = shutil.copytree(tiny_data.parent, tmp_path / "other")
    text = (data / "data.yaml").read_text()
    (data / "data.yaml").write_text(text.replace("[bright, dark]", names))
    with pytest.raises(ValueError, match=rf"data\.yaml.*{message}"):
        resume(run / "weights" / "last.pt", data=str(data / "data.yaml"))


def test_a_copied_checkpoint_continues_in_a_folder_of_its_own(run, tmp_path, monkeypatch):
    elsewhere = tmp_path / "downloads" / "today"
    elsewhere.mkdir(parents=True)
    shutil.copy(run / "weights" / "last.pt", elsewhere / "last.pt")
    monkeypatch.chdir(tmp_path)
    yolo = resume(elsewhere / "last.pt", project=str(tmp_path / "new"), name="continued")
    assert yolo.trainer.save_dir == tmp_path / "new" / "continued"
    assert read_results(yolo.trainer.csv)["epoch"] == [1, 2, 3], "the history comes along"
    assert [p.name for p in (tmp_path / "downloads").rglob("*")] == ["today", "last.pt"]


def test_a_copied_checkpoint_does_not_overwrite_the_original_run(run, tmp_path, interrupted):
    copy = tmp_path / "last.pt"
    shutil.copy(run / "weights" / "last.pt", copy)
    before = sorted(p for p in interrupted.rglob("*"))
    yolo = resume(copy)
    assert yolo.trainer.save_dir == interrupted.with_name("train2")
    assert before == sorted(p for p in interrupted.rglob("*"))
    shutil.rmtree(yolo.trainer.save_dir)


def test_a_whole_run_that_was_moved_continues_where_it_is(run):
    yolo = resume(run / "weights" / "last.pt")
    assert yolo.trainer.save_dir == run
