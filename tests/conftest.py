"""Settings of all tests."""

import torch

# The tensors here are small: a second thread costs five times the work, waiting for the first.
torch.set_num_threads(1)
