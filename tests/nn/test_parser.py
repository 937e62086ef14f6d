"""Reading model files: rows to modules, scales, variables, and the message of every mistake."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from ultralytics.nn import registry, tasks
from ultralytics.nn.model_file import ModelFileError, guess_model_scale, read_activation, yaml_model_load
from ultralytics.nn.parser import is_known_module, parse_model
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER


@pytest.fixture
def logged(monkeypatch):
    """Texts that the logger is given."""
    texts = []
    for level in ("info", "warning"):
        monkeypatch.setattr(LOGGER, level, texts.append)
    return texts


@pytest.fixture
def added():
    """The decorator `register`; what it registers is removed after the test."""
    with registry.temporary():
        yield registry.register


# ---- names and scales ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("yolo11s-seg.yaml", "s"),
        ("yolov8x6.yaml", "x"),
        ("yolo11.yaml", ""),
        ("myyolo11m.yaml", "m"),
        ("best11n.yaml", ""),
        ("yolo11n-AKConv.yaml", "n"),
        (Path("run1x/yolo11.yaml"), ""),  # the folder does not count
    ],
)
def test_guess_model_scale(name, scale):
    assert guess_model_scale(name) == scale


def test_package_file_with_scale_letter():
    d = yaml_model_load("yolo11s.yaml")
    assert d["scale"] == "s"
    assert d["yaml_file"] == "yolo11s.yaml"
    assert list(d) == ["nc", "scales", "backbone", "head", "scale", "yaml_file"]
    assert d["scales"]["s"] == [0.5, 0.5, 1024]


def test_local_file_wins(tmp_path, monkeypatch):
    # 8.3.0 would take the package's yolo11.yaml
    (tmp_path / "yolo11n.yaml").write_text("nc: 7\nbackbone: []\nhead: []\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert yaml_model_load("yolo11n.yaml")["nc"] == 7
    assert yaml_model_load("yolo11s.yaml")["nc"] == 80


def test_missing_file():
    with pytest.raises(FileNotFoundError, match="yolo12n"):
        yaml_model_load("yolo12n.yaml")


def test_first_scale_is_the_fallback(logged):
    d = yaml_model_load("yolo11.yaml")
    assert d["scale"] == ""
    layers, _ = parse_model(d, 3, verbose=False)
    assert layers[0].conv.out_channels == 16
    assert "using 'n'" in logged[0]


def test_multiples_without_scales(tiny):
    tiny |= {"depth_multiple": 0.5, "width_multiple": 1.5}
    tiny["backbone"][2] = [-1, 3, "C2f", [16, True]]
    layers, _ = parse_model(tiny, 3, verbose=False)
    assert layers[0].conv.out_channels == 16  # 8 * 1.5 = 12, rounded up to a multiple of 8
    assert len(layers[2].m) == 2  # round(1.5), to even


@pytest.mark.parametrize(
    ("n", "depth", "repeats"), [(3, 0.33, 1), (6, 0.33, 2), (3, 0.67, 2), (6, 0.67, 4), (2, 0.5, 1), (1, 0.1, 1)]
)
def test_repeats(tiny, n, depth, repeats):
    tiny["scales"], tiny["scale"] = {"q": [depth, 1.0, 1024]}, "q"
    tiny["backbone"][2] = [-1, n, "C2f", [16, True]]
    assert len(parse_model(tiny, 3, verbose=False)[0][2].m) == repeats


def test_max_channels(tiny):
    tiny["scales"], tiny["scale"] = {"q": [1.0, 0.5, 64]}, "q"
    tiny["backbone"][3] = [-1, 1, "Conv", [1024, 3, 2]]
    assert parse_model(tiny, 3, verbose=False)[0][3].conv.out_channels == 32


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_attributes_and_save_list(tiny):
    before = deepcopy(tiny)
    layers, save = parse_model(tiny, 3, verbose=False)
    assert tiny == before
    assert save == [2, 3, 6]
    assert [m.i for m in layers] == list(range(8))
    assert layers[5].f == [-1, 2]
    assert layers[0].type == "ultralytics.nn.modules.conv.Conv"
    assert layers[4].type == "torch.nn.modules.upsampling.Upsample"
    # 8.3.0 keeps the count on the class, where the last layer wins
    assert [m.np for m in layers] == [sum(p.numel() for p in m.parameters()) for m in layers]
    assert "np" not in vars(type(layers[0]))


def test_negative_offsets_are_relative(tiny):
    tiny["head"][1] = [[-1, -3], 1, "Concat", [1]]  # from layer 5 this is 2
    layers, save = parse_model(tiny, 3, verbose=False)
    assert save == [2, 3, 6]
    assert layers[6].cv1.conv.in_channels == 32
    assert DetectionModel(tiny, verbose=False).stride.tolist() == [4, 8]


@pytest.mark.parametrize("nc", [8, 16, 64, 80, 128])
def test_widths_do_not_depend_on_nc(nc):
    # 8.3.0 leaves a layer unscaled whose width equals nc
    d = yaml_model_load("yolo11n.yaml") | {"nc": nc}
    with torch.device("meta"):
        layers, _ = parse_model(d, 3, verbose=False)
    assert [layers[i].conv.out_channels for i in (0, 1, 3, 5, 7)] == [16, 32, 64, 128, 256]
    assert layers[-1].nc == nc


@pytest.mark.parametrize(("letter", "c3k"), [("n", False), ("s", False), ("m", True), ("l", True), ("x", True)])
def test_large_scales_have_c3k_everywhere(tiny, letter, c3k):
    tiny["scales"], tiny["scale"] = {letter: [1.0, 1.0, 64]}, letter
    tiny["backbone"][2] = [-1, 1, "C3k2", [16]]
    tiny["head"][2] = [-1, 1, "C3k2", [16, False, 0.25]]
    layers, _ = parse_model(tiny, 3, verbose=False)
    assert [type(layers[i].m[0]).__name__ for i in (2, 6)] == ["C3k" if c3k else "Bottleneck"] * 2
    assert layers[6].c == 4  # the argument after c3k stays


def test_c3k2_without_scales(tiny):
    tiny["backbone"][2] = [-1, 1, "C3k2", [16, True]]  # 8.3.0: UnboundLocalError
    layers, _ = parse_model(tiny, 3, verbose=False)
    assert type(layers[2].m[0]).__name__ == "C3k"


@pytest.mark.parametrize(
    ("rows", "key", "legacy"),
    [
        ("C2f", None, True),
        ("C3k2", None, False),
        ("C2f", False, False),
        ("C3k2", True, True),
    ],
)
def test_class_branch(tiny, rows, key, legacy):
    tiny["backbone"][2] = [-1, 1, rows, [16, True]]
    if key is not None:
        tiny["legacy"] = key
    assert parse_model(tiny, 3, verbose=False)[0][-1].legacy is legacy


def test_text_arguments_become_values(tiny):
    tiny["backbone"][1] = [-1, 1, "Conv", [16, "(3, 3)", 2, "None"]]
    tiny["head"][0] = [-1, 1, "nn.Upsample", ["None", 2, "nearest"]]
    layers, _ = parse_model(tiny, 3, verbose=False)
    assert layers[1].conv.kernel_size == (3, 3)
    assert layers[4].mode == "nearest"
    assert layers[4].size is None


def test_torch_modules(tiny):
    tiny["backbone"][1] = [-1, 1, "nn.Conv2d", [8, 24, 3, 2, 1]]
    tiny["backbone"].insert(2, [-1, 1, "nn.BatchNorm2d", []])
    tiny["backbone"][3] = [-1, 1, "nn.ConvTranspose2d", [16, 2, 2]]
    tiny["backbone"] = tiny["backbone"][:4]
    tiny["head"] = [[-1, 2, "nn.Identity", []], [[-1], 1, "Detect", ["nc"]]]
    layers, _ = parse_model(tiny, 3, verbose=False)
    assert layers[2].num_features == 24  # nn.Conv2d tells its channels itself
    assert layers[3].in_channels == 24
    assert layers[3].out_channels == 16
    assert type(layers[4]) is nn.Sequential
    assert layers[5].cv2[0][0].conv.in_channels == 16


def test_repeats_of_a_module_without_n(tiny):
    tiny["backbone"][0] = [-1, 2, "Conv", [8, 3, 2]]
    layers, _ = parse_model(tiny, 3, verbose=False)
    assert [m.conv.in_channels for m in layers[0]] == [3, 8]  # 8.3.0 gives every copy 3
    assert layers[0].type == "ultralytics.nn.modules.conv.Conv"


def test_log_has_one_line_per_layer(tiny, logged):
    parse_model(tiny, 3)
    assert len(logged) == 9
    assert "[16, 16, 1, True]" in logged[3]


# ---- registered modules ----------------------------------------------------------------------------------------------


def test_signatures_of_registered_modules(tiny, added):
    class Records(nn.Identity):
        def __init__(self, *args):
            super().__init__()
            self.arguments = args

    @added("c1, c2, n, *args")
    class Wide(Records): ...

    @added("c1, *args")
    class Same(Records): ...

    @added("c1")
    class StatesChannels(Records):
        @staticmethod
        def out_channels(c1, args):
            return 2 * sum(c1) + args[0]

    tiny["backbone"] = [
        [-1, 1, "Conv", [8]],
        [-1, 4, "Wide", [20, 5]],
        [-1, 2, "Same", [7]],
        [[-1, 0], 1, "StatesChannels", [1]],
    ]
    tiny["head"] = [[3, 1, "Detect", ["nc"]]]
    layers, _ = parse_model(tiny | {"depth_multiple": 0.5}, 3, verbose=False)
    assert layers[1].arguments == (8, 24, 2, 5)
    assert layers[2].arguments == (24, 7)  # round(2 * 0.5) = 1 copy
    assert layers[3].arguments == ([24, 8],)
    assert layers[4].cv2[0][0].conv.in_channels == 65
    assert layers[1].type.endswith("Wide")
    assert all(map(is_known_module, ("Wide", "Same", "StatesChannels", "Conv", "nn.Identity")))
    assert not is_known_module("Narrow")


def test_keyword_arguments_come_last(tiny, put_in, logged):
    row = [-1, 2, "AKConv", [16, 2, {"shape": [[0, 0], [1, 1.5]], "offset_lr": 0.1, "compat": "None", "bias": True}]]
    content = put_in(tiny, 3, row)
    before = deepcopy(content)
    layers, _ = parse_model(content, 3)
    assert content == before
    for m in layers[3]:  # each of the repeats
        assert (m.num_param, m.stride, m.offset_lr, m.compat) == (2, 1, 0.1, None)
        assert m.shape == [(0.0, 0.0), (1.0, 1.5)]
        assert m.conv[0].bias is not None
    assert any("16, 16, 2, {'shape': [[0, 0], [1, 1.5]], 'offset_lr': 0.1" in text for text in logged)
    layers, _ = parse_model(put_in(tiny, 3, [-1, 1, "AKConv", [16, 5, {}]]), 3, verbose=False)
    assert layers[3].num_param == 5


def test_keyword_arguments_of_a_model_file(tmp_path, tiny_model_text):
    file = tmp_path / "net.yaml"
    text = tiny_model_text.replace("Conv, [128, 3, 2]]", "AKConv, [128, 3, 2, {shape: cross, offset_lr: 0.1}]]", 1)
    file.write_text(text, encoding="utf-8")
    m = DetectionModel(file, verbose=False)
    assert (m.model[2].offset_lr, m.model[2].shape) == (0.1, [(0.0, 0.0), (0.0, -1.0), (-1.0, 0.0)])
    again = DetectionModel(m.yaml, verbose=False)  # as a checkpoint does it
    assert again.model[2].offset_lr == 0.1


def test_names_of_standard_modules_are_taken(added):
    with pytest.raises(registry.RegistryError, match=r"'Conv' is already registered by ultralytics\.nn\.modules\.conv"):

        @added("c1", names=("Conv",))
        class Other(nn.Identity): ...


@pytest.mark.parametrize("name", ["nn.Conv2d", "Conv"])
def test_keyword_arguments_are_for_added_modules(tiny, name):
    tiny["backbone"][1] = [-1, 1, name, [8, 16, {"bias": True}]]
    with pytest.raises(ModelFileError, match=rf"layer 1 .*{name} takes positional arguments only; keyword arguments"):
        parse_model(tiny, 3, verbose=False)


def test_a_class_set_in_the_namespace_of_tasks_is_found(tiny, monkeypatch):
    """As scripts for 8.3.0 do it: arguments as written, channels kept, or the replaced class's signature."""

    class MyBlock(nn.Conv2d): ...

    class MyC2f(nn.Module):
        def __init__(self, c1, c2, n, shortcut=False):
            super().__init__()
            self.arguments, self.conv = (c1, c2, n, shortcut), nn.Conv2d(c1, c2, 1)

        def forward(self, x):
            return self.conv(x)

    assert not is_known_module("MyBlock")
    monkeypatch.setattr(tasks, "MyBlock", MyBlock, raising=False)
    monkeypatch.setattr(tasks, "C2f", MyC2f, raising=False)
    tiny["backbone"][1] = [-1, 1, "MyBlock", [8, 24, 3, 2, 1]]
    network = DetectionModel(tiny, verbose=False)
    assert type(network.model[1]) is MyBlock and network.model[1].out_channels == 24
    assert network.model[2].arguments == (24, 16, 1, True)


