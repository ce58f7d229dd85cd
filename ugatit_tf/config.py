"""The configuration of a model, its training, its data and its run, as frozen dataclasses.

A run writes them to `config.json` in its folder and reads them back from there. Each class checks its
own values when it is made; what only shows when two of them meet is checked in `RunConfig`.
"""

import dataclasses
import datetime
import json
import math
import pathlib

ARCHITECTURES = ("ugatit", "cyclegan")
FLAVORS = ("tf1", "pytorch")
NORMS = ("adalin", "in", "ln", "adain", "gn")
GAN_TYPES = ("lsgan", "gan", "hinge", "wgan-gp", "wgan-lp", "dragan")
PENALTY_TYPES = ("wgan-gp", "wgan-lp", "dragan")
PRECISIONS = ("float32", "bfloat16", "float16")
FITS = ("squeeze", "crop", "pad")

# What CycleGAN's authors set otherwise than U-GAT-IT's (arXiv:1703.10593, appendix 7.2, and their PyTorch code).
CYCLEGAN_TRAINING = {"lr": 2e-4, "identity_weight": 5.0, "weight_decay": 0.0, "pool_size": 50}

# What decides a run's weights and may change on demand when the run resumes.
CHANGEABLE = ("lr", "adv_weight", "cycle_weight", "identity_weight", "cam_weight", "gp_ld", "eval_every")


def _require(condition, message):
    if not condition:
        raise ValueError(message)


def _one_of(name, value, choices):
    _require(value in choices, f"{name} must be one of {', '.join(choices)}; received {value!r}.")


