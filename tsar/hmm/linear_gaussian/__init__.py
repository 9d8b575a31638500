"""Hidden Markov models with continuous states: Kalman filter and smoother, EM, estimator."""
