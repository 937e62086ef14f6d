"""The losses of all tasks, one file per task; ultralytics.utils.loss has them under their official path."""
