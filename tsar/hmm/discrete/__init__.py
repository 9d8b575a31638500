"""Discrete-state hidden Markov models: GaussianHMM, CategoricalHMM, and what they are made of."""
