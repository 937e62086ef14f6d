"""Events: order of functions, unknown names."""

import pytest

from ultralytics.engine.callbacks import EVENTS, Callbacks


def test_functions_run_in_the_order_they_were_added():
    seen = []
    callbacks = Callbacks({"on_val_end": [lambda s: seen.append(("a", s))]})
    callbacks.add("on_val_end", lambda s: seen.append(("b", s)))
    callbacks.run("on_val_end", 7)
    assert seen == [("a", 7), ("b", 7)]


def test_unknown_event_names_the_nearest():
    with pytest.raises(ValueError, match="on_train_epoch_end"):
        Callbacks().add("on_train_epoch_ends", print)
    with pytest.raises(ValueError, match="no event 'xyz'"):
        Callbacks({"xyz": [print]})


def test_events_of_the_interface_are_known():
    assert {
        "on_pretrain_routine_start",
        "on_fit_epoch_end",
        "on_model_save",
        "teardown",
        "on_predict_batch_end",
    } <= set(EVENTS)