def test_further_arguments_are_scaled_by_the_width(tiny, added):
    @added("*args, ch, legacy", scaled_args=(2,))
    class Prototypes(nn.Module):
        def __init__(self, *args):
            super().__init__()
            self.arguments = args

    tiny |= {"scales": {"q": [1.0, 0.5, 128]}, "scale": "q"}
    tiny["head"][3] = [[2, 3], 1, "Prototypes", ["nc", 32, 256]]
    head = parse_model(tiny, 3, verbose=False)[0][-1]
    assert head.arguments == (3, 32, 64, [8, 8], True)


def test_channels_may_be_a_list(tiny, added):
    """A module with several outputs states a list; what reads it is given that list."""

    @added("c1, *args")
    class Split(nn.Module):
        def __init__(self, c1, parts):
            super().__init__()

        @staticmethod
        def out_channels(c1, args):
            return args[0]

    @added("c1")
    class Join(nn.Module):
        def __init__(self, c1):
            super().__init__()
            self.c1 = c1

        @staticmethod
        def out_channels(c1, args):
            return c1[-1]

    tiny["backbone"][2:] = [[-1, 1, "Split", [[8, 24]]], [[-1, 0], 1, "Join", []]]
    tiny["head"] = [[-1, 1, "Conv", [16]]]
    layers, _ = parse_model(tiny, 3, verbose=False)
    assert layers[3].c1 == [[8, 24], 8]
    assert layers[4].conv.in_channels == 8


