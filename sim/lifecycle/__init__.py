"""What was fixed while a model was made and decides what serving it costs."""
