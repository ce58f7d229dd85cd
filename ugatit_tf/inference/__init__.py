"""Translating images and folders with trained generators."""
