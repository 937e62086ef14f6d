"""Names that a path has in 8.3.0 and that this package defines elsewhere: strings only, so that nothing is imported.

A module offers them with `__getattr__ = official_names(__name__)`. They are for users' scripts; the package
itself imports every name from the module that defines it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

_ENVIRONMENT = "ultralytics.utils.environment"
_CONSOLE = "ultralytics.utils.console"
_WRAPPERS = "ultralytics.utils.wrappers"
_DEFAULTS = "ultralytics.cfg.official_defaults"
_FOLDERS = "ultralytics.utils.user_folders"
_VERSIONS = "ultralytics.utils.torch_versions"


def _each(module: str, *names: str) -> dict[str, str]:
    return {name: f"{module}:{name}" for name in names}


_PLATFORM = _each(_ENVIRONMENT, "ARM64", "LINUX", "MACOS", "WINDOWS", "PYTHON_VERSION", "NUM_THREADS", "ARGV")
_MACHINE = {
    "IS_COLAB": f"{_ENVIRONMENT}:is_colab()",
    "IS_DOCKER": f"{_ENVIRONMENT}:is_docker()",
    "IS_GIT_DIR": f"{_ENVIRONMENT}:is_git_dir()",
    "IS_JETSON": f"{_ENVIRONMENT}:is_jetson()",
    "IS_JUPYTER": f"{_ENVIRONMENT}:is_jupyter()",
    "IS_KAGGLE": f"{_ENVIRONMENT}:is_kaggle()",
    "IS_PIP_PACKAGE": f"{_ENVIRONMENT}:is_pip_package()",
    "IS_RASPBERRYPI": f"{_ENVIRONMENT}:is_raspberrypi()",
    "ONLINE": f"{_ENVIRONMENT}:is_online()",
    "TORCHVISION_VERSION": f"{_ENVIRONMENT}:torchvision_version()",
}
_TORCH_AT_LEAST = _each(
    _VERSIONS,
    *("TORCH_1_9", "TORCH_1_10", "TORCH_1_13", "TORCH_2_0", "TORCH_2_4"),
    *("TORCHVISION_0_10", "TORCHVISION_0_11", "TORCHVISION_0_13", "TORCHVISION_0_18"),
)
_PATHS = {
    "DATASETS_DIR": f"{_FOLDERS}:datasets_dir()",
    "RUNS_DIR": f"{_FOLDERS}:runs_dir()",
    "SETTINGS": "ultralytics.utils.settings:settings",
    "SETTINGS_FILE": f"{_FOLDERS}:settings_file()",
    "USER_CONFIG_DIR": "ultralytics.utils.settings:settings_dir()",
    "WEIGHTS_DIR": f"{_FOLDERS}:weights_dir()",
}
_DEFAULT_OPTIONS = _each(_DEFAULTS, "DEFAULT_CFG", "DEFAULT_CFG_DICT", "DEFAULT_CFG_KEYS", "DEFAULT_CFG_PATH")
_LOG = _each("ultralytics.utils", "LOGGER", "RANK", "LOCAL_RANK", "ROOT", "ASSETS")
_TQDM = {"TQDM": "ultralytics.utils.progress_bar:TQDM"}
_LAYERS = _each(
    "ultralytics.nn.modules",
    *("AConv", "ADown", "AIFI", "Bottleneck", "BottleneckCSP", "C1", "C2", "C2PSA", "C2f"),
    *("C2fAttn", "C2fCIB", "C2fPSA", "C3", "C3Ghost", "C3TR", "C3k2", "C3x", "CBFuse"),
    *("CBLinear", "Classify", "Concat", "Conv", "Conv2", "ConvTranspose", "DWConv"),
    *("DWConvTranspose2d", "ELAN1", "Focus", "GhostBottleneck", "GhostConv", "HGBlock"),
    *("HGStem", "ImagePoolingAttn", "OBB", "PSA", "RepC3", "RepConv", "RepNCSPELAN4"),
    *("RepVGGDW", "ResNetLayer", "SCDown", "SPP", "SPPELAN", "SPPF", "Segment"),
    "v10Detect",
)
_CALLBACKS = _each(
    "ultralytics.engine.official_callbacks", "add_integration_callbacks", "default_callbacks", "get_default_callbacks"
)

OFFICIAL_NAMES: dict[str, dict[str, str]] = {
    "ultralytics.utils": {
        **_PLATFORM,
        **_MACHINE,
        **_PATHS,
        **_DEFAULT_OPTIONS,
        **_TQDM,
        **_each(_ENVIRONMENT, "get_git_branch", "get_git_dir", "get_git_origin_url", "get_ubuntu_version"),
        **_each(_ENVIRONMENT, "is_colab", "is_dir_writeable", "is_docker", "is_git_dir", "is_github_action_running"),
        **_each(
            _ENVIRONMENT, "is_jetson", "is_jupyter", "is_kaggle", "is_online", "is_pip_package", "is_pytest_running"
        ),
        **_each(_ENVIRONMENT, "is_raspberrypi", "is_ubuntu", "read_device_model", "ENVIRONMENT"),
        **_each(_CONSOLE, "colorstr", "emojis", "remove_colorstr", "PREFIX", "TQDM_BAR_FORMAT"),
        **_each(_WRAPPERS, "Retry", "SimpleClass", "ThreadingLocked", "TryExcept", "get_default_args", "threaded"),
        **_each("ultralytics.utils.yaml_files", "yaml_load", "yaml_print", "yaml_save"),
        **_each("ultralytics.utils.addresses", "clean_url", "url2file"),
        "GIT_DIR": f"{_ENVIRONMENT}:get_git_dir()",
        "PROC_DEVICE_MODEL": f"{_ENVIRONMENT}:read_device_model()",
        "SettingsManager": "ultralytics.utils.settings:Settings",
        "TESTS_RUNNING": f"{_ENVIRONMENT}:is_pytest_running()",
        "TORCH_VERSION": "torch:__version__",
        "__version__": "ultralytics.version:__version__",
        "get_user_config_dir": f"{_FOLDERS}:get_user_config_dir",
    },
    "ultralytics.utils.checks": {
        **_PLATFORM,
        **_MACHINE,
        **_each("ultralytics.utils.version_checks", "check_python", "check_requirements", "check_torchvision"),
        **_each("ultralytics.utils.version_checks", "check_version", "parse_requirements", "parse_version"),
        **_each("ultralytics.utils.file_checks", "check_file", "check_is_path_safe", "check_model_file_from_stem"),
        **_each("ultralytics.utils.file_checks", "check_suffix", "check_yaml", "check_yolov5u_filename", "is_ascii"),
        **_each("ultralytics.utils.system_checks", "check_amp", "check_imshow", "check_yolo", "collect_system_info"),
        **_each("ultralytics.utils.system_checks", "cuda_device_count", "cuda_is_available", "git_describe"),
        **_each("ultralytics.utils.system_checks", "print_args"),
        "ASSETS": "ultralytics.utils:ASSETS",
        "LOGGER": "ultralytics.utils:LOGGER",
        "USER_CONFIG_DIR": "ultralytics.utils.settings:settings_dir()",
        "check_imgsz": "ultralytics.cfg:check_imgsz",
    },
    "ultralytics.data.utils": {
        **_each(_ENVIRONMENT, "NUM_THREADS"),
        **_TQDM,
        "DATASETS_DIR": f"{_FOLDERS}:datasets_dir()",
        "SETTINGS_FILE": f"{_FOLDERS}:settings_file()",
    },
    "ultralytics.utils.files": {
        **_each("ultralytics.utils.file_facts", "WorkingDirectory", "file_age", "file_date", "file_size"),
        **_each("ultralytics.utils.file_facts", "get_latest_run", "spaces_in_path"),
    },
    "ultralytics.utils.callbacks": dict(_CALLBACKS),
    "ultralytics.utils.callbacks.base": dict(_CALLBACKS),
    "ultralytics.utils.torch_utils": {
        **_each(_ENVIRONMENT, "NUM_THREADS", "PYTHON_VERSION", "WINDOWS"),
        **_each(_DEFAULTS, "DEFAULT_CFG_DICT", "DEFAULT_CFG_KEYS"),
        **_TORCH_AT_LEAST,
        **_each("ultralytics.nn.fuse", "fuse_conv_and_bn", "fuse_deconv_and_bn", "initialize_weights"),
        **_each("ultralytics.nn.info", "get_flops", "get_num_gradients", "get_num_params", "model_info"),
        **_each("ultralytics.nn.info", "model_info_for_loggers"),
        **_each("ultralytics.utils.torch_helpers", "autocast", "convert_optimizer_state_dict_to_fp16", "copy_attr"),
        **_each("ultralytics.utils.torch_helpers", "de_parallel", "get_cpu_info", "get_flops_with_torch_profiler"),
        **_each("ultralytics.utils.torch_helpers", "profile", "scale_img", "smart_inference_mode", "time_sync"),
        **_each("ultralytics.utils.torch_helpers", "torch_distributed_zero_first"),
        "TORCHVISION_VERSION": f"{_ENVIRONMENT}:torchvision_version()",
        "strip_optimizer": "ultralytics.nn.checkpoint.official:strip_optimizer",
    },
    "ultralytics.utils.metrics": {
        **_each("ultralytics.utils.keypoint_metrics", "OKS_SIGMA", "kpt_iou"),
        **_each("ultralytics.utils.task_metrics", "ClassifyMetrics", "OBBMetrics", "PoseMetrics", "SegmentMetrics"),
        "LOGGER": "ultralytics.utils:LOGGER",
        "SimpleClass": f"{_WRAPPERS}:SimpleClass",
        "mask_iou": "ultralytics.utils.masks:mask_iou",
        "smooth_BCE": "ultralytics.utils.official_ops:smooth_BCE",
    },
    "ultralytics.data": {
        **_each("ultralytics.data.base", "BaseDataset"),
        **_each("ultralytics.data.build", "build_dataloader", "build_yolo_dataset", "load_inference_source"),
        **_each("ultralytics.data.classify", "ClassificationDataset"),
        **_each("ultralytics.data.dataset", "YOLODataset"),
    },
    "ultralytics.data.dataset": {
        **_each(_ENVIRONMENT, "NUM_THREADS"),
        **_TQDM,
        "ClassificationDataset": "ultralytics.data.classify:ClassificationDataset",
        "LOCAL_RANK": "ultralytics.utils:LOCAL_RANK",
    },
    "ultralytics.nn.tasks": {
        **_LAYERS,
        **_each(_DEFAULTS, "DEFAULT_CFG_DICT", "DEFAULT_CFG_KEYS"),
        **_each("ultralytics.nn.checkpoint.official", "Ensemble", "attempt_load_one_weight", "attempt_load_weights"),
        **_each("ultralytics.nn.checkpoint.official", "torch_safe_load"),
    },
    "ultralytics.cfg": {
        **_DEFAULT_OPTIONS,
        **_LOG,
        **_each(_DEFAULTS, "CFG_BOOL_KEYS", "CFG_FLOAT_KEYS", "CFG_FRACTION_KEYS", "CFG_INT_KEYS", "MODELS"),
        **_each(_DEFAULTS, "TASK2DATA", "TASK2METRIC", "TASK2MODEL"),
        **_each("ultralytics.utils", "IterableSimpleNamespace"),
        **_each(_ENVIRONMENT, "ARGV"),
        "RUNS_DIR": f"{_FOLDERS}:runs_dir()",
        "SETTINGS": "ultralytics.utils.settings:settings",
        "SETTINGS_FILE": f"{_FOLDERS}:settings_file()",
        "TESTS_RUNNING": f"{_ENVIRONMENT}:is_pytest_running()",
        "cfg2dict": "ultralytics.cfg.official_defaults:cfg2dict",
        "entrypoint": "ultralytics.cli:entrypoint",
    },
}


def official_names(module: str) -> Callable[[str], object]:
    """The `__getattr__` of a module, which gives the names of `OFFICIAL_NAMES` at their first use.

    Args:
        module: name of the module.
    """
    table = OFFICIAL_NAMES[module]

    def get(name: str) -> object:
        if name not in table:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        source, _, attribute = table[name].partition(":")
        value = getattr(importlib.import_module(source), attribute.removesuffix("()"))
        return value() if attribute.endswith("()") else value

    return get
