"""Speed compared with PyTorch, in one process. Only this package measures times; no test does."""