# ---- the activation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nn.ReLU()", "ReLU()"),
        ("ReLU", "ReLU()"),
        ("torch.nn.LeakyReLU(0.1)", "LeakyReLU(negative_slope=0.1)"),
        (" nn.LeakyReLU(negative_slope=0.2) ", "LeakyReLU(negative_slope=0.2)"),
        ("nn.ReLU(inplace=True)", "ReLU(inplace=True)"),
        ("nn.GELU('tanh')", "GELU(approximate='tanh')"),
    ],
)
def test_read_activation(text, expected):
    assert repr(read_activation({"activation": text})) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nn.Silu()", "torch.nn has no 'Silu'; did you mean nn.SiLU\\(\\)\\?"),
        ("nn.functional", "torch.nn has no 'functional'"),
        ("__import__('os').getcwd()", "torch.nn has no '__import__"),
        ("nn.ReLU(open('x'))", "cannot be read; write a class of torch.nn such as"),
        ("nn.ReLU(", "cannot be read"),
        ("3", "torch.nn has no '3'"),
        ("nn.ReLU(slope=3)", "'nn.ReLU\\(slope=3\\)' does not fit: .*slope"),
    ],
)
def test_unusable_activations(text, message):
    with pytest.raises(ModelFileError, match=message):
        read_activation({"activation": text})


