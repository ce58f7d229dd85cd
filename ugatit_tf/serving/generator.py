"""A model behind TensorFlow Serving as a generator for photos, as `ugatit_tf.inference.generators` gives them."""

import functools

import numpy as np

from ugatit_tf.serving.client import ServingError


class ServedGenerator:
    """Calls the server for each image.

    Args:
        client: `RestClient` or `GrpcClient`.
        heatmap: ask for the heatmap, too. Pixels then go to the server as numbers, several times as large as a PNG.

    Attributes:
        size: of the images that the model was trained on: the server resizes any other to it.

    Raises:
        ServingError: the server cannot be reached, or has no such model.
    """

    def __init__(self, client, heatmap=False):
        self.client = client
        self.heatmap = heatmap
        # No description of the model says its size: the answer to any picture does.
        self.size = len(client.translate([np.full((8, 8, 3), 128, np.uint8)])[0])

    @functools.cached_property
    def any_size(self):
        """Whether the model takes images of any height and width that are multiples of 4: tried with a small one."""
        try:
            self.client.run(np.full((8, 12, 3), 128, np.uint8))
        except ServingError as error:
            if error.status not in (400, 412):  # refused, as a model of one size does
                raise
            return False
        return True

    def __call__(self, image):
        """Uint8 [H, W, 3] to the translation, the same, and the heatmap, float32 [H/4, W/4], if it was asked for."""
        if self.heatmap or image.shape[:2] != (self.size, self.size):
            return self.client.run(image)
        return self.client.translate([image])[0], None
