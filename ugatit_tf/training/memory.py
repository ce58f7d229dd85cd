"""How much memory a training step needs, reckoned from the configuration alone, and which flags would fit.

No network is built: a prediction takes a fraction of a millisecond, so that many can be tried, and the step of a model
that is too large can be predicted too. What the gradient keeps is counted exactly, block by block; what passes beside
it comes from a few constants, which were fitted to measurements (docs/performance.md). All sizes are bytes.
"""

import contextlib
import dataclasses
import functools
import itertools

from ugatit_tf.config import PENALTY_TYPES


@dataclasses.dataclass(frozen=True)
class Block:
    """A stretch of a network, in numbers of entries; of maps for one image. `a + b` is both, one after the other.

    Args:
        weights: trainable entries.
        maps: entries of the maps that are kept for the gradient.
        width: entries of the largest map.
        given: with `--remat`, what is kept instead of `maps`: the block's input; None where the block runs only once.
    """

    weights: int
    maps: int = 0
    width: int = 0
    given: int | None = None

    def __add__(self, other):
        return Block(self.weights + other.weights, self.maps + other.maps, max(self.width, other.width))

    def again(self, given):
        """The same block, which `--remat` runs a second time."""
        return dataclasses.replace(self, given=given)


def _conv(size, inputs, filters, kernel, strides=1, pad=None, beside=1, behind=1, spectral=False):
    """A convolution of a padded map: the block, and the size of its result.

    Args:
        size: side of the map in pixels.
        pad: rows (columns) added; None: as many as keep the size, or halve it.
        beside: weights a filter beside the kernel: bias, norm.
        behind: maps of the result's size that are kept. A norm keeps one, the centred map (`layers.statistics`).
        spectral: `SpectralNormConv2D`, which reads small maps patch by patch.
    """
    pad = kernel - strides if pad is None else pad
    side = (size + pad - kernel) // strides + 1
    weights, result = kernel**2 * inputs * filters, side**2 * filters
    # The gradient at the kernel needs the padded map, or its patches.
    read = side**2 * kernel**2 * inputs if spectral and 4 * side**2 <= filters else (size + pad) ** 2 * inputs
    maps = read + behind * result
    return Block(weights + beside * filters, maps, max(size**2 * inputs, result)), side


