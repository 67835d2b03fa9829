"""What "equal" means, and how it is proven: the certificate of a model and its twin."""
