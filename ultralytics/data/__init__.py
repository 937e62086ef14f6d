"""Data, from the user's folder to batches: dataset_config, images, labels -> dataset with augment -> loader."""
