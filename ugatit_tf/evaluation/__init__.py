"""Scoring translations: networks that turn images into features, and a cache of the features of real images."""
