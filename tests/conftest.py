"""Fixtures and settings that all tests share."""

import os

# Before TensorFlow is imported anywhere: its start-up messages would hide pytest's, and two workers of pytest-xdist
# with all threads each would only wait for one another.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
