"""One training step: D on the current generators' images, then G against the updated D (paper, section 3.2)."""

import contextlib
import functools

import tensorflow as tf

from ugatit_tf import losses
from ugatit_tf.config import PENALTY_TYPES
from ugatit_tf.training import replicas


class TrainStep:
    """The reference's step, in one `tf.function`; CycleGAN's too, which has no CAM and one discriminator a domain.

    It computes what the official codes compute and saves work where the numbers stay the same: each generator
    translates once, for both updates, and takes the images to bring back (cycle) and those of its target domain
    (identity) as one batch; each discriminator sees real and translated images as one batch. The discriminators are
    updated one after the other, and the generators' gradient is taken in parts (each discriminator, each way back, then
    the translation), in an order that `tf.control_dependencies` keeps, so that one part's arrays are gone before the
    next part's are made.

    Under a `tf.distribute` strategy each replica has its share of the batch; losses, gradients and random draws are
    those of the whole batch on one device.

    Args:
        model: `ugatit_tf.UGATIT`.
        config: `ugatit_tf.TrainConfig`.
        optimizers: dict of `Adam`: "generators", and one by the name of each discriminator.
        averages: pairs (average, variable), moved by `config.ema` after each generator update.
        pools: an `ImagePool` of each domain, "a" and "b", or none.
        jit_compile: compile with XLA.
    """

    def __init__(self, model, config, optimizers, averages=(), pools=None, jit_compile=False):
        self.strategy = tf.distribute.get_strategy()
        self.model = model
        self.config = config
        self.optimizers = optimizers
        self.averages = averages
        self.pools = pools or {}
        self._names = {}
        self._function = tf.function(self._on_replicas, jit_compile=jit_compile, autograph=False)

    def __call__(self, real_a, real_b, step, learning_rate):
        """Update the discriminators and, at every `n_critic`-th step, the generators.

        Args:
            real_a, real_b: float32 in [-1, 1], [N, H, W, 3]; under a strategy per-replica values of such.
            step: of the whole run, counted from 0; random draws follow from it and the seed.
            learning_rate: of this step.

        Returns:
            `names, values`: the loss terms' names, and float32 [len(names)].
        """
        update_generators = step % self.config.n_critic == 0
        scalars = tf.constant(step, tf.int32), tf.constant(learning_rate, tf.float32)
        values = self._function(real_a, real_b, *scalars, update_generators=update_generators)
        return self._names[update_generators], values

    def _on_replicas(self, *arguments, update_generators):
        values = self.strategy.run(self._step, arguments, {"update_generators": update_generators})
        return self.strategy.experimental_local_results(values)[0]  # equal on all of them

    def _step(self, real_a, real_b, step, learning_rate, update_generators):
        with _tape(self.model.generators.values()) as tape:
            fake_a2b, cam_a2b, _ = self.model.gen_a2b(real_a, training=True)
            fake_b2a, cam_b2a, _ = self.model.gen_b2a(real_b, training=True)
        pairs = {"a": (real_a, self._pooled("a", fake_b2a, step)), "b": (real_b, self._pooled("b", fake_a2b, step))}
        terms = self._update_discriminators(pairs, step, learning_rate)
        if update_generators:
            translated = {"fake_a2b": fake_a2b, "fake_b2a": fake_b2a, "cam_a2b": cam_a2b, "cam_b2a": cam_b2a}
            with tf.control_dependencies(list(terms.values())):  # the updated D
                terms |= self._update_generators(real_a, real_b, translated, tape, learning_rate)
            for average, variable in self.averages:
                average.assign(variable + self.config.ema * (average - variable))

        self._names[update_generators] = tuple(terms)
        return replicas.mean(tf.stack(list(terms.values())))

    def _pooled(self, domain, fake, step):
        """The translated images that a domain's discriminators are shown: with a pool, half of them older ones."""
        if domain not in self.pools:
            return fake
        number = -1 - 2 * step - int(domain == "b")  # below 0: the gradient penalty draws by numbers from 0 on
        seed = tf.stack([self.config.seed, number])
        return replicas.rows(self.pools[domain].exchange(replicas.gather(fake), seed))

    def _update_discriminators(self, pairs, step, learning_rate):
        """D: real images are 1, translated ones 0. Each discriminator is updated before the next one is run.

        Args:
            pairs: of each domain, "a" and "b", the real and the translated images.

        Returns:
            The loss terms, and their sums.
        """
        terms, decay, done = {}, 0.0, [fake for _, fake in pairs.values()]
        for domain, (real, fake) in pairs.items():
            for depth in self._judges(domain):
                with tf.control_dependencies(done):
                    part, gradients, name = self._discriminator_part(domain, depth, real, fake, step)
                    part_decay = self._apply(name, gradients, list(part.values()), learning_rate)
                    done = [*part.values(), part_decay]
                decay += part_decay
                for name, value in part.items():  # penalties of both depths are one term
                    terms[name] = terms[name] + value if name in terms else value
        return terms | self._sums(terms, decay)

    def _update_generators(self, real_a, real_b, translated, tape, learning_rate):
        """G: the updated D is to judge translations as 1, cycles return to where they began, and identity and CAM.

        The gradient in parts (`_part`): first those at the translations and their CAM logits, and of the weights that
        bring images back; then from there through the translation.

        Args:
            translated: what the generators made of the real images: fake_a2b, fake_b2a, and the logits cam_a2b and
                cam_b2a, None without CAM.
            tape: that recorded it.

        Returns:
            The loss terms, and their sums.
        """
        gen_a2b, gen_b2a = self.model.gen_a2b, self.model.gen_b2a
        translated = {name: value for name, value in translated.items() if value is not None}
        parts = [
            *((terms_of, ["fake_a2b"], ()) for terms_of in self._adversarial_terms("b")),
            (self._back_terms("a", real_a, gen_b2a), ["fake_a2b", "cam_b2a"], (gen_b2a,)),
            *((terms_of, ["fake_b2a"], ()) for terms_of in self._adversarial_terms("a")),
            (self._back_terms("b", real_b, gen_a2b), ["fake_b2a", "cam_a2b"], (gen_a2b,)),
        ]
        terms, slopes, back, done = {}, dict.fromkeys(translated, 0.0), {}, []
        for terms_of, names, networks in parts:
            names = [name for name in names if name in translated]
            with tf.control_dependencies(done):
                part_terms, into, gradients = self._part(terms_of, [translated[name] for name in names], networks)
            done = [*into, *gradients]
            terms |= part_terms
            for name, slope in zip(names, into, strict=True):
                slopes[name] += slope
            back |= dict.fromkeys([network.name for network in networks], gradients)

        there = tape.gradient(list(translated.values()), _variables((gen_a2b, gen_b2a)), list(slopes.values()))
        gradients = [a + b for a, b in zip(there, back["gen_a2b"] + back["gen_b2a"], strict=True)]
        decay = self._apply("generators", gradients, list(terms.values()), learning_rate)
        return terms | self._sums(terms, decay)

    def _judges(self, domain):
        """A domain's discriminators by depth: `global` and `local`, or CycleGAN's one, by no name."""
        networks = self.model.discriminators.items()
        return {name[4:-2]: network for name, network in networks if name.endswith(f"_{domain}")}

    def _discriminator_part(self, domain, depth, real, fake, step):
        """One discriminator's loss terms, their gradients, and its name."""
        network, name = self._judges(domain)[depth], _name("dis", depth, domain)
        gan_type, terms = self.config.gan_type, {}
        with _tape([network]) as tape:
            logit, cam_logit, _ = network(tf.concat([real, fake], 0), training=True)
            for suffix, values in _logits(logit, cam_logit):
                terms[_name("d_adv", depth, suffix, domain)] = losses.discriminator_loss(gan_type, *tf.split(values, 2))
            if gan_type in losses.BOUNDARY:
                real_logit, fake_logit = tf.split(logit, 2)
                bound = losses.BOUNDARY[gan_type]
                terms[_name("hit_real", depth, domain)] = losses.share_above(real_logit, bound)
                terms[_name("hit_fake", depth, domain)] = 1.0 - losses.share_above(fake_logit, bound)
            if gan_type in PENALTY_TYPES:
                terms |= self._penalties(domain, network, real, fake, step)
            loss = self._loss(terms, name)
        return terms, tape.gradient(loss, _variables([network])), name

    def _penalties(self, domain, network, real, fake, step):
        """Gradient penalties on one interpolate an image, for logits and CAM logits."""
        number = 4 * step + 2 * int(domain == "b")
        if self.config.gan_type == "dragan":
            noise = replicas.uniform(real.shape, tf.stack([self.config.seed, number + 1]))
            fake = real + 0.5 * replicas.std(real) * noise
        alpha = replicas.uniform([real.shape[0], 1, 1, 1], tf.stack([self.config.seed, number]))
        between = real + alpha * (fake - real)
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(between)
            logit, cam_logit, _ = network(between, training=False)
        return {
            _name("d_gp", suffix, domain): self.config.gp_ld
            * losses.gradient_penalty(self.config.gan_type, tape.gradient(values, between))
            for suffix, values in _logits(logit, cam_logit)
        }

    def _part(self, terms_of, inputs, networks):
        """Loss terms of what was translated, and the gradients at it and at the networks' weights."""
        with _tape(networks) as tape:
            tape.watch(inputs)
            terms = terms_of(*inputs)
            loss = self._loss(terms, "generators")
        into, gradients = tape.gradient(loss, [inputs, _variables(networks)])
        return terms, into, gradients

    def _adversarial_terms(self, domain):
        """What each discriminator says of a translated image: functions to loss terms."""

        def terms_of(fake, depth, network):
            logit, cam_logit, _ = network(fake, training=False)
            return {
                _name("g_adv", depth, suffix, domain): losses.generator_loss(self.config.gan_type, values)
                for suffix, values in _logits(logit, cam_logit)
            }

        judges = self._judges(domain).items()
        return [functools.partial(terms_of, depth=depth, network=network) for depth, network in judges]

    def _back_terms(self, domain, real, generator):
        """The terms of the generator towards a domain: a function of the image to bring back, and of its own CAM logits
        on what it translated."""

        def terms_of(fake, cam_translated=None):
            images, cam_logit, _ = generator(tf.concat([fake, real], 0), training=True)
            cycle, identity = tf.split(images, 2)
            terms = {f"g_cycle_{domain}": losses.l1(cycle, real), f"g_identity_{domain}": losses.l1(identity, real)}
            if cam_logit is not None:
                _, cam_identity = tf.split(cam_logit, 2)
                terms[f"g_cam_{domain}"] = losses.cam_loss(cam_translated, cam_identity)
                terms[f"hit_cam_{domain}"] = losses.hit_rate(cam_translated, cam_identity, 0.0)
            return terms

        return terms_of

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

    def _loss(self, terms, name):
        """What an optimizer takes the gradient of: this replica's part of the mean over all."""
        return self.optimizers[name].scaled(self._weighted(terms) / replicas.count())

    def _apply(self, name, gradients, terms, learning_rate):
        """Update an optimizer's weights; returns TF1's L2 term, 0 in the other flavor."""
        optimizer, decay = self.optimizers[name], tf.zeros([])
        if self.model.config.flavor == "tf1" and self.config.weight_decay:
            with tf.control_dependencies(gradients):
                kernels = [v.value for v in optimizer.variables if v.name == "kernel"]
                decay = self.config.weight_decay * losses.l2(kernels)
        # The terms are of the weights before the update.
        with tf.control_dependencies([*terms, decay]):
            optimizer.apply(replicas.sum(gradients), learning_rate)
        return decay

    def _sums(self, terms, decay):
        """The weighted sums of a player's terms, by domain and in all."""
        player = next(iter(terms))[0]
        sums = {
            f"{player}_{domain}": self._weighted({n: v for n, v in terms.items() if n.endswith(f"_{domain}")})
            for domain in "ab"
        }
        total = sums[f"{player}_a"] + sums[f"{player}_b"]
        if self.model.config.flavor == "tf1" and self.config.weight_decay:
            sums[f"{player}_reg"] = decay
            total += decay
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