def _at_least(config, bound, *names):
    for name in names:
        value = getattr(config, name)
        _require(value >= bound, f"{name} must be at least {bound}; received {value!r}.")
        _require(value < math.inf, f"{name} must be finite; received {value!r}.")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What decides the shapes and the formulas of the networks.

    Args:
        flavor: `"tf1"` or `"pytorch"`, the official implementation whose formulas are used. CycleGAN's networks
            have one form; for it the flavor decides the training alone (augmentation, Adam, the learning rate's decay).
        light: the light generator, whose gamma and beta come from the globally averaged map.
        ch: base number of channels (both official implementations: 64).
        n_res: residual blocks before, and AdaLIN residual blocks after, the attention. CycleGAN: residual blocks, 9 in
            the paper for images of 256 px and more, else 6.
        n_dis: depth of the discriminators: `n_dis - 1` stride-2 levels in the global one, `n_dis - 3`
            in the local one.
        img_size: training resolution in pixels, a multiple of 4. A full generator with AdaLIN or AdaIN works at this
            size only.
        img_ch: image channels; the networks are defined for 3.
        smoothing: TF1's AdaLIN smoothing, `clip(rho - 0.1, 0, 1)` in the forward pass (`tf1` only).
        sn: spectral normalisation in the discriminators.
        architecture: `"ugatit"`, or `"cyclegan"`, the baseline, for which `light`, `n_dis`, `smoothing`, `sn` and what
            follows have no meaning.
        norm: of the decoder. `"adalin"` is U-GAT-IT; `"adain"`, `"in"`, `"ln"` and `"gn"` (32 groups) are the paper's
            ablations (section 4.3): AdaIN with gamma and beta from the map, the others with gamma and beta as weights.
        cam_g, cam_d: attention in the generators, and in the discriminators; without it the map goes on as it is.
    """

    flavor: str = "tf1"
    light: bool = False
    ch: int = 64
    n_res: int = 4
    n_dis: int = 6
    img_size: int = 256
    img_ch: int = 3
    smoothing: bool = True
    sn: bool = True
    architecture: str = "ugatit"
    norm: str = "adalin"
    cam_g: bool = True
    cam_d: bool = True

    def __post_init__(self):
        _one_of("flavor", self.flavor, FLAVORS)
        _one_of("architecture", self.architecture, ARCHITECTURES)
        _one_of("norm", self.norm, NORMS)
        _at_least(self, 1, "ch", "n_res")
        _at_least(self, 4, "n_dis")
        _require(self.img_ch == 3, f"img_ch must be 3 (RGB); received {self.img_ch}.")
        if self.architecture == "cyclegan":
            self._check_cyclegan()
            return
        smallest, deepest = 3 * 2 ** (self.n_dis - 1), (self.img_size // 3).bit_length()
        below = self.img_size // 4 * 4
        near = [str(size) for size in (below, below + 4) if size >= smallest] or [str(smallest)]
        _require(
            self.img_size == below,
            f"img_size must be a multiple of 4; received {self.img_size}. Use {' or '.join(near)}.",
        )
        _require(
            self.img_size >= smallest,
            f"n_dis={self.n_dis} needs an img_size of at least {smallest}; received {self.img_size}. "
            + (f"Use {smallest}, or n_dis={deepest}." if deepest >= 4 else "Use 24 and n_dis=4."),
        )
        _require(
            self.sn or self.flavor == "tf1",
            "sn=False exists in the tf1 flavor only: the pytorch discriminators are always normalised.",
        )

    def _check_cyclegan(self):
        _require(
            self.img_size % 4 == 0 and self.img_size >= 24,
            f"img_size must be a multiple of 4 and, for CycleGAN, at least 24; received {self.img_size}.",
        )
        own = ("light", "n_dis", "smoothing", "sn", "norm", "cam_g", "cam_d")
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        given = [f"{name}={getattr(self, name)!r}" for name in own if getattr(self, name) != fields[name]]
        _require(not given, f"CycleGAN has no {', '.join(own)}; received {', '.join(given)}. Leave them out.")

    @property
    def title(self):
        """What people call the model."""
        return "CycleGAN" if self.architecture == "cyclegan" else "U-GAT-IT"

    @property
    def official(self):
        """Whether the official U-GAT-IT codes have these networks: no ablation, and no baseline."""
        return self.architecture == "ugatit" and self.norm == "adalin" and self.cam_g and self.cam_d


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """What decides the weights that a training arrives at, beside the model and the images.

    Args:
        epoch, iteration: number of epochs, and of steps in each. Training takes `epoch * iteration` steps. A run may
            get more epochs when it resumes; the learning rate then follows the schedule of all of them.
        batch_size: images of each domain in a step.
        lr: Adam's learning rate, constant until `decay_epoch`, then linear towards 0.
        decay_flag: whether the learning rate decays at all.
        decay_epoch: first epoch of the decay; None: half of `epoch`, as in the paper.
        gan_type: adversarial loss, one of `GAN_TYPES`.
        gp_ld: weight of the gradient penalty (wgan-gp, wgan-lp, dragan).
        adv_weight, cycle_weight, identity_weight, cam_weight: weights of the loss terms (paper, section 3.2).
        n_critic: the generators are updated at every `n_critic`-th step, the first included.
        weight_decay: `tf1`: an L2 term on kernels; `pytorch`: added to every parameter's gradient.
        augment_flag: random flip and enlarge-and-crop of the training images.
        precision: `"float32"`, `"bfloat16"` or `"float16"` (mixed precision; float16 with loss scaling).
        ema: decay of the average of the generators' weights (for example 0.999), 0 for none.
        seed: every random draw of the run follows from it.
        pool_size: translated images of each domain that are kept and, half of the time, shown to the discriminators
            in the place of new ones (CycleGAN: 50); 0: none.
        remat: rematerialisation: compute the maps inside the generators' blocks a second time for the gradient instead
            of keeping them. Less memory, more time, the same numbers to rounding: a run may change it when it goes on.
        xla: compile the step with XLA. The same numbers to rounding: a run may change it when it resumes.
    """

    epoch: int = 100
    iteration: int = 10000
    batch_size: int = 1
    lr: float = 1e-4
    decay_flag: bool = True
    decay_epoch: int | None = None
    gan_type: str = "lsgan"
    gp_ld: float = 10.0
    adv_weight: float = 1.0
    cycle_weight: float = 10.0
    identity_weight: float = 10.0
    cam_weight: float = 1000.0
    n_critic: int = 1
    weight_decay: float = 1e-4
    augment_flag: bool = True
    precision: str = "float32"
    ema: float = 0.0
    seed: int = 0
    pool_size: int = 0
    remat: bool = False
    xla: bool = False

    def __post_init__(self):
        _one_of("gan_type", self.gan_type, GAN_TYPES)
        _one_of("precision", self.precision, PRECISIONS)
        _at_least(self, 1, "epoch", "iteration", "batch_size", "n_critic")
        weights = ("adv_weight", "cycle_weight", "identity_weight", "cam_weight", "weight_decay")
        _at_least(self, 0, "gp_ld", *weights, "seed", "pool_size")
        _require(0 < self.lr < math.inf, f"lr must be finite and above 0; received {self.lr}.")
        _require(self.seed < 2**31, f"seed must be below 2**31; received {self.seed}.")
        _require(
            0 <= self.ema < 1, f"ema must be in [0, 1): 0 for none, or a decay such as 0.999; received {self.ema}."
        )
        _require(
            self.decay_epoch is None or 0 <= self.decay_epoch <= self.epoch,
            f"decay_epoch must be between 0 and epoch ({self.epoch}); received {self.decay_epoch}.",
        )
        _require(
            not (self.precision == "float16" and self.gan_type in PENALTY_TYPES),
            f"float16 cannot carry the gradient penalty of gan_type {self.gan_type!r}: the squared gradients leave its "
            "range. Use precision bfloat16 (or float32), or a gan_type without a penalty.",
        )

    @property
    def total_steps(self):
        return self.epoch * self.iteration

    @property
    def decay_start(self):
        """First step (counted from 0) of the learning rate's decay."""
        return (self.epoch // 2 if self.decay_epoch is None else self.decay_epoch) * self.iteration


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the images are: `data_dir/dataset/{trainA,trainB,testA,testB}`, or the records of them.

    Args:
        dataset: name of the set's folder.
        data_dir: the folder that it is in, or the URL of one (`gs://bucket/path`), of records.
        fit: how images that are not square become squares: `"squeeze"`, as in the official codes, `"crop"` or `"pad"`;
            see `ugatit_tf.data.images.to_aspect`.
    """

    dataset: str = "selfie2anime"
    data_dir: str = "dataset"
    fit: str = "squeeze"

    def __post_init__(self):
        _one_of("fit", self.fit, FITS)

    @property
    def path(self):
        """The set's folder: a `pathlib.Path`, or the text of a URL, in which that would turn `//` into `/`."""
        name = self.dataset
        if name.startswith("tfds:"):
            name = name.removeprefix("tfds:").replace("/", "_")
        for place in (name, f"{self.data_dir.rstrip('/')}/{name}"):
            if "://" in place:
                return place
        return pathlib.Path(self.data_dir) / name


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One training run: the three configurations that decide its weights, and how it is watched and kept.

    Args:
        print_freq: steps between sample sheets.
        save_freq: steps between checkpoints (a last one is written at the end).
        log_freq: steps between readings of the losses (progress line, TensorBoard, JSON lines).
        eval_every: steps between scores of held-out images; 0: all training images are trained on.
        features: the feature network that scores them.
        keep: number of checkpoints kept.
        checkpoint_dir, result_dir, log_dir, sample_dir: names of the folders inside the run folder.
        history: what changed when the run resumed, in order: dicts with `step`, `time` (ISO 8601, UTC), `version` (of
            this package) and `changes`, name to [before, after].
    """

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    print_freq: int = 1000
    save_freq: int = 1000
    log_freq: int = 50
    eval_every: int = 0
    features: str = "random"
    keep: int = 2
    checkpoint_dir: str = "checkpoint"
    result_dir: str = "results"
    log_dir: str = "logs"
    sample_dir: str = "samples"
    history: list = dataclasses.field(default_factory=list, hash=False)

    def __post_init__(self):
        _at_least(self, 1, "print_freq", "save_freq", "log_freq", "keep")
        _at_least(self, 0, "eval_every")
        folders = ("checkpoint_dir", "result_dir", "log_dir", "sample_dir")
        for name in folders:
            value = getattr(self, name)
            _require(
                value not in ("", ".", "..") and "/" not in value and "\\" not in value,
                f"{name} names a folder inside the run folder, such as {name[:-4]!r}; received {value!r}. "
                "Use --run_dir to place the run elsewhere.",
            )
        names = [getattr(self, name) for name in folders]
        _require(len(set(names)) == len(names), f"{', '.join(folders)} must differ; received {', '.join(names)}.")

    def to_json(self):
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text, source):
        """Read what `to_json` wrote.

        Args:
            text: JSON.
            source: where it comes from, for the error.

        Raises:
            ValueError: not JSON, a value or a key that this version does not know, or one that is missing.
        """
        try:
            values = dict(json.loads(text))
            return cls(
                model=ModelConfig(**values.pop("model")),
                train=TrainConfig(**values.pop("train")),
                data=DataConfig(**values.pop("data")),
                **values,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{source} holds no run configuration of this version of ugatit_tf: {error}") from error

    @classmethod
    def of_folder(cls, run_dir):
        """The configuration that a run's folder holds, or None where there is no `config.json`.

        Raises:
            ValueError: as `from_json`.
        """
        path = pathlib.Path(run_dir) / "config.json"
        return cls.from_json(path.read_text(), path) if path.is_file() else None

    def differences(self, other, change=False):
        """What keeps `other` from resuming this run: values that decide the weights, as `"name: mine, not other's"`.

        More epochs are no difference.

        Args:
            other: the `RunConfig` to resume with.
            change: whether the values in `CHANGEABLE` may change, too.
        """
        rows = []
        for part in ("model", "train", "data"):
            mine, others = dataclasses.asdict(getattr(self, part)), dataclasses.asdict(getattr(other, part))
            for name in ("data_dir", "remat", "xla", *(CHANGEABLE if change else ())):
                mine.pop(name, None)
            if part == "train" and others["epoch"] > mine["epoch"]:
                mine.pop("epoch")
            rows += [f"{name}: {mine[name]!r}, not {others[name]!r}" for name in mine if mine[name] != others[name]]
        if bool(self.eval_every) != bool(other.eval_every):  # with it, some images are not trained on
            rows += [] if change else [f"eval_every: {self.eval_every}, not {other.eval_every}"]
        elif self.eval_every and self.features != other.features:  # the best score so far is by those
            rows.append(f"features: {self.features!r}, not {other.features!r}")
        return rows

    def changes(self, other):
        """Every value in which `other` differs: dict of name to `[mine, other's]`."""
        mine, others = ({**vars(run.model), **vars(run.train), **vars(run.data), **vars(run)} for run in (self, other))
        names = [name for name in mine if name not in ("model", "train", "data", "history")]
        return {name: [mine[name], others[name]] for name in names if mine[name] != others[name]}

    def resumed_by(self, other, step, version):
        """`other` with this run's history, and what it changes added to that.

        Args:
            other: the `RunConfig` that goes on.
            step: number of steps done before.
            version: of this package.
        """
        changes, history = self.changes(other), list(self.history)
        if changes:
            time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            history.append({"step": step, "time": time, "version": version, "changes": changes})
        return dataclasses.replace(other, history=history)
