"""What TF Serving needs beside the models: which there are, how requests are batched, and how to start it."""

_BATCHING = """\
# Requests that wait together are translated together. Only requests of one shape can be: send JPEG or PNG files to the
# signature `encoded`, or images of one size.
max_batch_size { value: 8 }
batch_timeout_micros { value: 2000 }
num_batch_threads { value: 2 }
max_enqueued_batches { value: 64 }
"""

_COMPOSE = """\
# docker compose up, in this folder. REST on port 8501, gRPC on 8500, of this machine only: TF Serving has neither
# authentication nor limits of its own, so what the world reaches belongs in front of it (docs/serving.md).
services:
  serving:
    image: tensorflow/serving:${TF_SERVING_TAG:-latest}
    ports:
      - "127.0.0.1:8500:8500"
      - "127.0.0.1:8501:8501"
    volumes:
      - ..:/models:ro
    command:
      - --model_config_file=/models/serving/models.config
      - --model_config_file_poll_wait_seconds=60
      - --enable_batching=true
      - --batching_parameters_file=/models/serving/batching.config
      - --rest_api_timeout_in_ms=60000
    restart: unless-stopped
"""


def kit(names):
    """The files of the kit: name to text. They are to lie in a folder `serving` beside the models' folders.

    Args:
        names: of the models.
    """
    models = "".join(
        f'  config {{\n    name: "{name}"\n    base_path: "/models/{name}"\n    model_platform: "tensorflow"\n  }}\n'
        for name in names
    )
    return {
        "models.config": f"model_config_list {{\n{models}}}\n",
        "batching.config": _BATCHING,
        "compose.yaml": _COMPOSE,
    }
