"""What other projects leave in the environment or in Keras changes nothing here, or is an error that says so."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from networks import images

import ugatit_tf
from ugatit_tf import environment

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = [
    ugatit_tf.ModelConfig(light=True, ch=2, n_res=1, n_dis=4, img_size=24),
    ugatit_tf.ModelConfig(architecture="cyclegan", ch=2, n_res=1, img_size=24),
]


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0"), ("1", "1")])
def test_onednn_is_on_unless_somebody_has_decided(given, expected, monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if given:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given)
    environment.prepare()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == expected


def test_the_backend_is_set_while_that_has_an_effect(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    environment.prepare()
    assert os.environ["KERAS_BACKEND"] == "torch"  # Keras is imported: what is set would only hide what it has
    monkeypatch.delitem(sys.modules, "keras")
    environment.prepare()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_another_backend_is_named_with_the_way_out(monkeypatch):
    environment.check_backend()
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ImportError, match=r"backend 'jax', before ugatit_tf.*KERAS_BACKEND.*keras\.json.*before keras"):
        environment.check_backend()


def outputs(config):
    """What each network gives, and the types of its weights."""
    model, batch = ugatit_tf.UGATIT(config, seed=1), images(2, 24, 24)
    types = {variable.dtype for network in model.networks.values() for variable in network.variables}
    return [np.asarray(network(batch, training=False)[0]) for network in model.networks.values()], types


@pytest.mark.parametrize("config", CONFIGS, ids=["ugatit", "cyclegan"])
def test_keras_global_settings_do_not_reach_the_networks(config):
    expected, _ = outputs(config)
    former = keras.config.image_data_format(), keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_image_data_format("channels_first")
        keras.config.set_floatx("float16")
        keras.config.set_dtype_policy("mixed_bfloat16")
        found, types = outputs(config)
        left = keras.config.image_data_format(), keras.config.floatx(), keras.config.dtype_policy().name
    finally:
        keras.config.set_image_data_format(former[0])
        keras.config.set_floatx(former[1])
        keras.config.set_dtype_policy(former[2])
    assert left == ("channels_first", "float16", "mixed_bfloat16")  # the process keeps its own
    assert types == {"float32"}
    for mine, others in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, others)


def test_another_projects_keras_json(tmp_path):
    """A process of its own: Keras reads the file when it is imported."""
    settings = {"floatx": "float16", "epsilon": 1e-7, "backend": "torch", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    code = """
import ugatit_tf, numpy
config = ugatit_tf.ModelConfig(light=True, ch=2, n_res=1, n_dis=4, img_size=24)
model = ugatit_tf.UGATIT(config, seed=1)
numpy.save("out.npy", model.gen_a2b(numpy.load("in.npy"), training=False)[0])
"""
    np.save(tmp_path / "in.npy", images(2, 24, 24))
    own = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=os.environ | own, cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), outputs(CONFIGS[0])[0][0])


def test_the_command_that_installs_an_extra(tmp_path, monkeypatch):
    """Double quotes are what bash, zsh, cmd and PowerShell have in common."""
    assert environment.install_hint("export") == f'pip install "{ROOT}[export]"'
    monkeypatch.setattr(environment, "_SOURCE", tmp_path)
    assert environment.install_hint("export") == 'pip install ".[export]" in the folder of the source'


def test_the_cache_is_in_the_home_folder_or_where_the_user_says(monkeypatch, tmp_path):
    """For everything that is kept: a folder called ~ is made by none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("UGATIT_CACHE", raising=False)
    assert environment.cache_folder() == tmp_path / ".cache" / "ugatit_tf"
    assert environment.cache_folder("features") == tmp_path / ".cache" / "ugatit_tf" / "features"
    monkeypatch.setenv("UGATIT_CACHE", "~/mine")
    assert environment.cache_folder() == environment.cache_folder("features") == tmp_path / "mine"
