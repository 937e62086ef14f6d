"""YOLOv8 and YOLO11: one file a task."""
