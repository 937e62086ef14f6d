"""The time budget with a clock that the test sets."""

import pytest

from ultralytics.engine.stopping import TimeBudget


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_time_is_counted_from_the_start():
    clock = Clock()
    budget = TimeBudget(0.5, clock)
    clock.now = 5000.0
    assert budget.start() == 5000.0
    clock.now += 1800.0
    assert not budget.used_up and budget.elapsed == 1800.0
    clock.now += 0.1
    assert budget.used_up


@pytest.mark.parametrize("hours", [None, 0])
def test_no_limit(hours):
    clock = Clock()
    budget = TimeBudget(hours, clock)
    clock.now = 1e9
    assert not budget.used_up
    with pytest.raises(ValueError, match="without a time limit"):
        budget.epochs_that_fit(0, 0)


@pytest.mark.parametrize(
    ("elapsed", "epoch", "start", "epochs"),
    [(360, 0, 0, 10), (400, 0, 0, 9), (720, 1, 0, 10), (360, 5, 5, 10), (4000, 2, 0, 3)],
)
def test_epochs_that_fit_into_an_hour(elapsed, epoch, start, epochs):
    clock = Clock()
    budget = TimeBudget(1, clock)
    clock.now += elapsed
    assert budget.epochs_that_fit(epoch, start) == epochs
