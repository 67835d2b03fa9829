"""The training engine: the loop, checkpoints, run folders, evaluation, sampling."""
