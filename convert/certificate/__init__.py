"""The comparison of a model with its twin, and the certificate that reports it."""