def test_no_activation():
    assert read_activation({}) is None


# ---- mistakes --------------------------------------------------------------------------------------------------------


def _row(i, row):
    def change(d):
        part, k = ("backbone", i) if i < 4 else ("head", i - 4)
        d[part][k] = row

    return change


MISTAKES = [
    (
        "unknown module",
        _row(2, [-1, 1, "C2ff", [16]]),
        r"layer 2 \[-1, 1, 'C2ff', \[16\]\]: there is no .*did you mean C2f\?.*@register",
    ),
    (
        "unknown torch module",
        _row(4, [-1, 1, "nn.Upsampel", [2]]),
        r"layer 4 .*no module 'Upsampel'; did you mean nn.Upsample\?",
    ),
    ("torch function", _row(4, [-1, 1, "nn.functional", []]), r"torch.nn has no module 'functional'"),
    ("from a later layer", _row(1, [3, 1, "Conv", [8]]), r"layer 1 .*`from` 3 is not a layer before.*-1 or 0 … 0"),
    (
        "from itself",
        _row(2, [2, 1, "Conv", [8]]),
        r"`from` 2 is not a layer before this one; here it can be -1 or 0 … 1",
    ),
    ("from before the first", _row(2, [-4, 1, "Conv", [8]]), r"`from` -4 is not a layer"),
    (
        "first row from 0",
        _row(0, [0, 1, "Conv", [8]]),
        r"`from` 0 is not a layer before this one; here it can be -1 \(the image\)",
    ),
    ("head from a missing layer", _row(7, [[6, 33], 1, "Detect", ["nc"]]), r"layer 7 .*`from` 33 is not a layer"),
    ("from is a text", _row(2, ["x", 1, "Conv", [8]]), r"`from` must be a layer number or a list of them, found 'x'"),
    ("from empty", _row(7, [[], 1, "Detect", ["nc"]]), r"`from` must be a layer number or a list of them, found \[\]"),
    ("repeats", _row(2, [-1, 0, "Conv", [8]]), r"`repeats` must be an integer of at least 1, found 0"),
    ("repeats out of range", _row(2, [-1, 10**12, "nn.Identity", []]), r"layer 2 .*repeats=1000000000000 exceeds 1000"),
    ("no args", _row(2, [-1, 1, "Conv"]), r"layer 2 .*a row has four parts"),
    ("args no list", _row(2, [-1, 1, "Conv", 8]), r"the fourth a list of arguments"),
    ("no channels", _row(2, [-1, 1, "Conv", []]), r"Conv needs the number of its output channels first"),
    ("channels no number", _row(2, [-1, 1, "C2f", [True]]), r"C2f needs the number of its output channels first"),
    (
        "too many args",
        _row(2, [-1, 1, "SPPF", [16, 5, 1, 2]]),
        r"layer 2 .*SPPF\(16, 16, 5, 1, 2\) fails: .*takes \(c1: 'int', c2: 'int', k: .*a row passes \(c1, c2,",
    ),
    (
        "wrong type",
        _row(2, [-1, 1, "Conv", [16, "three"]]),
        r"layer 2 .*Conv\(16, 16, 'three'\) fails: .*a row passes",
    ),
    (
        "a keyword argument for a standard module",
        _row(2, [-1, 1, "C2f", [16, {"shortcut": True}]]),
        r"layer 2 .*C2f takes positional arguments only; keyword arguments, \{'shortcut': True\}, are for",
    ),
    (
        "a keyword that is a number",
        _row(2, [-1, 1, "AKConv", [16, 3, 2, {1: 2}]]),
        r"layer 2 .*keyword arguments are written \{name: value\}, such as \{bias: True\}, not \{1: 2\}",
    ),
    (
        "an unknown keyword argument",
        _row(2, [-1, 1, "AKConv", [16, 3, {"offset_rl": 0.1}]]),
        r"layer 2 .*AKConv\(16, 16, 3, offset_rl=0.1\) fails: .*'offset_rl'.*The class takes \(inc: 'int'",
    ),
    (
        "keyword arguments before positional ones",
        _row(2, [-1, 1, "AKConv", [{"offset_lr": 0.1}, 16]]),
        r"layer 2 .*AKConv needs the number of its output channels first",
    ),
    (
        "several inputs for a registered module",
        _row(2, [[-1, 0], 1, "AKConv", [16, 3]]),
        r"layer 2 .*AKConv\(\[16, 8\], 16, 3\) fails: .*If it takes one input, join several with a Concat row",
    ),
    (
        "constructor raises",
        _row(2, [-1, 1, "C2PSA", [32]]),
        r"C2PSA needs as many output as input channels, got c1=16, c2=32",
    ),
    (
        "several inputs for a standard module",
        _row(6, [[5, 2], 1, "C2f", [16]]),
        r"layer 6 .*C2f takes one input; join several with a Concat",
    ),
    (
        "sizes differ",
        _row(5, [[-1, 3], 1, "Concat", [1]]),
        r"layer 5 .*layer 4 \(1, 16, 64, 64\), layer 3 \(1, 16, 32, 32\)\. Sizes of tensors must match",
    ),
    (
        "one map too small",
        _row(3, [-1, 1, "nn.AvgPool2d", [512]]),
        r"layer 3 .*layer 2 \(1, 16, 64, 64\)\. .*too small.*Check `from`",
    ),
    ("image does not fit", _row(0, [-1, 1, "nn.Conv2d", [4, 8, 3, 2, 1]]), r"layer 0 .*the image \(1, 3, 256, 256\)"),
    ("no nc", lambda d: d.pop("nc"), r"the row uses nc, but the file does not set it; add a line `nc: …`"),
    ("no head", lambda d: d.pop("head"), r"`head:` must be a list of rows \[from, repeats, module, args\], found None"),
    ("no backbone", lambda d: d.update(backbone="Conv"), r"`backbone:` must be a list of rows .*found 'Conv'"),
    ("no rows", lambda d: d.update(backbone=[], head=[]), r"backbone and head have no rows"),
    ("scales a list", lambda d: d.update(scales=[1]), r"`scales:` must map letters to"),
    (
        "unknown scale",
        lambda d: d.update(scales={"n": [1, 1, 64], "q": [1, 1, 64]}, scale="z"),
        r"there is no scale 'z'; `scales:` has n, q",
    ),
    (
        "scale of two numbers",
        lambda d: d.update(scales={"n": [1, 1]}, scale="n"),
        r"scale 'n' must be \[depth, width, max_channels\], found \[1, 1\]",
    ),
    (
        "activation unknown",
        lambda d: d.update(activation="nn.Relu()"),
        r"torch.nn has no 'Relu'; did you mean nn.ReLU\(\)\?",
    ),
]


