"""The losses of the tasks, with torch's exact meaning; their twins are in `torch_models/steps/`."""
