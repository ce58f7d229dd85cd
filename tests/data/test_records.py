"""Records are read as the folder is: the oracle is the folder's own files, and arithmetic on their numbers."""

import collections
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ugatit_tf import config
from ugatit_tf.data import images, pipeline, records
from ugatit_tf.weights.process import Process

SIZE = 24
COUNTS = {"trainA": 23, "trainB": 14, "testA": 3, "testB": 2}
PER_SHARD = 4  # 6 and 4 shards, the last ones with 3 and 2 images


def model(flavor="tf1"):
    return config.ModelConfig(flavor=flavor, img_size=SIZE, n_dis=4)


def train(**values):
    return config.TrainConfig(**{"batch_size": 2, "seed": 5} | values)


def save(path, index):
    """A picture whose first pixel tells its index, and whose others are noise."""
    pixels = np.random.default_rng(index).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    pixels[0, 0] = index
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_folder(folder, counts=COUNTS):
    for name, count in counts.items():
        for index in range(count):
            save(folder / name / ("inside" if index % 3 == 0 else "") / f"{index}.png", index)
    return folder


def write(folder, out, **options):
    return records.write_records(folder, out, **{"records": PER_SHARD} | options)


def remote(path):
    """A place that is read and written through TensorFlow alone, as gs:// is, and that no other test uses."""
    return f"ram://{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}/sets/noise"


def contents(folder):
    """Every file of a set by its name, through TensorFlow."""
    found = {}
    for place, _, names in tf.io.gfile.walk(str(folder)):
        for name in names:
            with tf.io.gfile.GFile(f"{place}/{name}", "rb") as file:
                found[f"{place}/{name}".removeprefix(str(folder)).lstrip("/")] = file.read()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("sets") / "noise")


@pytest.fixture(scope="module")
def local(folder):
    out = folder.parent / "records"
    write(folder, out)
    return out


@pytest.fixture(scope="module")
def dataset(local):
    return images.load_dataset(local)


def batches(dataset, count, start=0, share=(0, 1), flavor="tf1", **values):
    found = pipeline.train_batches(dataset, model(flavor), train(**values), start, share)
    return [tuple(part.numpy() for part in batch) for batch in found.take(count)]


def indices(dataset, count, domain, **values):
    """The indices of the first `count` images of a domain."""
    found = batches(dataset, count, batch_size=1, augment_flag=False, **values)
    return [round(float((batch[domain][0, 0, 0, 0] + 1) * 127.5)) for batch in found]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


# what is written


