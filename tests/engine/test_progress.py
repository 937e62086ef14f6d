"""Lines that a training run shows."""

import torch

from ultralytics.engine import progress


def test_line_and_heading_have_the_same_columns():
    names = ("box_loss", "cls_loss", "dfl_loss")
    batch = {"cls": torch.zeros(7, 1), "img": torch.zeros(2, 3, 64, 96)}
    line = progress.line(1, 10, torch.tensor([1.23456, 0.5, 12345.0]), batch)
    assert line.split() == ["2/10", "0.00G", "1.235", "0.5", "1.234e+04", "7", "96"]
    assert len(line) == len(progress.heading(names)) == 11 * 7
    assert progress.heading(names).split() == ["Epoch", "Memory", *names, "Instances", "Size"]


def test_a_line_is_due_at_the_end_of_an_epoch_and_not_at_every_batch():
    batches = progress.EpochProgress(list(range(50)))
    due = []
    for i, _ in batches:
        due.append(batches.due(i))
        if due[-1]:
            batches.show("text")
    batches.close()
    assert due[0] and due[-1] and sum(due) < 25


def test_summary_names_only_files_that_exist(tmp_path):
    best, last = tmp_path / "best.pt", tmp_path / "last.pt"
    best.write_bytes(b"")
    text = progress.summary(3, 61.4, {"metrics/mAP50(B)": 0.5}, {"best weights": best, "last weights": last})
    assert text.splitlines() == [
        "",
        "3 epochs in 61 seconds. Results of the best weights:",
        "  mAP50(B)        0.5000",
        f"  best weights    {best}",
        f'Next: yolo predict model="{best}" source=YOUR_IMAGES',
    ]
    assert "in 2.0 minutes" in progress.summary(3, 120, {}, {"best weights": best})
