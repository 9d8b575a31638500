"""Simulations that the theory of `tsar.complexity` is checked against."""