def _upsample(size, inputs, beside):
    """`UpsampleConv2D`, which keeps what its four phase convolutions read, and a norm."""
    weights, result = 9 * inputs * inputs // 2, 4 * size**2 * inputs // 2
    return Block(weights + beside * inputs // 2, 4 * (size + 1) ** 2 * inputs + result, result)


def _cam(size, channels, flavor):
    """`CAM`, which keeps its input and what its activation needs."""
    dense = channels + 1 if flavor == "tf1" else 2 * channels
    return Block(dense + 2 * channels**2 + channels, 2 * size**2 * channels, size**2 * channels)


def _generator(config):
    """The blocks of `Generator`."""
    size, ch, small, wide = config.img_size, config.ch, config.img_size // 4, 4 * config.ch
    bias = int(config.flavor == "tf1")
    norm = {"adalin": 1, "adain": 0}.get(config.norm, 2)  # weights a channel: in the decoder's blocks ...
    up_norm = {"adalin": 3}.get(config.norm, 2)  # ... and behind them
    given = small**2 * wide

    def conv(size, inputs, filters, kernel, strides=1, norm=2 * bias):
        return _conv(size, inputs, filters, kernel, strides, beside=bias + norm)[0]

    encode = conv(size, 3, ch, 7) + conv(size, ch, 2 * ch, 3, 2) + conv(size // 2, 2 * ch, wide, 3, 2)
    encoder, decoder = conv(small, wide, wide, 3), conv(small, wide, wide, 3, norm=norm)
    blocks = [encode.again(0), *[(encoder + encoder).again(given)] * config.n_res]
    kept = config.cam_g  # the map between encoder and decoder, already
    if config.cam_g:
        blocks.append(_cam(small, wide, config.flavor))
    if config.norm in ("adalin", "adain"):  # gamma and beta from the map's mean, or from all of it
        first = wide * (wide if config.light else given)
        blocks.append(Block(first + 3 * wide**2 + 4 * bias * wide, 0 if kept or config.light else given))
        kept = kept or not config.light
    decoders = [(decoder + decoder).again(given)] * config.n_res
    if kept:
        decoders[0] = decoders[0].again(0)
    up = _upsample(small, wide, bias + up_norm) + _upsample(2 * small, 2 * ch, bias + up_norm)
    return [*blocks, *decoders, (up + conv(size, ch, 3, 7, norm=0)).again(given)]


def _discriminator(config, levels, half):
    """The blocks of `Discriminator`, which keeps maps before their bias, and in float32 before their division too."""
    blocks, size, channels = [], config.img_size, 3
    tf1 = config.flavor == "tf1"
    conv = functools.partial(_conv, kernel=4, behind=2 if config.sn and not half else 1, spectral=config.sn)
    last = 3 if tf1 else 2
    for filters in (config.ch * 2**level for level in range(levels)):
        block, size = conv(size, channels, filters, strides=2)
        blocks, channels = [*blocks, block], filters
    block, size = conv(size, channels, 2 * channels, pad=last)
    blocks.append(block)
    if config.cam_d:
        blocks.append(_cam(size, 2 * channels, config.flavor))
    return [*blocks, conv(size, 2 * channels, 1, pad=last, beside=int(tf1))[0]]


def _cyclegan_generator(config):
    """The blocks of `ResNetGenerator`, whose transposed convolutions keep their input, and a norm's map."""
    size, ch, small, wide = config.img_size, config.ch, config.img_size // 4, 4 * config.ch
    given = small**2 * wide
    encode = _conv(size, 3, ch, 7)[0] + _conv(size, ch, 2 * ch, 3, 2)[0] + _conv(size // 2, 2 * ch, wide, 3, 2)[0]
    block = _conv(small, wide, wide, 3)[0]
    draw = _conv(size, ch, 3, 7)[0]
    for side, filters in ((size, ch), (size // 2, 2 * ch)):
        kernel, result = 9 * 2 * filters * filters, side**2 * filters
        draw += Block(kernel + filters, result // 2 + result, result)
    return [encode.again(0), *[(block + block).again(given)] * config.n_res, draw.again(given)]


def _patch_gan(config):
    """The blocks of `PatchGAN`: behind a norm both the centred map and its result are kept, for LeakyReLU."""
    blocks, size, channels = [], config.img_size, 3
    for level, strides in enumerate((2, 2, 2, 1)):
        filters = config.ch * 2**level
        block, size = _conv(size, channels, filters, 4, strides, pad=2, behind=1 if level == 0 else 2)
        blocks, channels = [*blocks, block], filters
    return [*blocks, _conv(size, channels, 1, 4, pad=2)[0]]


def networks(config, half=False):
    """The blocks of each network of a `ModelConfig`, by the names of `UGATIT.networks`; `half`: in half precision."""
    cyclegan = config.architecture == "cyclegan"
    generator = _cyclegan_generator(config) if cyclegan else _generator(config)
    made = {"gen_a2b": generator, "gen_b2a": generator}
    for domain in "ab":
        if cyclegan:
            made[f"dis_{domain}"] = _patch_gan(config)
        else:
            made[f"dis_global_{domain}"] = _discriminator(config, config.n_dis - 1, half)
            made[f"dis_local_{domain}"] = _discriminator(config, config.n_dis - 3, half)
    return made


def count_params(config):
    """Number of trainable weights of each network, by name: what `UGATIT.count_params` gives of built ones."""
    return {name: sum(block.weights for block in blocks) for name, blocks in networks(config).items()}


def kept_maps(blocks, remat=False):
    """Entries an image that a network keeps for its gradient."""
    return sum(block.given if remat and block.given is not None else block.maps for block in blocks)


MIB = 2**20
# Fitted to peaks of resident memory (VmHWM, TensorFlow 2.21, two cores: docs/performance.md), and rounded.
RUNTIME = {"ugatit": 910 * MIB, "cyclegan": 690 * MIB}  # import TensorFlow, 577 MiB; tracing, executor, kernels
RUNTIME_BLOCK = {"ugatit": 45 * MIB, "cyclegan": 20 * MIB}  # more operations for each residual block (n_res)
RUNTIME_REMAT = 100 * MIB  # and for those that run twice
RUNTIME_PENALTY = 90 * MIB  # and for a gradient of gradients
WASTE = 1.13  # times what comes and goes: the allocator's pieces between arrays, into which no array fits
PASSING_MAPS = 18  # widest maps of one batch, in float32, on their way: convolution, norm, their gradients
JUDGE_COPIES = 4.2  # of a discriminator's weights, in its update: gradients, oneDNN's order, sigma's outer product
JUDGE_PIECES = 1.6  # what of that memory stays in pieces, too small for the generators' arrays
HALF_COPIES = 1.3  # times as many of either in half precision, which casts them to and fro
PENALTY_COPIES, PENALTY_MAPS = 1.5, 1.8  # times as many, and as many maps, with a gradient penalty
GENERATOR_COPIES = 4  # gradients of both generators, those of the way back and of the translation
MARGIN = 1.15  # a suggestion fits with this to spare: predictions err by up to 15 %


@dataclasses.dataclass(frozen=True)
class StepBytes:
    """The peak of a training step, in bytes.

    Args:
        runtime: TensorFlow itself, the traced step and its kernels; 0 on a GPU.
        weights: the weights, Adam's two moments, averaged generators, and pools.
        maps: kept for the gradient when the memory is fullest.
        passing: beside them then: gradients, copies of kernels, maps on their way, and the allocator's waste.
    """

    runtime: float
    weights: float
    maps: float
    passing: float

    @property
    def total(self):
        return self.runtime + self.weights + self.maps + self.passing


@functools.lru_cache(maxsize=4096)
def step_bytes(model, train, gpu=False, replicas=1):
    """Predict the peak memory of one training step.

    Args:
        model, train: `ugatit_tf.ModelConfig`, `ugatit_tf.TrainConfig`.
        gpu: False: resident memory of the process. True: TensorFlow's memory on a GPU, which was never measured.
        replicas: devices that share the batch.

    Returns:
        `StepBytes`, of one of the devices.
    """
    half, penalty = train.precision != "float32", train.gan_type in PENALTY_TYPES
    made = networks(model, half)
    generator = made["gen_a2b"]
    weights = {name: 4 * sum(block.weights for block in blocks) for name, blocks in made.items()}
    judge = max((name for name in made if name.startswith("dis")), key=weights.get)  # the largest takes most
    images = train.batch_size // replicas
    entry = images * (2 if half else 4)  # bytes

    held = 3 * sum(weights.values()) + 2 * train.pool_size * 12 * model.img_size**2
    held += 2 * weights["gen_a2b"] if train.ema else 0
    both = 2 * entry * kept_maps(generator, train.remat)  # of the two translations, and of one way back, of two batches
    again = 2 * entry * max(block.maps for block in generator if block.given is not None) if train.remat else 0
    judged = 2 * entry * kept_maps(made[judge]) * (PENALTY_MAPS if penalty else 1)
    casts = HALF_COPIES if half else 1
    copy = casts * weights[judge] * (PENALTY_COPIES if penalty else 1)
    way = casts * PASSING_MAPS * images * 4 * max(block.width for block in generator)
    # Maps and what passes: in a discriminator's update, on the way back, in the translation's gradient.
    phases = [
        (both + judged, JUDGE_COPIES * copy),
        (2 * both, again + way + weights["gen_a2b"] + JUDGE_PIECES * copy),
        (both / 2, GENERATOR_COPIES * weights["gen_a2b"] + JUDGE_PIECES * copy),
    ]
    maps, passing = max(phases, key=sum)
    if gpu:
        return StepBytes(0, held, maps, passing)
    runtime = RUNTIME[model.architecture] + RUNTIME_BLOCK[model.architecture] * model.n_res
    runtime += (RUNTIME_REMAT if train.remat else 0) + (RUNTIME_PENALTY if penalty else 0)
    return StepBytes(runtime, held, maps, WASTE * (maps + passing) - maps)


def _choices(model, train, replicas):
    """What could be asked for less of: (part, field) to values, the mildest first; the least loss first."""
    channels, sizes = (96, 64, 48, 32, 24, 16, 8), (512, 384, 320, 256, 192, 128, 96, 64)
    share = train.batch_size // replicas
    batches = [replicas * (share >> halvings) for halvings in range(1, share.bit_length())]
    adaptive = model.architecture == "ugatit" and model.norm in ("adalin", "adain")
    choices = {
        ("train", "precision"): ["bfloat16"] * (train.precision == "float32"),
        ("train", "remat"): [True] * (not train.remat),
        ("train", "batch_size"): batches,
        ("model", "light"): [True] * (adaptive and not model.light),
        ("model", "ch"): [ch for ch in channels if ch < model.ch],
        ("model", "img_size"): [size for size in sizes if size < model.img_size],
    }
    return {key: values for key, values in choices.items() if values}


def suggestions(model, train, room, gpu=False, replicas=1):
    """The fewest changed flags with which a step fits into memory, each as little changed as that needs.

    Args:
        model, train, gpu, replicas: as for `step_bytes`.
        room: bytes there are.

    Returns:
        `fitting, smallest`: a list of (flags, bytes), empty where nothing fits; and the one that needs least.
    """
    choices = _choices(model, train, replicas)
    smallest = ("", step_bytes(model, train, gpu, replicas).total)
    for count in range(1, len(choices) + 1):
        found = []
        for keys in itertools.combinations(choices, count):
            tried = []
            for values in itertools.product(*(choices[key] for key in keys)):
                parts, named = {"model": {}, "train": {}}, list(zip(keys, values, strict=True))
                for (part, field), value in named:
                    parts[part][field] = value
                with contextlib.suppress(ValueError):  # n_dis needs a larger image, say
                    changed = dataclasses.replace(model, **parts["model"]), dataclasses.replace(train, **parts["train"])
                    words = [f"--{field}" if value is True else f"--{field} {value}" for (_, field), value in named]
                    tried.append((" ".join(words), step_bytes(*changed, gpu, replicas).total))
            smallest = min([smallest, *tried], key=lambda row: row[1])
            fitting = [row for row in tried if MARGIN * row[1] <= room]
            found += [max(fitting, key=lambda row: row[1])] if fitting else []
        if found:
            return found, smallest
    return [], smallest


def report(model, train, room, gpu=False, replicas=1):
    """In words: `line, advice`, the prediction, and, where it exceeds the memory, what would fit, else empty.

    Args:
        model, train, gpu, replicas: as for `step_bytes`.
        room: bytes there are, or None where that is not known.
    """
    step = step_bytes(model, train, gpu, replicas)
    runtime = "" if gpu else f"TensorFlow {_gb(step.runtime)}, "
    line = (
        f"Memory of one step: about {_gb(step.total)} GB ({runtime}weights and Adam {_gb(step.weights)}, kept maps "
        f"{_gb(step.maps)}, gradients and what passes {_gb(step.passing)})"
    )
    line += ", reckoned from CPUs: never measured on a GPU" if gpu else ""
    if room is None:
        return f"{line}.", ""
    line += f"; {'the GPU' if gpu else 'this machine'} has {_gb(room)} GB free."
    if step.total <= room:
        return line, ""
    fitting, smallest = suggestions(model, train, room, gpu, replicas)
    if not fitting:
        words, size = smallest
        return line, f"That does not fit, nor does anything smaller: {words or 'this'} needs about {_gb(size)} GB."
    longest = max(len(words) for words, _ in fitting)
    rows = [f"  {words:{longest}}  about {_gb(size)} GB" for words, size in fitting]
    return line, "\n".join(["That does not fit. What would:", *rows])


def _gb(size):
    return f"{size / 1e9:.1f}"
