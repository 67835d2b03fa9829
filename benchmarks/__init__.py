"""Speed against PyTorch, side by side in one process. Timings live here, never in a test."""
