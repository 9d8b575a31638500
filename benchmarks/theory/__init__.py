"""Population moments and simulations that `tsar.complexity.theory` is checked against."""
