"""Configuration: the options of default.yaml, merging and checking them, finding files, naming the run folder.

Reading order: options.py (what default.yaml describes), config.py (merging), command_line.py (words of a command),
lookup.py (model and dataset files), save_dir.py (run folder), modes.py (table of modes). Import the names from here.
"""

from __future__ import annotations

from ultralytics.cfg.command_line import join_assignments, parse_words
from ultralytics.cfg.config import cfg_help, check_imgsz, default_cfg, get_cfg, load_cfg_file, warn_unused
from ultralytics.cfg.lookup import (
    DATASETS_DIR,
    MODELS_DIR,
    data_root,
    find_data_folder,
    find_data_yaml,
    find_model_files,
    find_model_yaml,
    model_rules,
)
from ultralytics.cfg.modes import OFFICIAL_MODES as MODES  # 8.3.0 has the names of modes and tasks here
from ultralytics.cfg.options import (
    DEFAULT_YAML,
    Option,
    OptionError,
    all_options,
    check_option,
    option,
    parse_option,
)
from ultralytics.cfg.save_dir import get_save_dir, make_save_dir
from ultralytics.tasks import OFFICIAL_TASKS as TASKS

__all__ = [
    "DATASETS_DIR",
    "DEFAULT_YAML",
    "MODELS_DIR",
    "MODES",
    "TASKS",
    "Option",
    "OptionError",
    "all_options",
    "cfg_help",
    "check_imgsz",
    "check_option",
    "data_root",
    "default_cfg",
    "find_data_folder",
    "find_data_yaml",
    "find_model_files",
    "find_model_yaml",
    "get_cfg",
    "get_save_dir",
    "join_assignments",
    "load_cfg_file",
    "make_save_dir",
    "model_rules",
    "option",
    "parse_option",
    "parse_words",
    "warn_unused",
]
