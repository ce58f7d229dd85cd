"""Adam as the two official implementations run it."""

import keras
import tensorflow as tf
from keras import ops


class Adam(keras.optimizers.Adam):
    """Adam(0.5, 0.999) with epsilon 1e-8, and L2 weight decay inside the gradient.

    The update is TensorFlow's fused kernel, which is also what TF1's AdamOptimizer ran: one pass over weights, moments
    and gradient.

    Args:
        flavor: `"tf1"`: epsilon is added as in Keras, and weight decay (the gradient of TF1's L2 term) concerns
            kernels. `"pytorch"`: epsilon is added after the bias correction, and decay concerns every weight.
        l2: the weight decay: `l2 * weight` is added to the gradient, before the moments.

    Reference: `tf.train.AdamOptimizer`; `torch.optim.Adam`, whose `weight_decay` is coupled, unlike Keras's.
    """

    def __init__(self, flavor, l2=0.0, **kwargs):
        super().__init__(beta_1=0.5, beta_2=0.999, epsilon=1e-8, **kwargs)
        self.flavor = flavor
        self.l2 = l2

    def apply(self, grads, trainable_variables=None):
        # Once for all variables: these few scalars for each of hundreds would be a quarter of the step's graph.
        step = ops.cast(self.iterations + 1, "float32")
        beta_1_power, beta_2_power = ops.power(self.beta_1, step), ops.power(self.beta_2, step)
        # PyTorch divides by sqrt(v / (1 - beta_2^t)) + epsilon; with the correction taken out of the root it is this.
        epsilon = self.epsilon * (ops.sqrt(1.0 - beta_2_power) if self.flavor == "pytorch" else 1.0)
        self._scalars = {
            "beta1_power": beta_1_power,
            "beta2_power": beta_2_power,
            "lr": ops.cast(self.learning_rate, "float32"),
            "beta1": tf.constant(self.beta_1),
            "beta2": tf.constant(self.beta_2),
            "epsilon": ops.cast(epsilon, "float32"),
        }
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        if self.l2 and (self.flavor == "pytorch" or self._trainable_variables[index].name == "kernel"):
            with tf.control_dependencies([gradient]):  # or all products would be made, and held, beforehand
                gradient = gradient + self.l2 * variable
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            grad=gradient,
            **self._scalars,
        )

    def get_config(self):
        config = {
            key: value for key, value in super().get_config().items() if key not in ("beta_1", "beta_2", "epsilon")
        }
        return {**config, "flavor": self.flavor, "l2": self.l2}
