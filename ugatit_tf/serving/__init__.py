"""Talking to TensorFlow Serving."""
