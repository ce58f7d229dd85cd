"""U-GAT-IT (Kim et al., ICLR 2020) on TensorFlow and Keras: unpaired image-to-image translation.

Importing this package imports neither TensorFlow nor Keras; each name below loads what it needs on first use. It sets
`TF_ENABLE_ONEDNN_OPTS` (unless it is set) and `KERAS_BACKEND=tensorflow` for them, so import it first. Imported before
it, they keep their settings, and only a Keras with another backend is an error. `keras.models.load_model` reads our
`.keras` files after `import ugatit_tf.models`.
"""

import importlib
import sys

from ugatit_tf import environment

__version__ = "0.1.0"

_PUBLIC = {
    "UGATIT": "ugatit_tf.ugatit",
    "Trainer": "ugatit_tf.training.trainer",
    "ModelConfig": "ugatit_tf.config",
    "TrainConfig": "ugatit_tf.config",
    "DataConfig": "ugatit_tf.config",
    "RunConfig": "ugatit_tf.config",
}
__all__ = sorted(_PUBLIC)

environment.prepare()


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC])


if "keras" in sys.modules and sys.modules["keras"].config.backend() == "tensorflow":
    importlib.import_module("ugatit_tf.models")  # so that keras.models.load_model knows the classes of our .keras files
