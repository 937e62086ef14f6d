"""Data: from the user's folder to batches. check -> images, labels -> dataset with augment -> loader."""
