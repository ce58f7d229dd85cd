"""One training step: D on the current generators' images, then G against the updated D (paper, section 3.2)."""

import contextlib
import functools

import tensorflow as tf

from ugatit_tf import losses
from ugatit_tf.config import PENALTY_TYPES


class TrainStep:
    """The reference's step, in one `tf.function`; CycleGAN's too, which has no CAM and one discriminator a domain.

    It computes what the official codes compute and saves work where the numbers stay the same: each generator runs
    once, on a batch of the images to translate and those of its target domain (translation and identity), for both
    updates; each discriminator sees real and translated images as one batch. The generators' gradient is taken in
    parts (each discriminator, each cycle, then the first pass), in an order that `tf.control_dependencies` keeps, so
    that one part's activations are gone before the next part's are made.

    Args:
        model: `ugatit_tf.UGATIT`.
        config: `ugatit_tf.TrainConfig`.
        optimizer_g, optimizer_d: built on the trainable variables of the generators and of the discriminators.
        averages: pairs (average, variable), moved by `config.ema` after each generator update.
        pools: an `ImagePool` of each domain, "a" and "b", or none.
        jit_compile: compile with XLA.
    """

    def __init__(self, model, config, optimizer_g, optimizer_d, averages=(), pools=None, jit_compile=False):
        self.model = model
        self.config = config
        self.optimizer_g = optimizer_g
        self.optimizer_d = optimizer_d
        self.averages = averages
        self.pools = pools or {}
        self._names = {}
        self._function = tf.function(self._step, jit_compile=jit_compile, autograph=False)

    def __call__(self, real_a, real_b, step, learning_rate):
        """Update the discriminators and, at every `n_critic`-th step, the generators.

        Args:
            real_a, real_b: float32 in [-1, 1], [N, H, W, 3].
            step: of the whole run, counted from 0; random draws follow from it and the seed.
            learning_rate: of this step.

        Returns:
            `names, values`: the loss terms' names, and float32 [len(names)].
        """
        update_generators = step % self.config.n_critic == 0
        values = self._function(
            tf.convert_to_tensor(real_a, tf.float32),
            tf.convert_to_tensor(real_b, tf.float32),
            tf.constant(step, tf.int32),
            tf.constant(learning_rate, tf.float32),
            update_generators=update_generators,
        )
        return self._names[update_generators], values

    def _step(self, real_a, real_b, step, learning_rate, update_generators):
        for optimizer in (self.optimizer_g, self.optimizer_d):
            optimizer.learning_rate.assign(learning_rate)

        with _tape(self.model.generators.values()) as first_pass:
            fake_a2b, fake_b2a, direct = self._first_pass(real_a, real_b, update_generators)
            direct_loss = self._scaled(self._weighted(direct), self.optimizer_g)
        shown = {"a": fake_b2a, "b": fake_a2b}
        for domain, pool in self.pools.items():
            number = -1 - 2 * step - int(domain == "b")  # below 0: the gradient penalty draws by numbers from 0 on
            shown[domain] = pool.exchange(shown[domain], tf.stack([self.config.seed, number]))
        terms = self._update_discriminators(real_a, real_b, shown["b"], shown["a"], step)
        if update_generators:
            with tf.control_dependencies(list(terms.values())):  # the updated D
                terms |= self._update_generators(real_a, real_b, fake_a2b, fake_b2a, first_pass, direct, direct_loss)
            for average, variable in self.averages:
                average.assign(variable + self.config.ema * (average - variable))

        self._names[update_generators] = tuple(terms)
        return tf.stack(list(terms.values()))

    def _update_discriminators(self, real_a, real_b, fake_a2b, fake_b2a, step):
        """D: real images are 1, translated ones 0. Returns the loss terms."""
        terms, gradients = {}, []
        for domain, real, fake in (("a", real_a, fake_b2a), ("b", real_b, fake_a2b)):
            with tf.control_dependencies([fake, *gradients]):
                part_terms, part_gradients = self._discriminator_part(domain, real, fake, step)
            terms |= part_terms
            gradients += part_gradients
        return terms | self._apply(self.optimizer_d, self.model.discriminators.values(), gradients, terms)

    def _update_generators(self, real_a, real_b, fake_a2b, fake_b2a, first_pass, direct, direct_loss):
        """G: the updated D is to judge translations as 1, cycles return to where they began, and identity and CAM.

        The gradient in parts: first that of each translated image, and of the weights behind it (`_part`); then from
        the translated images and the direct terms back through the first pass.

        Args:
            first_pass: the tape that recorded the generators.
            direct, direct_loss: the loss terms of the first pass itself, and their weighted sum on that tape.
        """
        gen_a2b, gen_b2a = self.model.gen_a2b, self.model.gen_b2a
        parts = {
            "a2b": (
                fake_a2b,
                [*self._adversarial_parts("b"), self._cycle_part("a", real_a, gen_b2a)],
            ),
            "b2a": (
                fake_b2a,
                [*self._adversarial_parts("a"), self._cycle_part("b", real_b, gen_a2b)],
            ),
        }
        terms, into_fake, cycle_gradients, done = dict(direct), {"a2b": 0.0, "b2a": 0.0}, {}, []
        for direction, (fake, functions) in parts.items():
            for terms_of, networks in functions:
                with tf.control_dependencies(done):
                    part_terms, gradient, weight_gradients = self._part(terms_of, fake, networks)
                done = [gradient, *weight_gradients]
                terms |= part_terms
                into_fake[direction] += gradient
            cycle_gradients[direction] = weight_gradients

        networks = (gen_a2b, gen_b2a)
        gradients = first_pass.gradient(
            [direct_loss, fake_a2b, fake_b2a],
            _variables(networks),
            output_gradients=[tf.ones([]), into_fake["a2b"], into_fake["b2a"]],
        )
        # The cycle of a translation a2b runs through gen_b2a, and the other way round.
        through_cycles = cycle_gradients["b2a"] + cycle_gradients["a2b"]
        gradients = [first + cycle for first, cycle in zip(gradients, through_cycles, strict=True)]
        return terms | self._apply(self.optimizer_g, networks, gradients, terms)

    def _first_pass(self, real_a, real_b, update_generators):
        """Both translations, and the loss terms that the generators' outputs give directly: identity and CAM."""
        gen_a2b, gen_b2a = self.model.gen_a2b, self.model.gen_b2a
        if not update_generators:
            return gen_a2b(real_a, training=True)[0], gen_b2a(real_b, training=True)[0], {}
        images_b, cam_b, _ = gen_a2b(tf.concat([real_a, real_b], 0), training=True)
        images_a, cam_a, _ = gen_b2a(tf.concat([real_b, real_a], 0), training=True)
        fake_a2b, identity_b2b = tf.split(images_b, 2)
        fake_b2a, identity_a2a = tf.split(images_a, 2)
        terms = {
            "g_identity_a": losses.l1(identity_a2a, real_a),
            "g_identity_b": losses.l1(identity_b2b, real_b),
        }
        for domain, cam_logit in (("a", cam_a), ("b", cam_b)):
            if cam_logit is not None:
                terms[f"g_cam_{domain}"] = losses.cam_loss(*tf.split(cam_logit, 2))
                terms[f"hit_cam_{domain}"] = losses.hit_rate(*tf.split(cam_logit, 2), 0.0)
        return fake_a2b, fake_b2a, terms

    def _judges(self, domain):
        """A domain's discriminators by depth: `global` and `local`, or CycleGAN's one, by no name."""
        networks = self.model.discriminators.items()
        return {name[4:-2]: network for name, network in networks if name.endswith(f"_{domain}")}

    def _discriminator_part(self, domain, real, fake, step):
        """Loss terms of one domain's discriminators, and their gradients."""
        judges, terms = self._judges(domain), {}
        gan_type = self.config.gan_type
        with _tape(judges.values()) as tape:
            for depth, network in judges.items():
                logit, cam_logit, _ = network(tf.concat([real, fake], 0), training=True)
                for suffix, values in _logits(logit, cam_logit):
                    terms[_name("d_adv", depth, suffix, domain)] = losses.discriminator_loss(
                        gan_type, *tf.split(values, 2)
                    )
                if gan_type in losses.BOUNDARY:
                    real_logit, fake_logit = tf.split(logit, 2)
                    bound = losses.BOUNDARY[gan_type]
                    terms[_name("hit_real", depth, domain)] = losses.share_above(real_logit, bound)
                    terms[_name("hit_fake", depth, domain)] = 1.0 - losses.share_above(fake_logit, bound)
            if gan_type in PENALTY_TYPES:
                terms |= self._penalties(domain, judges.values(), real, fake, step)
            loss = self._scaled(self._weighted(terms), self.optimizer_d)
        return terms, tape.gradient(loss, _variables(judges.values()))

    def _penalties(self, domain, networks, real, fake, step):
        """Gradient penalties on one interpolate an image, for logits and CAM logits of both depths."""
        seed = tf.stack([self.config.seed, 4 * step + 2 * (domain == "b")])
        if self.config.gan_type == "dragan":
            noise = tf.random.stateless_uniform(tf.shape(real), tf.stack([seed[0], seed[1] + 1]))
            fake = real + 0.5 * tf.math.reduce_std(real) * noise
        alpha = tf.random.stateless_uniform([tf.shape(real)[0], 1, 1, 1], seed)
        between = real + alpha * (fake - real)
        penalties = {}
        for network in networks:
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(between)
                logit, cam_logit, _ = network(between, training=False)
            for suffix, values in _logits(logit, cam_logit):
                penalty = losses.gradient_penalty(self.config.gan_type, tape.gradient(values, between))
                penalties[suffix] = penalties.get(suffix, 0.0) + penalty
        return {_name("d_gp", suffix, domain): self.config.gp_ld * value for suffix, value in penalties.items()}

    def _part(self, terms_of, fake, networks):
        """Loss terms of a translated image, and the gradients at it and at the networks' weights."""
        variables = _variables(networks)
        with _tape(networks) as tape:
            tape.watch(fake)
            terms = terms_of(fake)
            loss = self._scaled(self._weighted(terms), self.optimizer_g)
        into_fake, *gradients = tape.gradient(loss, [fake, *variables])
        return terms, into_fake, gradients

    def _adversarial_parts(self, domain):
        """What each discriminator says of a translated image: functions to loss terms, and no weights of G."""

        def terms_of(fake, depth, network):
            logit, cam_logit, _ = network(fake, training=False)
            return {
                _name("g_adv", depth, suffix, domain): losses.generator_loss(self.config.gan_type, values)
                for suffix, values in _logits(logit, cam_logit)
            }

        judges = self._judges(domain).items()
        return [(functools.partial(terms_of, depth=depth, network=network), ()) for depth, network in judges]

    def _cycle_part(self, domain, real, gen_back):
        """How well a translated image comes back: a function to the loss term, and the generator it goes through."""

        def terms_of(fake):
            return {f"g_cycle_{domain}": losses.l1(gen_back(fake, training=True)[0], real)}

        return terms_of, (gen_back,)

    def _weighted(self, terms):
        """The sum of loss terms, each with the weight of its kind."""
        weights = {"g_cycle": self.config.cycle_weight, "g_identity": self.config.identity_weight}
        weights |= {"g_cam": self.config.cam_weight, "g_adv": self.config.adv_weight}
        weights |= {"d_adv": self.config.adv_weight, "d_gp": self.config.adv_weight}
        weighted = [
            weights["_".join(name.split("_")[:2])] * value
            for name, value in terms.items()
            if not name.startswith("hit_")
        ]
        return tf.add_n([tf.zeros([]), *weighted])

    def _scaled(self, loss, optimizer):
        return optimizer.scale_loss(loss) if self.config.precision == "float16" else loss

    def _apply(self, optimizer, networks, gradients, terms):
        """Update the weights; returns the sums of the terms, by domain and in all."""
        variables = [v for network in networks for v in network.trainable_variables]
        player = next(iter(terms))[0]
        sums = {
            f"{player}_{domain}": self._weighted({n: v for n, v in terms.items() if n.endswith(f"_{domain}")})
            for domain in "ab"
        }
        total = sums[f"{player}_a"] + sums[f"{player}_b"]
        if self.model.config.flavor == "tf1" and self.config.weight_decay:
            with tf.control_dependencies(gradients):
                kernels = [v.value for v in variables if v.name == "kernel"]
                sums[f"{player}_reg"] = self.config.weight_decay * losses.l2(kernels)
            total += sums[f"{player}_reg"]
        # The terms above are of the weights before the update.
        with tf.control_dependencies([total]):
            optimizer.apply(gradients, variables)
        return {**sums, f"{player}_loss": total}


def _name(*parts):
    return "_".join(part for part in parts if part)


def _logits(logit, cam_logit):
    """What a discriminator says, by the suffix of its terms; without CAM it says one thing."""
    return [("", logit)] if cam_logit is None else [("", logit), ("cam", cam_logit)]


def _variables(networks):
    return [v.value for network in networks for v in network.trainable_variables]


@contextlib.contextmanager
def _tape(networks):
    """A tape that watches the trainable weights of these networks and nothing else."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(_variables(networks))
        yield tape
