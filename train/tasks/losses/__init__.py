"""The losses of the tasks, with torch's exact meaning; their twins stand in `torch_models/steps/`."""
