"""The readers of data whose targets are sequences: pairs of texts, lines, captions and characters."""
