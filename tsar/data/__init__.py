"""Series as tensors: panels, windows and batches of them, scaling, and files to read."""
