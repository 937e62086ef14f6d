"""The run itself: the model object users touch, training, validation and prediction loops."""
