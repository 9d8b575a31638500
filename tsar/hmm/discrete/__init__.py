"""Hidden Markov models with discrete states: inference, EM, estimators."""
