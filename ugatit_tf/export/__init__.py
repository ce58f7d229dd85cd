"""Trained generators as files for other programs: SavedModel for servers, TFLite for devices."""
