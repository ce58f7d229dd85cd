import os
import sys
import types

import numpy as np
import pytest

from ugatit_tf.data import images, tfds

NAME = "tfds:cycle_gan/horse2zebra"


def pixels(split, index, channels=3):
    rng = np.random.default_rng([images.FOLDERS.index(split), index])
    return rng.integers(0, 256, (5 + index, 6, channels), np.uint8)


class Builder:
    """What write_tfds uses of tfds.core.DatasetBuilder (4.9). cycle_gan's has no splits before it is prepared."""

    def __init__(self, splits=images.FOLDERS, known=False, features=("image", "label"), channels=3, fail_at=None):
        self.all_splits, self.channels, self.fail_at, self.prepared = splits, channels, fail_at, 0
        self.info = types.SimpleNamespace(
            splits=dict.fromkeys(splits) if known else {}, features=dict.fromkeys(features)
        )

    def download_and_prepare(self):
        self.prepared += 1
        self.info.splits = dict.fromkeys(self.all_splits)

    def as_dataset(self, *, split, shuffle_files):
        assert not shuffle_files
        for index in range(2):
            if self.fail_at == (split, index):
                raise KeyboardInterrupt
            yield {"image": pixels(split, index, self.channels), "label": 0}


@pytest.fixture
def install(monkeypatch):
    """Puts a fake tensorflow_datasets in place, whose only builder is the one given."""

    def put(builder):
        def make(name):
            if name != "cycle_gan/horse2zebra":
                raise ValueError(f"Dataset {name} not found.\nAvailable datasets:\n\t- abstract_reasoning")
            return builder

        module = types.ModuleType("tensorflow_datasets")
        module.builder, module.as_numpy = make, iter
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
        return builder

    return put


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_folder_reads_like_any_other(tmp_path, install, known, channels):
    builder = install(Builder(known=known, channels=channels))
    tfds.write_tfds(NAME, tmp_path / "deep" / "set")
    assert builder.prepared == 1
    result = images.load_dataset(tmp_path / "deep" / "set", need=images.FOLDERS)
    assert result.bad == []
    for split, paths in zip(
        images.FOLDERS, (result.train_a, result.train_b, result.test_a, result.test_b), strict=True
    ):
        assert [path.name for path in paths] == ["000000.png", "000001.png"]
        for index, path in enumerate(paths):
            expected = np.broadcast_to(pixels(split, index, channels), (5 + index, 6, 3))
            np.testing.assert_array_equal(images.decode(path), expected)


def test_an_existing_folder_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # not even imported
    (tmp_path / "set").mkdir()
    tfds.write_tfds(NAME, tmp_path / "set")
    assert list((tmp_path / "set").iterdir()) == []


def test_an_interruption_leaves_nothing_behind(tmp_path, install):
    install(Builder(fail_at=("testA", 1)))
    with pytest.raises(KeyboardInterrupt):
        tfds.write_tfds(NAME, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_faster_process_is_kept(tmp_path, install, monkeypatch):
    builder = install(Builder())
    prepare = builder.download_and_prepare

    def overtaken():
        prepare()
        (tmp_path / "set" / "trainA").mkdir(parents=True)

    builder.download_and_prepare = overtaken
    tfds.write_tfds(NAME, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["trainA"]


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ValueError, match=r'horse2zebra needs .*pip install ".*\[tfds\]"'):
        tfds.write_tfds(NAME, tmp_path / "set")


@pytest.mark.parametrize("known", [False, True])
def test_other_splits_are_listed(tmp_path, install, known):
    builder = install(Builder(splits=("train", "test"), known=known))
    with pytest.raises(ValueError, match="must have the splits trainA, trainB, testA, testB; it has train, test"):
        tfds.write_tfds(NAME, tmp_path / "set")
    assert builder.prepared == (not known)  # nothing is downloaded for nothing
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_without_images_is_refused_before_the_download(tmp_path, install):
    builder = install(Builder(features=("text",)))
    with pytest.raises(ValueError, match="must have a feature 'image'; it has text"):
        tfds.write_tfds(NAME, tmp_path / "set")
    assert builder.prepared == 0


def test_an_unknown_dataset_is_refused_in_one_line(tmp_path, install):
    install(Builder())
    with pytest.raises(ValueError, match=r"'cycle_gan/nosuch': Dataset cycle_gan/nosuch not found\. Use") as caught:
        tfds.write_tfds("tfds:cycle_gan/nosuch", tmp_path / "set")
    assert "abstract_reasoning" not in str(caught.value)


@pytest.mark.parametrize("name", ["cycle_gan/horse2zebra", "tfds:", ""])
def test_a_name_of_another_kind_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="must look like tfds:cycle_gan/horse2zebra; received"):
        tfds.write_tfds(name, tmp_path / "set")


def test_a_draft_of_a_power_cut_goes(tmp_path, install):
    install(Builder())
    (tmp_path / f".{'0' * 32}").mkdir()
    os.utime(tmp_path / f".{'0' * 32}", (0, 0))
    tfds.write_tfds(NAME, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
