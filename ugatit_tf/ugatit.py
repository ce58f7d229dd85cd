"""UGATIT: the two generators and their discriminators, made from a configuration or from anybody's checkpoint."""

import pathlib
import warnings

from ugatit_tf.config import ModelConfig, RunConfig
from ugatit_tf.models import Discriminator, Generator, PatchGAN, ResNetGenerator
from ugatit_tf.weights import archive, pytorch, tf1

_PT_SUFFIXES = (".pt", ".pth")


class MissingNetworkError(ValueError, AttributeError):
    """A model was loaded from a file without one of its networks, which is needed now."""


class UGATIT:
    """The six networks of U-GAT-IT, or the four of CycleGAN (`config.architecture`), as attributes and in `networks`.

    Args:
        config: `ugatit_tf.ModelConfig`.
        seed: decides the initial weights.

    Attributes:
        gen_a2b, gen_b2a: `Generator`, called as `net(images, training=False)`: image, cam_logit, heatmap.
        dis_global_a, dis_local_a, dis_global_b, dis_local_b: `Discriminator`: logit, cam_logit, heatmap. CycleGAN's are
            dis_a and dis_b. Of an official file without some of the networks (generators alone, one generator alone)
            the others are missing: using one raises a `MissingNetworkError`.
        generators, discriminators, networks: the two, the four (two) and all by name; those that are there.
        missing: names of the networks that are not there.
        source, step: path of the file that the weights were loaded from, and its step; None where unknown.
    """

    source = step = None

    def __init__(self, config=None, seed=0):
        config = ModelConfig() if config is None else config
        self._hold(config, _build(config, seed))

    def _hold(self, config, networks):
        self.config = config
        self.networks = networks
        self.missing = [name for name in _names(config) if name not in networks]
        for name, network in networks.items():
            setattr(self, name, network)
        self.generators = {name: net for name, net in networks.items() if name.startswith("gen")}
        self.discriminators = {name: net for name, net in networks.items() if name.startswith("dis")}

    def __getattr__(self, name):
        if name in self.__dict__.get("missing", ()):
            raise MissingNetworkError(
                f"{name} is needed, and the file that this model was loaded from holds {', '.join(self.networks)} "
                "alone. Load a file that has it, or ask for what needs these alone."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @classmethod
    def load(cls, path, ema=True, **overrides):
        """The model that a checkpoint holds, its configuration found from the checkpoint itself.

        An official file may hold fewer networks: see `missing`. Of one without discriminators `n_dis` is the
        official 6, or what the image size allows.

        Args:
            path: a run folder (its newest whole checkpoint), one checkpoint file of a run (`step-*.npz`), the prefix of
                an official TF1 checkpoint (`.../UGATIT.model-100000`), or an official PyTorch `.pt` or `.pth`.
            ema: of a run that kept an average of its generators, take the average.
            overrides: for official checkpoints, fields of `ModelConfig` that the weights cannot show, for example
                `smoothing=False`, or `img_size=128` for a light model.

        Raises:
            FileNotFoundError: nothing is there.
            ValueError: what is there is not such a checkpoint, or torn; nothing is loaded by halves.
        """
        path = pathlib.Path(path)
        model = cls.__new__(cls)
        model.source = path

        def build(config, names=None):
            partial = names and len(names) < len(_names(config))
            networks = _build(config, names=names) if partial else _build(config)
            model._hold(config, networks)
            return networks

        if path.is_dir() or path.suffix == ".npz":
            if overrides:
                raise ValueError(f"A run's checkpoint knows its configuration; received {overrides} beside {path}.")
            source, arrays, text = _read_run(path)
            build(RunConfig.from_json(text, path).model)
            model.set_arrays(arrays, path, ema=ema)
            model.source, model.step = source, int(arrays["steps"]) if "steps" in arrays else None
        elif path.suffix in _PT_SUFFIXES:
            pytorch.load(path, build, **overrides)
        elif path.with_name(f"{path.name}.index").exists():
            tf1.load(path, build, **overrides)
        else:
            raise FileNotFoundError(
                f"No checkpoint at {path}. Expected a run folder, a step-*.npz of one, the prefix of an official TF1 "
                "checkpoint (without .index), or an official PyTorch .pt file."
            )
        return model

    def save_pt(self, path):
        """Write the six networks of a `pytorch` model as a checkpoint of the official PyTorch code.

        `torch.load(path, weights_only=True)` reads it, the official networks take its state dicts, and `load` gives
        back every array bit for bit. It holds weights alone, spectral norm's u and v included. What it cannot say
        `load` has to be told: a light model's `img_size`, and `smoothing`, which has no effect in this flavor.

        Args:
            path: of the file to make, `*.pt` or `*.pth`.

        Raises:
            ValueError: the model is of the `tf1` flavor, an ablation or CycleGAN, lacks a network, or the path ends
                differently; nothing was written.
            OSError: the file cannot be written; what was at `path` is unchanged.
        """
        path = pathlib.Path(path)
        if self.missing:
            raise MissingNetworkError(
                f"The official .pt holds six networks; this model lacks {', '.join(self.missing)}, for it was loaded "
                "from a file without them. Load a complete checkpoint, or save one generator with "
                "save_weights('a2b.weights.h5')."
            )
        if not self.config.official:
            raise ValueError(
                "The official .pt holds U-GAT-IT's networks alone, with AdaLIN and CAM; this model is "
                f"{self.config}. Keep its run's step-*.npz."
            )
        if self.config.flavor != "pytorch":
            raise ValueError(
                f"Only the pytorch flavor fits the official .pt; this model is of the {self.config.flavor} flavor, "
                "with other weights (biases, gamma and beta of instance norms, one CAM layer for both logits). "
                "Keep its run's step-*.npz, or save one generator with gen_a2b.save_weights('gen_a2b.weights.h5')."
            )
        if path.suffix not in _PT_SUFFIXES:
            raise ValueError(
                f"The name must end in {' or '.join(_PT_SUFFIXES)}, so that load knows it; received {path}."
            )
        pytorch.save(self.networks, path)

    def arrays(self):
        """Every variable as a numpy array, by `network/path`; spectral-norm vectors included."""
        return {name: variable.numpy() for name, variable in self.named_variables()}

    def set_arrays(self, arrays, path, ema=False):
        """Take the arrays that `arrays` gave; entries of other names are left alone.

        Args:
            arrays: name to array.
            path: where they come from, for the error.
            ema: prefer a generator's average, `ema/network/path`, where there is one.

        Raises:
            ValueError: an array is missing or misshapen; nothing has changed.
        """
        named = self.named_variables()
        if ema:
            arrays = {**arrays, **{k.removeprefix("ema/"): v for k, v in arrays.items() if k.startswith("ema/")}}
        faults = [name for name, v in named if name not in arrays or arrays[name].shape != tuple(v.shape)]
        if faults:
            raise ValueError(f"{path} lacks these arrays, or has them in another shape: {', '.join(faults[:10])}.")
        for name, variable in named:
            variable.assign(arrays[name])

    def named_variables(self):
        """Every variable by `network/path`, as pairs; spectral-norm vectors included."""
        return [
            (f"{key}/{variable.path.partition('/')[2]}", variable)
            for key, network in self.networks.items()
            for variable in network.variables
        ]

    def set_precision(self, precision):
        """Compute in `"float32"`, `"bfloat16"` or `"float16"` from now on; the weights stay float32."""
        for network in self.networks.values():
            network.set_precision(precision)

    def count_params(self):
        """Number of trainable weights of each network, by name."""
        return {
            name: sum(int(v.value.shape.num_elements()) for v in network.trainable_variables)
            for name, network in self.networks.items()
        }


def _names(config):
    """The names of a model's networks, in their order."""
    depths = ("",) if config.architecture == "cyclegan" else ("global_", "local_")
    return ["gen_a2b", "gen_b2a", *(f"dis_{depth}{domain}" for domain in "ab" for depth in depths)]


def _build(config, seed=0, names=None):
    """All networks by name, or those of `names`."""
    networks, numbers = {}, {name: number for number, name in enumerate(_names(config))}

    def add(name, make, **arguments):
        if names is None or name in names:
            networks[name] = make(**arguments, ch=config.ch, seed=[seed, numbers[name]], name=name)

    for name in ("gen_a2b", "gen_b2a"):
        if config.architecture == "cyclegan":
            add(name, ResNetGenerator, n_res=config.n_res, img_size=config.img_size)
        else:
            shared = ("flavor", "light", "n_res", "img_size", "smoothing", "norm")
            add(name, Generator, cam=config.cam_g, **{field: getattr(config, field) for field in shared})
    for domain in "ab":
        if config.architecture == "cyclegan":
            add(f"dis_{domain}", PatchGAN)
        else:
            for depth, levels in (("global", config.n_dis - 1), ("local", config.n_dis - 3)):
                own = {"flavor": config.flavor, "levels": levels, "sn": config.sn, "cam": config.cam_d}
                add(f"dis_{depth}_{domain}", Discriminator, **own)
    return networks


def _read_run(path):
    """Path, arrays and configuration text of a run folder's newest whole checkpoint, or of one checkpoint file."""
    if path.suffix == ".npz":
        return path, *archive.read(path)
    run = RunConfig.of_folder(path) or RunConfig()
    folder = path / run.checkpoint_dir
    newest = archive.read_newest(folder, lambda text: warnings.warn(text, stacklevel=4))
    if newest is None:
        raise FileNotFoundError(
            f"{path} is no run folder with a checkpoint: expected {folder}/step-*.npz. For an official "
            "TF1 checkpoint give its prefix, .../UGATIT.model-100000."
        )
    return newest
