"""The table of tasks: every row is complete, and what it names exists."""

import subprocess
import sys

import pytest
from project import ROOT

from ultralytics.tasks import TASKS, get_task, task_of_head, task_of_model_class


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_row_leads_to_classes(task):
    for role in ("model", "trainer", "validator", "predictor"):
        cls = task.load(role)
        assert cls.__name__ == f"{task.prefix}{role.capitalize()}"
    assert task_of_model_class(task.model_class) is task
    for head in (*task.heads, *task.aliases):
        assert task_of_head([head.upper()]) is task
    assert len(set(task.metric_keys)) == len(task.metric_keys) > 0


def test_unknown_names():
    assert task_of_head(["Conv"]) is None
    assert task_of_model_class("RTDETRDetectionModel") is None
    with pytest.raises(ValueError, match=r"best\.pt: the task 'detct' is not part .*did you mean 'detect'"):
        get_task("detct", "best.pt")


def test_the_table_imports_no_torch():
    code = "import sys, ultralytics.tasks; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
