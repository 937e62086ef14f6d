"""benchmarks/step.py: the network that stands for a tutorial's is the one that ours is compared with."""

import torch
from step import put_literal_akconv

from ultralytics.nn.tasks import DetectionModel


def test_literal_akconvs_make_a_plain_yolov8_our_yolov8_akconv():
    torch.manual_seed(0)
    ours, plain = (DetectionModel(name, verbose=False).eval() for name in ("yolov8n-AKConv.yaml", "yolov8n.yaml"))
    for name, p in ours.named_parameters():
        if "p_conv" in name:
            torch.nn.init.normal_(p, std=0.5)  # no whole steps
    put_literal_akconv(plain)
    plain.load_state_dict(ours.state_dict())
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(x)[0], ours(x)[0], rtol=1e-4, atol=1e-4)
