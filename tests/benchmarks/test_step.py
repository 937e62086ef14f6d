"""benchmarks/step.py: the baseline network in the official package equals this package's yolov8-AKConv."""

import torch
from step import put_baseline_akconv

from ultralytics.nn.tasks import DetectionModel


def test_baseline_akconvs_turn_a_plain_yolov8_into_yolov8_akconv():
    torch.manual_seed(0)
    network, plain = (DetectionModel(name, verbose=False).eval() for name in ("yolov8n-AKConv.yaml", "yolov8n.yaml"))
    for name, p in network.named_parameters():
        if "p_conv" in name:
            torch.nn.init.normal_(p, std=0.5)  # points between pixels
    put_baseline_akconv(plain)
    plain.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(x)[0], network(x)[0], rtol=1e-4, atol=1e-4)
