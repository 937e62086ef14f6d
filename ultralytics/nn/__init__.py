"""Networks: layers and blocks, model files, checkpoints, weight transfer and inference copies."""
