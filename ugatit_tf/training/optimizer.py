"""Adam as the two official implementations run it, with loss scaling for float16."""

import tensorflow as tf

BETA_1, BETA_2, EPSILON = 0.5, 0.999, 1e-8
GROWTH_STEPS = 2000  # finite steps after which the loss scale doubles


class Adam:
    """Adam(0.5, 0.999) with epsilon 1e-8, L2 weight decay inside the gradient, and the constraint of each rho.

    The update is TensorFlow's fused kernel, which is also what TF1's AdamOptimizer ran: one pass over weights, moments
    and gradient. Under a `tf.distribute` strategy each replica updates its own copy of the weights, so gradients must
    be those of all replicas; equal gradients keep the copies equal.

    Args:
        flavor: `"tf1"`: epsilon is added as in Keras, and weight decay (the gradient of TF1's L2 term) concerns
            kernels. `"pytorch"`: epsilon is added after the bias correction, and decay concerns every weight.
        variables: the Keras variables it will update.
        l2: the weight decay: `l2 * weight` is added to the gradient, before the moments.
        loss_scaling: whether losses are multiplied by a scale, which gradients that are not finite halve (their step
            is left out) and 2,000 finite steps double: small gradients would vanish in float16.
        initial_scale: the first scale.

    Attributes:
        state: dict of name to `tf.Variable`, all that a resumed training needs.

    Reference: `tf.train.AdamOptimizer`; `torch.optim.Adam`, whose `weight_decay` is coupled, unlike Keras's;
    Micikevicius et al., arXiv:1710.03740, for the loss scale.
    """

    def __init__(self, flavor, variables, l2=0.0, loss_scaling=False, initial_scale=2.0**15):
        self.flavor = flavor
        self.variables = list(variables)
        self.l2 = l2
        self.steps = tf.Variable(tf.zeros([], tf.int64), trainable=False)
        self.moments = [[_zeros(variable) for _ in range(2)] for variable in self.variables]
        self.state = {"steps": self.steps}
        for variable, pair in zip(self.variables, self.moments, strict=True):
            self.state |= {f"{variable.path}/{moment}": value for moment, value in zip("mv", pair, strict=True)}
        self.scale = None
        if loss_scaling:
            self.scale = tf.Variable(initial_scale, trainable=False)
            self.finite_steps = tf.Variable(tf.zeros([], tf.int64), trainable=False)
            self.state |= {"loss_scale": self.scale, "finite_steps": self.finite_steps}

    def scaled(self, loss):
        """The loss whose gradients `apply` expects."""
        return loss if self.scale is None else loss * self.scale

    def apply(self, gradients, learning_rate):
        """Update the variables; belongs in a `tf.function`.

        Args:
            gradients: of the scaled loss, in the order of `variables`.
            learning_rate: float32 scalar.
        """
        if self.scale is None:
            self._update(gradients, learning_rate)
            return
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
        scale = tf.identity(self.scale)
        unscaled = [gradient / scale for gradient in gradients]
        tf.cond(finite, lambda: self._update(unscaled, learning_rate), lambda: None)
        run = tf.where(finite, self.finite_steps + 1, 0)
        grow = tf.equal(run, GROWTH_STEPS)
        self.scale.assign(tf.where(finite, tf.where(grow, 2.0 * scale, scale), 0.5 * scale))
        self.finite_steps.assign(tf.where(grow, tf.zeros_like(run), run))

    def _update(self, gradients, learning_rate):
        step = tf.cast(self.steps + 1, tf.float32)
        beta_1_power, beta_2_power = BETA_1**step, BETA_2**step
        # PyTorch divides by sqrt(v / (1 - beta_2^t)) + epsilon; with the correction taken out of the root it is this.
        epsilon = EPSILON * (tf.sqrt(1.0 - beta_2_power) if self.flavor == "pytorch" else tf.ones([]))
        scalars = {
            "beta1_power": beta_1_power,
            "beta2_power": beta_2_power,
            "lr": learning_rate,
            "beta1": tf.constant(BETA_1),
            "beta2": tf.constant(BETA_2),
            "epsilon": epsilon,
        }
        for variable, gradient, (m, v) in zip(self.variables, gradients, self.moments, strict=True):
            if self.l2 and (self.flavor == "pytorch" or variable.name == "kernel"):
                with tf.control_dependencies([gradient]):  # or all products would be made, and held, beforehand
                    gradient = gradient + self.l2 * variable.value
            tf.raw_ops.ResourceApplyAdam(var=variable.value.handle, m=m.handle, v=v.handle, grad=gradient, **scalars)
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        self.steps.assign_add(1)


def _zeros(variable):
    return tf.Variable(lambda: tf.zeros(variable.shape), shape=variable.shape, dtype=tf.float32, trainable=False)
