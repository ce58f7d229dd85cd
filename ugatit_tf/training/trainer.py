"""Trainer: the state of a training, one step of it, and its arrays for a checkpoint."""

import tensorflow as tf

from ugatit_tf.config import TrainConfig
from ugatit_tf.models.network import check_range
from ugatit_tf.training.optimizer import Adam
from ugatit_tf.training.pool import ImagePool
from ugatit_tf.training.schedule import learning_rate
from ugatit_tf.training.step import TrainStep


class Trainer:
    """Trains a model; what it does next follows from its state and its configuration alone.

    For several devices make model and trainer inside `strategy.scope()` of a `tf.distribute` strategy.

    Args:
        model: `ugatit_tf.UGATIT`, trained in place. Its precision becomes the configuration's.
        config: `ugatit_tf.TrainConfig`; `batch_size` is that of all devices together.

    Attributes:
        strategy: the `tf.distribute` strategy in whose scope it was made.
        steps: number of steps done.
        averages: with `config.ema`, the averaged generators by name (`gen_a2b`, `gen_b2a`), else empty.
        pools: with `config.pool_size`, the `ImagePool` of each domain (`a`, `b`), else empty.
    """

    def __init__(self, model, config=None):
        if model.missing:
            raise ValueError(f"A training needs all networks; this model lacks {', '.join(model.missing)}. Use --init.")
        self.model = model
        self.config = config = TrainConfig() if config is None else config
        self.strategy = tf.distribute.get_strategy()
        self.steps = 0
        model.set_precision(config.precision)
        for generator in model.generators.values():
            generator.remat = config.remat
        players = {"generators": model.generators.values()}
        players |= {name: [network] for name, network in model.discriminators.items()}
        self.optimizers = {
            name: Adam(
                model.config.flavor,
                [variable for network in networks for variable in network.trainable_variables],
                config.weight_decay,
                loss_scaling=config.precision == "float16",
            )
            for name, networks in players.items()
        }
        self.averages = {name: _copy(net) for name, net in model.generators.items()} if config.ema else {}
        pairs = [
            (average, variable)
            for name, network in self.averages.items()
            for average, variable in zip(network.variables, model.networks[name].variables, strict=True)
        ]
        sizes = (config.pool_size, model.config.img_size)
        self.pools = {domain: ImagePool(*sizes, f"pool_{domain}") for domain in "ab"} if config.pool_size else {}
        if config.xla and self.strategy.num_replicas_in_sync > 1:
            raise ValueError(
                "xla=True compiles the step of one device: XLA cannot compile what several exchange. Received a "
                f"strategy of {self.strategy.num_replicas_in_sync} replicas: use xla=False."
            )
        self._train_step = TrainStep(model, config, self.optimizers, pairs, self.pools, jit_compile=config.xla)

    def step(self, real_a, real_b):
        """One update of the discriminators and one of the generators (every `n_critic`-th step).

        Args:
            real_a, real_b: images of the two domains, float32 in [-1, 1], [N, H, W, 3]; under a strategy the whole
                batch, of which each replica takes its part.

        Returns:
            Every loss term by name, float32 scalars: unweighted terms `d_adv_{global,local}[_cam]_{a,b}`,
            `d_gp[_cam]_{a,b}` (times gp_ld), `g_adv_..`, `g_cycle_..`, `g_identity_..`, `g_cam_{a,b}`; weighted sums
            `d_a`, `d_b`, `d_loss`, `g_a`, `g_b`, `g_loss`; TF1's L2 terms `d_reg`, `g_reg`, part of the losses; and
            shares in [0, 1] to watch, no part of them: `hit_{real,fake}_{global,local}_{a,b}`, how often the
            discriminator is right about its real and translated images, and `hit_cam_{a,b}`, the generator's CAM. A
            CycleGAN has no `global`, `local` and `cam`.
            `g_*_a` are the terms of images of domain A: judged by its discriminators, or given back by its cycle.

        Raises:
            ValueError: images of another type, range or shape, or of two shapes; nothing has changed.
        """
        for images in (real_a, real_b):
            check_range(images)  # here alone: reading it waits for the device, and a pipeline's images are in range
        names, values = self.step_values(real_a, real_b)
        return dict(zip(names, tf.unstack(values), strict=True))

    def step_values(self, real_a, real_b):
        """As `step`, but `names, values`: one float32 vector, which is read from the device at once.

        It also takes what the strategy's datasets give: per-replica batches.
        """
        if not isinstance(real_a, tf.distribute.DistributedValues):
            real_a, real_b = (self._share(images) for images in _checked(real_a, real_b))
        rate = learning_rate(self.steps, self.config, self.model.config.flavor)
        names, values = self._train_step(real_a, real_b, self.steps, rate)
        self.steps += 1
        return names, values

    def _share(self, images):
        """A whole batch as the strategy's step takes it: to each of this machine's replicas its rows."""
        images = tf.convert_to_tensor(images, tf.float32)
        count = self.strategy.num_replicas_in_sync
        if count == 1:
            return images
        if images.shape[0] % count:
            raise ValueError(
                f"The batch must be a multiple of the {count} replicas; received {images.shape[0]} images."
            )
        parts = tf.split(images, count)
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    @property
    def sampling_generators(self):
        """The generators to look at, by name: the averaged ones where there are any."""
        return self.averages or self.model.generators

    def state(self):
        """Everything that the training's future depends on: variables by name, and the number of steps."""
        return {**dict(self.model.named_variables()), **self._own(), "steps": tf.constant(self.steps, tf.int64)}

    def arrays(self):
        """`state` as numpy arrays, which no further step changes."""
        return {name: variable.numpy() for name, variable in self.state().items()}

    def set_arrays(self, arrays, path):
        """Take what `arrays` gave, all or nothing.

        Raises:
            ValueError: an array is missing or misshapen; nothing has changed.
        """
        state = self._own()
        shapes = {name: tuple(variable.shape) for name, variable in state.items()}
        faults = [name for name, shape in shapes.items() if name not in arrays or arrays[name].shape != shape]
        if faults or "steps" not in arrays:
            raise ValueError(f"{path} lacks the training state, or has it in another shape: {', '.join(faults[:10])}.")
        self.model.set_arrays(arrays, path)
        for name, variable in state.items():
            variable.assign(arrays[name])
        self.steps = int(arrays["steps"])

    def _own(self):
        """The variables beside the model's: the optimizers' (with their loss scale), the averages and the pools."""
        named = {
            f"adam/{name}/{key}": variable
            for name, optimizer in self.optimizers.items()
            for key, variable in optimizer.state.items()
        }
        for name, network in self.averages.items():
            named |= {f"ema/{name}/{v.path.partition('/')[2]}": v for v in network.variables}
        return named | {f"pool/{v.name.partition(':')[0]}": v for pool in self.pools.values() for v in pool.variables}


def _checked(real_a, real_b):
    for name, images in (("real_a", real_a), ("real_b", real_b)):
        shape = tuple(images.shape)
        if not tf.as_dtype(images.dtype).is_floating or len(shape) != 4 or shape != tuple(real_a.shape):
            raise ValueError(
                "real_a and real_b are float images in [-1, 1] of one shape [N, H, W, 3]; received "
                f"{tf.as_dtype(images.dtype).name} {list(shape)} as {name}, beside {list(real_b.shape)}."
            )
    return real_a, real_b


def _copy(generator):
    """A generator of the same weights and precision."""
    copy = generator.copy()
    copy.set_precision(generator.precision)
    return copy
