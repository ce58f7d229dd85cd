"""Measures of generated images: features, probabilities or pixels in, floats out. numpy only."""
