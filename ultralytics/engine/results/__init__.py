"""What a prediction is: `Results` of one image, made of components: boxes, masks, keypoints, probabilities."""

from ultralytics.engine.results.base import BaseTensor, DrawStyle, LabelLine, SummaryRow
from ultralytics.engine.results.boxes import Boxes, Detections
from ultralytics.engine.results.keypoints import Keypoints
from ultralytics.engine.results.labels import label_lines, write_label_file
from ultralytics.engine.results.masks import Masks
from ultralytics.engine.results.obb import OBB
from ultralytics.engine.results.probs import Probs
from ultralytics.engine.results.results import Results

__all__ = [
    "OBB",
    "BaseTensor",
    "Boxes",
    "Detections",
    "DrawStyle",
    "Keypoints",
    "LabelLine",
    "Masks",
    "Probs",
    "Results",
    "SummaryRow",
    "label_lines",
    "write_label_file",
]
