"""Processes that each time one framework; the benchmark of training steps asks them in turns."""
