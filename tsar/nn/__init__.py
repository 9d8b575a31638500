"""Parts that several networks use: base classes, normalization of contexts, convolution."""
