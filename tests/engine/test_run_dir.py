"""results.csv and the history of a run."""

from ultralytics.engine.run_dir import RunDir
from ultralytics.utils.files import read_results, yaml_load


def test_rows_have_fixed_width_and_can_be_read_back(tmp_path):
    record = RunDir(tmp_path / "运行 1")
    record.start({"epochs": 2, "name": None})
    record.add({"epoch": 1, "train/box_loss": 1.23456789, "metrics/mAP50(B)": 0.0})
    record.add({"epoch": 2, "train/box_loss": 0.5, "metrics/mAP50(B)": 1e-7})
    lines = record.csv.read_text().splitlines()
    assert len(lines) == 3
    assert lines[0] == f"{'epoch':>23},{'train/box_loss':>23},{'metrics/mAP50(B)':>23}"
    assert lines[1] == f"{1:23.5g},{1.23456789:23.5g},{0:23.5g}"
    assert read_results(record.csv) == {
        "epoch": [1.0, 2.0],
        "train/box_loss": [1.2346, 0.5],
        "metrics/mAP50(B)": [0.0, 1e-7],
    }
    assert record.epochs == 2
    assert yaml_load(record.save_dir / "args.yaml") == {"epochs": 2, "name": None}


def test_the_unfinished_file_of_a_killed_run_is_removed(tmp_path):
    record = RunDir(tmp_path)
    record.weights.mkdir()
    (record.weights / ".best.pt.1234.tmp").write_bytes(b"half")
    record.last.write_bytes(b"whole")
    record.start({})
    assert [p.name for p in record.weights.iterdir()] == ["last.pt"]


def test_history_is_continued_and_copied(tmp_path):
    before = {"epoch": [1]}
    record = RunDir(tmp_path, before)
    record.add({"epoch": 2})
    assert before == {"epoch": [1]} and record.history == {"epoch": [1, 2]}
