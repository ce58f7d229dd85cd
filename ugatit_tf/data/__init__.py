"""Images in: dataset folders, the drawn demo set, TensorFlow Datasets, and the tf.data pipelines over them."""