def test_any_reader_of_tfrecords_finds_the_files_as_they_are(folder, local):
    """TensorFlow's own reader, which checks the checksums, and its own parser are the oracle."""
    manifest = json.loads((local / "manifest.json").read_text())
    layout = {"image": tf.io.FixedLenFeature([], tf.string), "name": tf.io.FixedLenFeature([], tf.string)}
    for domain, count in (("trainA", 23), ("trainB", 14)):
        found = {}
        for index, shard in enumerate(manifest["train"][domain]):
            assert shard["file"] == f"{domain}-{index:05d}.tfrecord"
            content = (local / shard["file"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (shard["bytes"], shard["sha256"])
            examples = list(tf.data.TFRecordDataset(str(local / shard["file"])))
            assert len(examples) == shard["records"]
            for example in examples:
                values = tf.io.parse_single_example(example, layout)
                found[values["name"].numpy().decode()] = values["image"].numpy()
        files = images.find_images(folder / domain)
        assert found == {str(path.relative_to(folder / domain)): path.read_bytes() for path in files}
        assert len(found) == count
        sizes = [shard["records"] for shard in manifest["train"][domain]]
        assert sizes == [4] * (count // 4) + [count % 4]
    assert sorted(path.name for path in local.iterdir()) == sorted(
        ["manifest.json", "testA", "testB", *(s["file"] for part in manifest["train"].values() for s in part)]
    )


def test_test_images_are_copied_as_files(folder, local, dataset):
    for name, paths in (("testA", dataset.test_a), ("testB", dataset.test_b)):
        files = images.find_images(folder / name)
        assert [path.relative_to(local / name) for path in paths] == [path.relative_to(folder / name) for path in files]
        assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in files]


def test_a_shard_ends_before_it_is_too_large(folder, tmp_path):
    limit = 3 * 1900  # a picture has some 1,800 bytes
    manifest, _ = write(folder, tmp_path / "out", records=100, size=limit)
    for domain in ("trainA", "trainB"):
        sizes = []
        for shard in manifest.train[domain]:
            held = records._parse((tmp_path / "out" / shard.file).read_bytes(), "")
            sizes.append([len(image) for _, image in held])
        assert all(sum(part) <= limit for part in sizes)
        # None could have taken the first image of the next.
        assert all(sum(part) + after[0] > limit for part, after in itertools.pairwise(sizes))
    manifest, _ = write(folder, tmp_path / "small", size=1)
    assert [shard.records for shard in manifest.train["trainB"]] == [1] * 14  # larger than the limit, alone


def test_each_shard_is_a_random_part(folder, dataset):
    names = [name for part in range(6) for name, _ in records._parse(shard_bytes(dataset.train_a, part), "")]
    assert names != sorted(names)
    own = [int(pathlib.PurePath(os.fsdecode(name)).stem) for name in names]
    assert abs(np.corrcoef(own, range(23))[0, 1]) < 0.5  # two standard deviations of unrelated ranks, 1 / sqrt(22)


def shard_bytes(domain, place):
    return pathlib.Path(domain.folder, domain.shards[place][0].file).read_bytes()


def test_bad_images_are_left_out_and_named(tmp_path):
    made = make_folder(tmp_path / "set", {"trainA": 5, "trainB": 5, "testA": 2})
    (made / "trainA" / "bad.png").write_bytes(b"")
    (made / "trainB" / "inside" / "cut.png").write_bytes((made / "trainB" / "1.png").read_bytes()[:-50])
    (made / "testA" / "text.jpg").write_bytes(b"hello")
    manifest, _ = write(made, tmp_path / "out")
    reasons = dict(manifest.left_out)
    assert reasons.keys() == {"trainA/bad.png", "trainB/inside/cut.png", "testA/text.jpg"}
    assert reasons["trainA/bad.png"] == "empty file (0 bytes)"
    assert reasons["trainB/inside/cut.png"].startswith("damaged (")
    found = images.load_dataset(tmp_path / "out")
    assert dict(found.bad) == reasons
    assert [len(part) for part in (found.train_a, found.train_b, found.test_a, found.test_b)] == [5, 5, 2, 0]


def test_names_that_are_not_text(tmp_path):
    """Of training images they are part of the content; TensorFlow cannot give them to files."""
    made = make_folder(tmp_path / "set", {"trainA": 2, "trainB": 2})

    def odd(folder):
        return pathlib.Path(os.fsdecode(os.fsencode(folder) + b"/\xe4.png"))

    save(odd(made / "trainA"), 9)
    write(made, tmp_path / "out")
    found = images.load_dataset(tmp_path / "out")
    assert sorted(indices(found, 3, 0)) == [0, 1, 9]
    assert sorted(int(images.decode(path)[0, 0, 0]) for path in found.train_a) == [0, 1, 9]
    with pytest.raises(ValueError, match=r"xe4\.png: TensorFlow takes no name that is not text"):
        write(made, odd(tmp_path))
    save(odd(made / "testA"), 9)
    with pytest.raises(ValueError, match=r"xe4\.png: TensorFlow takes no name that is not text"):
        write(made, tmp_path / "other")
    assert not (tmp_path / "other").exists()


# the order


def test_each_epoch_has_each_image_once(dataset):
    for domain, count in ((0, 23), (1, 14)):
        seen = indices(dataset, 4 * count, domain)
        epochs = [tuple(seen[begin : begin + count]) for begin in range(0, len(seen), count)]
        assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
        assert len(set(epochs)) == 4


def test_shards_and_the_images_within_are_permuted(dataset):
    """An epoch is a run of whole shards, in another order each time, and each shard in another order each time."""
    shard_of = {}
    for part in range(6):
        for name, _ in records._parse(shard_bytes(dataset.train_a, part), ""):
            shard_of[int(pathlib.PurePath(os.fsdecode(name)).stem)] = part
    shards, within = set(), collections.defaultdict(set)
    seen = indices(dataset, 6 * 23, 0)
    for begin in range(0, len(seen), 23):
        epoch = seen[begin : begin + 23]
        order = list(dict.fromkeys(shard_of[index] for index in epoch))
        assert [shard_of[index] for index in epoch] == sorted(map(shard_of.get, epoch), key=order.index)
        shards.add(tuple(order))
        for part in order:
            within[part].add(tuple(index for index in epoch if shard_of[index] == part))
    assert len(shards) >= 5  # of 720 orders, 6 draws are rarely alike
    assert all(len(orders) > 2 for orders in within.values())


def test_the_order_depends_on_seed_epoch_and_domain(tmp_path):
    make_folder(tmp_path / "set", {"trainA": 16, "trainB": 16})
    for path in images.find_images(tmp_path / "set" / "trainA"):  # the same shards for both domains
        assert (
            path.read_bytes() == (tmp_path / "set" / "trainB" / path.relative_to(tmp_path / "set/trainA")).read_bytes()
        )
    manifest, _ = write(tmp_path / "set", tmp_path / "out")
    same = records.Records(str(tmp_path / "out"), manifest.train["trainA"])
    both = records.RecordsDataset(same, same, [], [], [])
    rows = []
    for seed in (0, 1):
        for domain in (0, 1):
            seen = indices(both, 32, domain, seed=seed)
            rows += [tuple(seen[:16]), tuple(seen[16:])]
    assert len(set(rows)) == 8
    assert indices(both, 32, 0, seed=0) == [*rows[0], *rows[1]]


def test_the_order_never_changes(dataset):
    """Committed with the first version: a training that goes on must not begin another order."""
    assert indices(dataset, 12, 0) == [14, 9, 13, 3, 11, 6, 12, 2, 15, 5, 18, 22]
    assert indices(dataset, 12, 1) == [0, 12, 9, 4, 2, 3, 1, 5, 11, 8, 13, 6]


@pytest.mark.parametrize("flavor", config.FLAVORS)
def test_images_are_those_of_the_folder(folder, dataset, flavor):
    """The image of number g, augmented as number g: from the folder's file, by the folder's own function."""
    count = 30
    order = indices(dataset, count, 0)
    files = {int(path.stem): path for path in images.find_images(folder / "trainA")}
    actual = np.concatenate([batch[0] for batch in batches(dataset, count, batch_size=1, flavor=flavor)])
    for number, index in enumerate(order):
        expected = pipeline._train_image(
            images.decode(files[index]), tf.constant(number, tf.int64), 0, model(flavor), train()
        )
        np.testing.assert_array_equal(actual[number], expected)


def test_a_set_of_one_shard_and_one_image(tmp_path):
    make_folder(tmp_path / "set", {"trainA": 1, "trainB": 2})
    write(tmp_path / "set", tmp_path / "out")
    found = images.load_dataset(tmp_path / "out")
    assert indices(found, 5, 0) == [0] * 5
    assert sorted(indices(found, 2, 1)) == [0, 1]


# going on, and shares


def test_a_resumed_pipeline_goes_on_bit_for_bit_anywhere(dataset):
    """Wherever a shard or an epoch of either domain begins or ends."""
    straight = batches(dataset, 15)
    for start in range(1, 14):  # of two images each: an epoch of A has 23, one of B 14
        assert_same(straight[start : start + 2], batches(dataset, 2, start))


def test_a_batch_far_out(dataset):
    for start in (10**6, 2**33):
        assert_same(batches(dataset, 2, start), batches(dataset, 2, start))
    epoch = indices(dataset, 23, 0, start=23 * 10**5)
    assert sorted(epoch) == list(range(23))


class Reads:
    """Counts the shards that are read."""

    def __init__(self, monkeypatch):
        self.counts, read = collections.Counter(), records.Records.read

        def counting(images, place, order):
            self.counts[len(images)] += 1
            return read(images, place, order)

        monkeypatch.setattr(records.Records, "read", counting)

    def settle(self, least):
        """The counts, of the domains by their number of images, once they are as large and nothing more is read."""
        former, deadline = None, time.monotonic() + 30
        while former != self.counts or (min(former.values()) < least and time.monotonic() < deadline):
            former = self.counts.copy()
            time.sleep(0.4)
        return former


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """256 and 192 images in shards of 32: more in one than what runs ahead of a slow training."""
    made = make_folder(tmp_path_factory.mktemp("larger") / "set", {"trainA": 256, "trainB": 192})
    write(made, made.parent / "out", records=32)
    return images.load_dataset(made.parent / "out")


@pytest.mark.parametrize("start", [0, 64, 70, 230 + 256 * 10**6])  # 64: where a shard of A begins
def test_a_start_reads_the_shard_it_is_in_and_the_next(larger, monkeypatch, start):
    """Every start leaves 25 images and more of its shards: what is read ahead of the training takes fewer."""
    reads = Reads(monkeypatch)
    iterator = iter(pipeline.train_batches(larger, model(), train(batch_size=1), start))
    for _ in range(2):
        next(iterator)
    assert reads.settle(2) == {256: 2, 192: 2}
    del iterator


def test_as_many_shards_are_read_as_are_needed(larger, monkeypatch):
    reads = Reads(monkeypatch)
    for _ in pipeline.train_batches(larger, model(), train(batch_size=8)).take(32 * 10 // 8):
        pass
    assert all(10 <= count <= 12 for count in reads.settle(10).values())


def test_memory_stays_flat(tmp_path):
    """100 MB are read, in shards of 2 MB: what is kept is far less."""
    filler = b"x" * 2**18
    chunk = len(filler).to_bytes(4, "big") + b"fiLr" + filler
    chunk += zlib.crc32(b"fiLr" + filler).to_bytes(4, "big")
    for name in ("trainA", "trainB"):
        for index in range(200):
            path = tmp_path / "set" / name / f"{index}.png"
            save(path, index)
            content = path.read_bytes()
            path.write_bytes(content[:33] + chunk + content[33:])  # behind the header: pixels that cost nothing
    write(tmp_path / "set", tmp_path / "out", records=8)
    code = """
import resource, sys
from ugatit_tf import config
from ugatit_tf.data import images, pipeline
dataset = images.load_dataset(sys.argv[1])
batches = iter(pipeline.train_batches(dataset, config.ModelConfig(img_size=24, n_dis=4), config.TrainConfig()))
for number in range(200):
    next(batches)
    if number in (40, 199):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
del batches
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after - before < 30  # MB; if shards were kept, 80


@pytest.mark.parametrize("kind", ["files", "records"])
@pytest.mark.parametrize(("start", "count"), [(0, 2), (5, 3), (5, 6)])
def test_shares_make_up_the_whole(folder, dataset, kind, count, start):
    found = images.load_dataset(folder) if kind == "files" else dataset
    whole = batches(found, 6, start, batch_size=6)
    parts = [batches(found, 6, start, (index, count), batch_size=6) for index in range(count)]
    assert parts[0][0][0].shape[0] == 6 // count
    joined = [tuple(np.concatenate(rows) for rows in zip(*same, strict=True)) for same in zip(*parts, strict=True)]
    assert_same(whole, joined)


@pytest.mark.parametrize("kind", ["files", "records"])
def test_images_of_other_workers_are_not_decoded(folder, dataset, kind, monkeypatch):
    found = images.load_dataset(folder) if kind == "files" else dataset
    seen, decode = [], images.decode

    def count(*arguments):
        seen.append(arguments)
        return decode(*arguments)

    def decoded(share):
        seen.clear()
        for _ in pipeline.train_batches(found, model(), train(batch_size=8), share=share).take(20):
            pass
        return len(seen)

    monkeypatch.setattr(images, "decode", count)
    assert decoded((0, 1)) >= 2 * 20 * 8
    assert decoded((1, 4)) < 2 * 20 * 8 / 2  # a quarter, and what runs ahead


@pytest.mark.parametrize("share", [(0, 3), (2, 2), (-1, 2), (0, 0), (0, 4)])
def test_shares_that_there_are_not(dataset, share):
    with pytest.raises(ValueError, match="a count that divides batch_size"):
        pipeline.train_batches(dataset, model(), train(), share=share)


# interruptions


class StopError(Exception):
    """As Ctrl-C, or a power cut."""


def stopping(monkeypatch, function, after):
    """Let a function of `records` raise in its call of this number, from 0."""
    original, calls = getattr(records, function), []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) > after:
            raise StopError
        return original(*arguments)

    monkeypatch.setattr(records, function, stop)


@pytest.mark.parametrize("function", ["_write_shard", "_put", "_rename"])
def test_interrupted_anywhere_it_ends_with_the_same_bytes(tmp_path, monkeypatch, function):
    """Before each shard; before each file is written; and when it is written but has not got its name."""
    made = make_folder(tmp_path / "set", {"trainA": 9, "trainB": 5, "testA": 2})
    write(made, tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    for after in range(30):
        out = tmp_path / f"{function}{after}"
        with monkeypatch.context() as patch:
            stopping(patch, function, after)
            try:
                write(made, out)
            except StopError:
                assert not (out / "manifest.json").exists()
            else:
                break
        if out.exists() and (out / "manifest.partial.json").exists():
            with pytest.raises(FileNotFoundError, match=r"is not finished: give the `ugatit prepare"):
                images.load_dataset(out)
        assert write(made, out)[1]
        assert contents(out) == expected
    assert after == {"_write_shard": 5, "_put": 14, "_rename": 15}[function]


@pytest.mark.parametrize("number", [0, 3, 6, 13])
def test_interrupted_inside_a_shard(tmp_path, monkeypatch, number):
    made = make_folder(tmp_path / "set", {"trainA": 9, "trainB": 5})
    write(made, tmp_path / "whole")
    original, calls = records._Image.content, []

    def stop(image):
        calls.append(image)
        if len(calls) > number:
            raise StopError
        return original(image)

    with monkeypatch.context() as patch:
        patch.setattr(records._Image, "content", stop)
        with pytest.raises(StopError):
            write(made, tmp_path / "out")
    write(made, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_is_finished_is_not_written_again(tmp_path, monkeypatch):
    made = make_folder(tmp_path / "set", {"trainA": 9, "trainB": 5})
    with monkeypatch.context() as patch:
        stopping(patch, "_write_shard", 2)
        with pytest.raises(StopError):
            write(made, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tfrecord")}
    assert len(times) == 2
    seen = []
    write(made, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert seen == [(4, 14), (8, 14), (9, 14), (13, 14), (14, 14)]


def test_a_finished_file_that_was_cut_is_written_again(tmp_path, monkeypatch):
    made = make_folder(tmp_path / "set", {"trainA": 9, "trainB": 5, "testA": 2})
    write(made, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stopping(patch, "_write_shard", 3)
        with pytest.raises(StopError):
            write(made, tmp_path / "out")
    os.truncate(tmp_path / "out" / "trainA-00000.tfrecord", 100)
    (tmp_path / "out" / "trainA-00001.tfrecord").unlink()
    os.truncate(tmp_path / "out" / "testA" / "1.png", 100)
    write(made, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", ["added", "removed", "edited", "touched", "renamed", "test added"])
@pytest.mark.parametrize("finished", [False, True])
def test_other_images_make_no_mixture(tmp_path, monkeypatch, change, finished):
    made, out = make_folder(tmp_path / "set", {"trainA": 9, "trainB": 5}), tmp_path / "out"
    with monkeypatch.context() as patch:
        if not finished:
            stopping(patch, "_write_shard", 2)
        try:
            write(made, out)
        except StopError:
            assert not finished
    before = contents(out)
    path = made / "trainA" / "1.png"
    if change == "added":
        save(made / "trainB" / "more.png", 9)
    elif change == "removed":
        path.unlink()
    elif change == "edited":
        save(path, 200)
    elif change == "touched":  # as good as edited: of the same size, it may be
        os.utime(path, ns=(1, 1))
    elif change == "renamed":
        path.rename(path.with_name("other.png"))
    else:
        save(made / "testA" / "more.png", 9)
    state = "is complete, but was made" if finished else "is not finished, and was begun"
    with pytest.raises(FileExistsError, match=rf"{out} {state} with other images .* Give another --out, or remove"):
        write(made, out)
    assert contents(out) == before


def test_a_complete_set_is_left_as_it_is(tmp_path):
    made = make_folder(tmp_path / "set", {"trainA": 9, "trainB": 5})
    first, written = write(made, tmp_path / "out")
    assert written
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert write(made, tmp_path / "out") == (first, False)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_an_image_that_changes_meanwhile(tmp_path, monkeypatch):
    made = make_folder(tmp_path / "set", {"trainA": 9, "trainB": 5})
    original = records._divide

    def change(*arguments):
        (made / "trainA" / "1.png").write_bytes(b"other")
        return original(*arguments)

    monkeypatch.setattr(records, "_divide", change)
    with pytest.raises(OSError, match=r"1\.png has changed since it was checked: it has 5 bytes, not "):
        write(made, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


# remote


def test_remote_sets_have_the_same_bytes_and_batches(folder, local, dataset, tmp_path):
    out = remote(tmp_path)
    manifest, written = write(folder, f"{out}/")
    assert written
    assert contents(out) == contents(local)
    assert write(folder, out) == (manifest, False)
    place = config.DataConfig("noise", out.rpartition("/")[0])
    found = images.load_dataset(place.path)
    assert_same(batches(found, 4, 3), batches(dataset, 4, 3))
    assert found.training_images() == dataset.training_images()
    assert found.test_a == [f"{out}/testA/1.png", f"{out}/testA/2.png", f"{out}/testA/inside/0.png"]
    for path, other in zip(found.test_a, dataset.test_a, strict=True):
        np.testing.assert_array_equal(images.decode(path), images.decode(other))
    for (batch, path), (other, _) in zip(
        pipeline.test_batches(found.test_a, SIZE), pipeline.test_batches(dataset.test_a, SIZE), strict=True
    ):
        np.testing.assert_array_equal(batch, other)
        assert path.numpy()[0].decode() in found.test_a


def test_remote_interruption(tmp_path, monkeypatch):
    made, out = make_folder(tmp_path / "set", {"trainA": 9, "trainB": 5}), remote(tmp_path)
    write(made, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stopping(patch, "_rename", 3)
        with pytest.raises(StopError):
            write(made, out)
    with pytest.raises(FileNotFoundError, match="is not finished"):
        images.load_dataset(out)
    write(made, out)
    assert contents(out) == contents(tmp_path / "whole")


def test_drafts_of_a_process_that_ended_go(tmp_path):
    """At once where that can be seen, else after a day; among the test images as well."""
    made, out = make_folder(tmp_path / "set", {"trainA": 3, "trainB": 2, "testA": 1}), tmp_path / "out"
    here = Process.here()
    dead, unseen = dataclasses.replace(here, started="long ago"), dataclasses.replace(here, machine="another")
    write(made, out)
    names = [f".record.{owner.tag}-0.tmp" for owner in (here, dead, unseen)] + [f".{'0' * 32}.tmp"]
    for name in names:
        (out / name).write_bytes(b"half")
    (out / "testA" / names[1]).write_bytes(b"half")
    os.utime(out / names[3], (0, 0))
    write(made, out)
    assert {path.name for path in out.rglob(".*")} == {names[0], names[2]}


# what else a training wants of a dataset


def test_single_images(folder, dataset):
    """Sample sheets and exports take the first ones; each is a file of the folder, and they are all different."""
    files = {path.read_bytes() for path in images.find_images(folder / "trainA")}
    addresses = dataset.train_a[:5]
    found = [images.open_image(address).read() for address in addresses]
    assert len(set(found)) == 5
    assert set(found) <= files
    assert {images.open_image(address).read() for address in dataset.train_a} == files
    assert dataset.train_a[-1] == dataset.train_a[22]
    assert dataset.train_a[20:99] == [dataset.train_a[index] for index in (20, 21, 22)]
    with pytest.raises(IndexError):
        dataset.train_a[23]
    (batch, _), *_ = pipeline.test_batches(addresses, SIZE)
    np.testing.assert_array_equal(batch[0], pipeline.to_float(pipeline.resize(images.decode(addresses[0]), SIZE)))


def test_one_shard_is_read_once_for_its_images(dataset, monkeypatch):
    read, seen = records._read, []

    def slow(path):
        seen.append(path)
        time.sleep(0.1)  # long enough for the other threads to want the same
        return read(path)

    monkeypatch.setattr(records, "_read", slow)
    records._read_shard.cache_clear()
    assert len(list(pipeline.test_batches(dataset.train_a[:8], SIZE))) == 8
    assert len(seen) == 2


def test_what_is_held_out_is_not_trained_on(tmp_path):
    made = make_folder(tmp_path / "set", {"trainA": 45, "trainB": 70})
    write(made, tmp_path / "out")
    whole = images.load_dataset(tmp_path / "out")
    rest, aside = whole.hold_out()
    assert (len(rest.train_a), len(rest.train_b), len(aside.test_a), len(aside.test_b)) == (41, 63, 4, 7)
    assert (aside.train_a, aside.train_b) == ([], [])
    for domain, count, held in ((0, 41, aside.test_a), (1, 63, aside.test_b)):
        shown = {int(images.decode(path)[0, 0, 0]) for path in held}
        assert len(shown) == len(held)
        trained = indices(rest, 2 * count, domain)
        assert sorted(trained) == sorted(
            2 * [index for index in range(45 if domain == 0 else 70) if index not in shown]
        )
    # B's first shard gives one image, behind three that are held out; what is resumed agrees.
    assert list(rest.train_b.counts[:2]) == [1, 4]
    assert_same(batches(rest, 40)[30:32], batches(rest, 2, 30))
    assert whole.hold_out()[1].test_a == aside.test_a
    assert len({whole.training_images(), rest.training_images()}) == 2
    again, further = rest.hold_out()  # of what is left, which is none of the first
    for name in ("test_a", "test_b"):
        assert not set(getattr(further, name)) & set(getattr(aside, name))
    assert len(again.train_a) == 37


def test_too_few_to_hold_out(dataset):
    with pytest.raises(ValueError, match="4 or more of each domain; train_a has 23 images"):
        dataset.hold_out()


def test_training_images_are_told_apart_by_content(tmp_path):
    lines = []
    for seed, name in enumerate(("one", "two", "one again")):
        made = make_folder(tmp_path / name, {"trainA": 3, "trainB": 3})
        if seed == 1:
            save(made / "trainA" / "1.png", 77)
        write(made, tmp_path / f"{name} out")
        lines.append(images.load_dataset(tmp_path / f"{name} out").training_images())
    assert lines[0] == lines[2] != lines[1]
    assert lines[0].startswith("3 trainA, 3 trainB, ")


def test_no_image_is_read_to_begin_with(local, monkeypatch):
    """Of the files of a set, the manifest alone; of shards the sizes, and only where they are needed."""
    read, sizes = [], []
    original, size = records._read, records._size
    monkeypatch.setattr(records, "_read", lambda path: read.append(path) or original(path))
    monkeypatch.setattr(records, "_size", lambda path: sizes.append(path) or size(path))
    images.load_dataset(local)
    assert (read, len(sizes)) == ([f"{local}/manifest.json"], 10)
    found = images.load_dataset(local, need=("testA", "testB"))
    assert (len(found.train_a), len(found.train_b), len(found.test_a), len(sizes)) == (0, 0, 3, 10)
    assert len(images.load_dataset(local, need=("trainB",)).train_b) == 14
    assert len(sizes) == 14


# errors


@pytest.fixture
def copy(folder, tmp_path):
    write(folder, tmp_path / "out")
    return tmp_path / "out"


def test_a_missing_or_cut_shard_is_named_at_the_start(copy):
    (copy / "trainB-00001.tfrecord").unlink()
    with pytest.raises(OSError, match=r"out/trainB-00001\.tfrecord is missing: not what manifest\.json says\. Copy"):
        images.load_dataset(copy)
    size = (copy / "trainA-00000.tfrecord").stat().st_size
    os.truncate(copy / "trainA-00000.tfrecord", 5000)
    with pytest.raises(OSError, match=rf"trainA-00000\.tfrecord has 5,000 bytes, not {size:,} \(and 1 more\)"):
        images.load_dataset(copy)
    assert images.load_dataset(copy, need=("testA",)).test_a


def test_a_damaged_shard_is_named_when_it_is_read(copy):
    found, path = images.load_dataset(copy), copy / "trainB-00002.tfrecord"
    content = bytearray(path.read_bytes())
    content[500] ^= 1  # in the middle of a picture
    path.write_bytes(content)
    expected = r"^An image cannot be read any more: \S*trainB-00002\.tfrecord: damaged \(.*SHA-256.*\)\. Copy the shard"
    with pytest.raises(OSError, match=expected):
        for _ in pipeline.reading(pipeline.train_batches(found, model(), train()).take(10)):
            pass
    path.unlink()
    with pytest.raises(OSError, match=r"any more: \S*trainB-00002\.tfrecord: cannot be read \(.*No such file"):
        for _ in pipeline.reading(pipeline.train_batches(found, model(), train()).take(10)):
            pass


def test_an_image_that_cannot_be_decoded_is_named(folder, tmp_path, monkeypatch):
    """A Pillow that lacks a format, for example: the shard is whole."""
    monkeypatch.setattr(
        records,
        "load_dataset",
        lambda path, progress: images.Dataset(*([next(path.rglob(f"{name}/1.png"))] for name in images.FOLDERS), []),
    )
    made = make_folder(tmp_path / "set", {"trainA": 2, "trainB": 2, "testA": 2, "testB": 2})
    (made / "trainB" / "1.png").write_bytes(b"no image")
    write(made, tmp_path / "out")
    found = images.load_dataset(tmp_path / "out")
    with pytest.raises(OSError, match=r"any more: \S*trainB-00000\.tfrecord, 1\.png: not a JPEG"):
        next(pipeline.reading(pipeline.train_batches(found, model(), train())))


def test_a_damaged_shard_is_named_when_single_images_are_read(copy):
    path = copy / "trainA-00000.tfrecord"
    os.truncate(path, 5000)
    records._read_shard.cache_clear()
    with pytest.raises(ValueError, match=r"trainA-00000\.tfrecord: damaged at byte [\d,]+ \(cut off\)"):
        images.decode(f"{path}#1")
    with pytest.raises(ValueError, match=r"trainA-00001\.tfrecord#9: cannot be read \(has 4 records, no number 9\)"):
        images.decode(f"{copy}/trainA-00001.tfrecord#9")
    with pytest.raises(ValueError, match=r"trainA-00099\.tfrecord#0: cannot be read \(.*No such file"):
        images.decode(f"{copy}/trainA-00099.tfrecord#0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-20], "is no manifest of .* or damaged .JSONDecodeError"),
        (lambda text: "[]", "is no manifest"),
        (lambda text: "{}", "is no manifest of .* .KeyError: 'ugatit_tf_records'"),
        (lambda text: text.replace('"trainB"', '"trainC"'), "is no manifest of .* .KeyError: 'trainB'"),
        (lambda text: text.replace('"records": 4', '"records": 0'), "is no manifest .* not a shard"),
        (lambda text: text.replace('"trainA-00000.tfrecord"', '"../x.tfrecord"'), "is no manifest .* not a shard"),
        (lambda text: text.replace('"sha256"', '"md5"'), "is no manifest"),
        (lambda text: text.replace('"ugatit_tf_records": 1', '"ugatit_tf_records": 2'), "has version 2; .* version 1"),
    ],
)
def test_a_damaged_manifest_or_another_version(copy, change, message):
    path = copy / "manifest.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=rf"^{path} {message}"):
        images.load_dataset(copy)


def test_no_set_at_a_url(tmp_path):
    out = remote(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=rf"{out}/manifest\.json is not there\. `ugatit prepare .* --out {out}`"
    ):
        images.load_dataset(out)
    with pytest.raises(OSError, match="File system scheme 'nowhere' not implemented"):
        images.load_dataset("nowhere://bucket/set")


def test_no_test_images(tmp_path):
    write(make_folder(tmp_path / "set", {"trainA": 2, "trainB": 2}), tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"out has no images of testA, testB: the folder .* had none"):
        images.load_dataset(tmp_path / "out", need=("testA", "testB"))


def test_a_manifest_of_another_program_among_image_folders(tmp_path):
    made = make_folder(tmp_path / "set", {"trainA": 2, "trainB": 2})
    (made / "manifest.json").write_text("{}")
    assert len(images.load_dataset(made).train_a) == 2


def refused(folder, out):
    with pytest.raises((ValueError, OSError)) as caught:
        write(folder, out)
    return str(caught.value)


def test_places_that_cannot_be_written(folder, local, tmp_path):
    assert "lies in" in refused(folder, folder / "records")
    assert "lies in" in refused(folder, folder)
    assert not (folder / "records").exists()
    (tmp_path / "file").touch()
    assert "file is a file. Give a folder" in refused(folder, tmp_path / "file")
    assert "is not a directory" in refused(folder, tmp_path / "file" / "out")
    (tmp_path / "other" / "trainA").mkdir(parents=True)
    assert "holds 'trainA', and no records of this program. Give an empty folder" in refused(folder, tmp_path / "other")
    assert "'nowhere' not implemented" in refused(folder, "nowhere://bucket/set")
    assert "holds records already" in refused(local, tmp_path / "out")
    (tmp_path / "out").mkdir()
    assert write(folder, tmp_path / "out")[1]  # an empty folder is none of these


def test_a_folder_that_is_no_dataset(tmp_path):
    make_folder(tmp_path / "set", {"trainA": 2})
    assert "trainB is missing" in refused(tmp_path / "set", tmp_path / "out")
    assert not (tmp_path / "out").exists()