@pytest.mark.parametrize(("change", "message"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistakes(tiny, change, message):
    change(tiny)
    with pytest.raises(ModelFileError, match=message) as error:
        DetectionModel(tiny | {"yaml_file": "custom.yaml"}, verbose=False)
    assert str(error.value).startswith("custom.yaml: ")


def test_unused_arguments_are_reported(tiny, caplog):
    tiny["backbone"][2] = [-1, 1, "deformable_LKA_Attention", [16]]
    DetectionModel(tiny | {"yaml_file": "custom.yaml"}, verbose=False)
    (message,) = caplog.messages
    assert (
        message.startswith("custom.yaml: layer 2 ") and "takes no such arguments, [16] is ignored; remove it" in message
    )


def test_message_names_the_line(tmp_path):
    text = "# a comment\nnc: 2\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n\nhead:\n  # another\n  - [-1, 1, Konv, [8]]\n"
    file = tmp_path / "net.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ModelFileError) as error:
        DetectionModel(file, verbose=False)
    assert str(error.value).startswith(
        f"{file}:8: layer 1 [-1, 1, 'Konv', [8]]: there is no module 'Konv'; did you mean "
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ModelFileError, "`backbone:` must be a list of rows"),
        ("- 1\n- 2\n", ValueError, "net.yaml: expected lines of the form"),
        ("nc: 2\nbackbone: [\n", ValueError, r"net.yaml:\d+: this is not YAML"),
    ],
)
def test_files_that_are_not_model_files(tmp_path, text, error, message):
    file = tmp_path / "net.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        DetectionModel(file, verbose=False)
