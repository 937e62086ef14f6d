"""The YOLO object that users work with, and the loops of training, validation and prediction."""
