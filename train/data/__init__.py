"""Named data sets, how they are read, and how batches are drawn from them."""
