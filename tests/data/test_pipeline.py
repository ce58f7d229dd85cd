import collections
import os
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageCms

from ugatit_tf import config
from ugatit_tf.data import images, pipeline

SIZE = 24  # smallest img_size of n_dis 4


def model(flavor="tf1", img_size=SIZE):
    return config.ModelConfig(flavor=flavor, img_size=img_size, n_dis=4)


def train(**values):
    return config.TrainConfig(**{"batch_size": 2, "seed": 5} | values)


def plain(**values):
    """Batches without augmentation: what is in them is decided by the order alone."""
    return train(augment_flag=False, **values)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """5 images in A and 7 in B, each of one colour: A is red, B is green, and the level tells the index."""
    folder = tmp_path_factory.mktemp("coloured")
    for name, channel, count in (("trainA", 0, 5), ("trainB", 1, 7), ("testA", 0, 3)):
        for index in range(count):
            pixels = np.zeros((10 + index, 40, 3))
            pixels[..., channel] = 10 * (index + 1)
            save(folder / name / f"{index}.png", pixels)
    return images.load_dataset(folder)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    rng = np.random.default_rng(0)
    for name in ("trainA", "trainB"):
        for index in range(3):
            save(folder / name / f"{index}.png", rng.integers(0, 256, (30 + index, 37, 3)))
    return images.load_dataset(folder)


def take(batches, count):
    return [tuple(part.numpy() for part in batch) for batch in batches.take(count)]


def indices(batches, count, domain):
    """The indices of the files in the first `count` batches, read off the colours."""
    levels = [image[0, 0, domain] for batch in batches.take(count) for image in batch[domain].numpy()]
    return [round(float((level + 1) * 127.5)) // 10 - 1 for level in levels]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


# resize


@pytest.mark.parametrize("level", [0, 1, 100, 254, 255])
@pytest.mark.parametrize(("height", "width"), [(7, 50), (24, 24), (101, 33)])
def test_resizing_a_constant_is_constant(level, height, width):
    result = pipeline.resize(np.full((height, width, 3), level, np.uint8), SIZE)
    assert result.dtype == tf.float32
    assert result.shape == (SIZE, SIZE, 3)
    np.testing.assert_allclose(result, level, rtol=1e-6)  # rounding of weights that add up to 1
    assert result.numpy().min() >= 0
    assert result.numpy().max() <= 255


@pytest.mark.parametrize("factor", [4, 5])
def test_shrinking_is_antialiased(factor):
    """A checkerboard of single pixels becomes grey.

    A triangle of radius 5 centred on a pixel weighs pixel k by 1 - |k| / 5: the even ones 2.6 and the odd ones 2.4 of
    5, a response of 0.04 in each direction. Of radius 4 it is centred between pixels and weighs both alike. Sampling
    without a filter gives black and white at factor 5. At the border the filter is cut off.
    """
    board = np.indices((24 * factor, 24 * factor)).sum(0) % 2 * 255
    result = pipeline.resize(np.stack([board] * 3, -1).astype(np.uint8), 24).numpy()
    sign = 2 * (np.indices((24, 24)).sum(0) % 2) - 1
    expected = 127.5 * (1 + sign * (0.04**2 if factor == 5 else 0))
    np.testing.assert_allclose(result[2:-2, 2:-2], np.stack([expected] * 3, -1)[2:-2, 2:-2], atol=1e-3)


def test_enlarging_is_bilinear_between_pixel_centres():
    row = np.array([[[0.0] * 3, [100.0] * 3]])
    result = pipeline.resize(np.repeat(row, 2, 0), 4).numpy()
    # Output centres lie at -0.25, 0.25, 0.75, 1.25 of the input's.
    np.testing.assert_allclose(result[0, :, 0], [0, 25, 75, 100], atol=1e-4)


def test_an_image_of_that_size_is_kept():
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    for image in (pixels, pixels.astype(np.float32)):
        result = pipeline.resize(image, SIZE)
        assert result.dtype == tf.float32
        np.testing.assert_array_equal(result, pixels)


def test_to_float_has_the_networks_range():
    np.testing.assert_array_equal(pipeline.to_float(np.array([0, 127.5, 255])), [-1, 0, 1])
    assert pipeline.to_float(np.array([3], np.uint8)).dtype == tf.float32


# the order


def test_index_shuffle_permutes():
    """What train_batches builds on, checked because it is an experimental function."""
    for count in (1, 2, 3, 5, 7, 100):
        orders = []
        for epoch in range(4):
            index = tf.range(count, dtype=tf.int64)
            order = tf.random.experimental.index_shuffle(index, [7, epoch], tf.constant(count - 1, tf.int64)).numpy()
            assert sorted(order) == list(range(count))
            orders.append(tuple(order))
        assert count < 7 or len(set(orders)) == 4


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_each_epoch_of_a_domain_visits_each_file_once(coloured, batch_size):
    for domain, count in ((0, 5), (1, 7)):
        batches = pipeline.train_batches(coloured, model(), plain(batch_size=batch_size))
        seen = indices(batches, 4 * count, domain)
        epochs = [tuple(seen[begin : begin + count]) for begin in range(0, len(seen), count)]
        assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
        assert len(set(epochs)) > 1


def test_the_order_depends_on_seed_and_domain(tmp_path):
    rows = []
    for name in ("trainA", "trainB"):
        for index in range(7):
            pixels = np.full((4, 4, 3), 10 * (index + 1))
            save(tmp_path / name / f"{index}.png", pixels)
    same_size = images.load_dataset(tmp_path)
    for seed in (0, 1):
        for domain in (0, 1):
            batches = pipeline.train_batches(same_size, model(), plain(batch_size=7, seed=seed))
            rows.append(tuple(indices(batches, 1, domain)))
    assert len(set(rows)) == 4


def test_one_image_each_is_enough(tmp_path):
    for name in ("trainA", "trainB"):
        save(tmp_path / name / "only.png", np.full((4, 4, 3), 10))
    batches = pipeline.train_batches(images.load_dataset(tmp_path), model(), plain(batch_size=3))
    assert indices(batches, 2, 0) == [0] * 6


# purity


@pytest.mark.parametrize("flavor", config.FLAVORS)
@pytest.mark.parametrize("start", [1, 4, 7])
def test_a_resumed_pipeline_goes_on_bit_for_bit(noisy, flavor, start):
    straight = take(pipeline.train_batches(noisy, model(flavor), train()), 9)
    resumed = take(pipeline.train_batches(noisy, model(flavor), train(), start=start), 9 - start)
    assert_same(straight[start:], resumed)
    assert not np.array_equal(straight[0][0], straight[start][0])


def test_a_batch_far_out(noisy):
    """After a million steps and more, numbers beyond 32 bits included."""
    for start in (10**6, 2**33):
        (batch,) = take(pipeline.train_batches(noisy, model(), train(), start=start), 1)
        (again,) = take(pipeline.train_batches(noisy, model(), train(), start=start), 1)
        assert_same([batch], [again])


def test_batches_do_not_depend_on_the_parallelism(noisy):
    batches = pipeline.train_batches(noisy, model(), train())
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    options.deterministic = True
    assert_same(take(batches, 6), take(batches.with_options(options), 6))


def test_a_slow_file_does_not_lose_its_place(coloured, monkeypatch):
    decode = images.decode

    def slow(path):
        time.sleep(0.03 if path.endswith("0.png") else 0.001)
        return decode(path)

    files = coloured.train_b * 10  # many, because tf.data begins with little parallelism
    expected = take(pipeline.train_batches(coloured, model(), train()), 40)
    monkeypatch.setattr(images, "decode", slow)
    options = tf.data.Options()
    options.experimental_optimization.map_and_batch_fusion = False  # the fused op keeps the order of itself
    assert_same(expected, take(pipeline.train_batches(coloured, model(), train()).with_options(options), 40))
    batches = pipeline.test_batches(files, SIZE).with_options(options)
    assert [os.fsdecode(path.numpy()[0]) for _, path in batches] == [str(path) for path in files]


def test_batches_do_not_depend_on_the_batch_size(noisy):
    """Image g is the same in batch g of one and in batch g // 2 of two."""
    ones = take(pipeline.train_batches(noisy, model(), train(batch_size=1)), 6)
    twos = take(pipeline.train_batches(noisy, model(), train(batch_size=2)), 3)
    for domain in (0, 1):
        np.testing.assert_array_equal(
            np.concatenate([b[domain] for b in ones]), np.concatenate([b[domain] for b in twos])
        )


def test_global_seed_and_other_draws_play_no_part(noisy):
    first = take(pipeline.train_batches(noisy, model(), train()), 2)
    tf.random.set_seed(123)
    tf.random.uniform([3])
    assert_same(first, take(pipeline.train_batches(noisy, model(), train()), 2))


# shapes, values, augmentation


@pytest.mark.parametrize("flavor", config.FLAVORS)
@pytest.mark.parametrize("augment", [False, True])
def test_shapes_and_range(noisy, flavor, augment):
    batches = pipeline.train_batches(noisy, model(flavor), train(batch_size=3, augment_flag=augment))
    spec = tf.TensorSpec((3, SIZE, SIZE, 3), tf.float32)
    assert batches.element_spec == (spec, spec)
    for batch in take(batches, 2):
        for part in batch:
            assert -1 <= part.min() < -0.3
            assert 0.3 < part.max() <= 1


def test_without_augmentation_images_are_only_resized(noisy):
    expected = [pipeline.to_float(pipeline.resize(images.decode(path), SIZE)).numpy() for path in noisy.train_a]
    for batch in take(pipeline.train_batches(noisy, model(), plain()), 3):
        for image in batch[0]:
            assert any(np.array_equal(image, other) for other in expected)


def enlarged(path, flavor, size):
    """The enlarged picture that crops are taken from."""
    image = images.decode(path)
    if flavor == "tf1":
        image = pipeline.resize(image, size)
    return pipeline.resize(image, size + (15 if flavor == "tf1" and size != 256 else 30))


def crops(image, big):
    """Every (flip, top, left) whose crop of `big` is `image`."""
    size, extra = image.shape[0], big.shape[0] - image.shape[0]
    big = pipeline.to_float(big).numpy()
    found = []
    for flip, candidate in ((False, image), (True, image[:, ::-1])):
        for top in range(extra + 1):
            for left in range(extra + 1):
                # The first pixel first, because there are many places.
                if np.array_equal(big[top, left], candidate[0, 0]) and np.array_equal(
                    big[top : top + size, left : left + size], candidate
                ):
                    found.append((flip, top, left))
    return found


@pytest.mark.parametrize(("flavor", "size", "extra"), [("tf1", SIZE, 15), ("pytorch", SIZE, 30), ("tf1", 256, 30)])
def test_images_are_crops_of_the_enlarged_picture(noisy, flavor, size, extra):
    one = images.Dataset(noisy.train_a[:1], noisy.train_b[:1], [], [], [])
    count = 4 if size == 256 else 120
    batches = take(pipeline.train_batches(one, model(flavor, size), train(batch_size=4)), count // 4)
    for domain, path in enumerate((noisy.train_a[0], noisy.train_b[0])):
        big = enlarged(path, flavor, size)
        assert big.shape[0] == size + extra
        places = [crops(image, big) for batch in batches for image in batch[domain]]
        assert all(len(place) == 1 for place in places)
        if count < 100:
            continue
        flips, tops, lefts = zip(*(place[0] for place in places), strict=True)
        # Binomial(120, 1/2) has a standard deviation of 5.5: within 4 of them. The seed is fixed, this cannot waver.
        assert abs(sum(flips) - 60) < 22
        for offsets in (tops, lefts):
            assert len(set(offsets)) > extra / 2  # no crop is cached
            assert min(offsets) <= 2
            assert max(offsets) >= extra - 2
        assert abs(np.corrcoef(np.array([flips, tops, lefts], float)) - np.eye(3)).max() < 0.4  # 4 / sqrt(120)


def test_the_two_domains_are_augmented_independently(noisy):
    one = images.Dataset(noisy.train_a[:1], noisy.train_a[:1], [], [], [])
    batches = take(pipeline.train_batches(one, model(), train()), 4)
    assert not any(np.array_equal(a, b) for a, b in batches)


# the test images


def test_test_images_come_once_and_in_order(coloured):
    batches = list(pipeline.test_batches(coloured.test_a, SIZE))
    assert [os.fsdecode(path.numpy()[0]) for _, path in batches] == [str(path) for path in coloured.test_a]
    for (image, _), path in zip(batches, coloured.test_a, strict=True):
        np.testing.assert_array_equal(image[0], pipeline.to_float(pipeline.resize(images.decode(path), SIZE)))


def test_the_last_test_batch_may_be_smaller(coloured):
    shapes = [(part.shape, path.shape) for part, path in pipeline.test_batches(coloured.test_a, SIZE, batch_size=2)]
    assert shapes == [((2, SIZE, SIZE, 3), (2,)), ((1, SIZE, SIZE, 3), (1,))]
    assert list(pipeline.test_batches([], SIZE)) == []


def test_names_that_are_not_text(tmp_path):
    path = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe4.png"))
    save(path, np.full((4, 4, 3), 10))
    ((_, name),) = pipeline.test_batches([path], SIZE)
    assert pathlib.Path(os.fsdecode(name.numpy()[0])) == path
    path.write_bytes(b"")
    with pytest.raises(tf.errors.OpError, match=r"udce4\.png: empty file"):
        list(pipeline.test_batches([path], SIZE))


# errors


def test_a_file_that_goes_bad_is_named(tmp_path):
    for name in ("trainA", "trainB"):
        save(tmp_path / name / "fine.png", np.full((4, 4, 3), 10))
    found = images.load_dataset(tmp_path)
    (tmp_path / "trainB" / "fine.png").write_bytes(b"overwritten")
    with pytest.raises(tf.errors.OpError, match=r"trainB/fine\.png: not a JPEG"):
        take(pipeline.train_batches(found, model(), train()), 1)
    (tmp_path / "trainB" / "fine.png").unlink()
    with pytest.raises(tf.errors.OpError, match=r"trainB/fine\.png: cannot be read \(No such file"):
        take(pipeline.train_batches(found, model(), train()), 1)
    with pytest.raises(
        OSError, match=r"^An image cannot be .* any more: \S*trainB/fine\.png: cannot be .*\(No such.*$"
    ):
        next(pipeline.reading(pipeline.train_batches(found, model(), train())))


def test_reading_gives_the_same_batches(noisy):
    batches = pipeline.train_batches(noisy, model(), train()).take(2)
    for actual, expected in zip(pipeline.reading(batches), batches, strict=True):
        np.testing.assert_array_equal(actual[0], expected[0])


def test_wrong_arguments_are_refused(noisy):
    with pytest.raises(ValueError, match="start must be at least 0; received -1"):
        pipeline.train_batches(noisy, model(), train(), start=-1)
    with pytest.raises(ValueError, match="train_b must have at least one image"):
        pipeline.train_batches(images.Dataset(noisy.train_a, [], [], [], []), model(), train())


def test_files_are_decoded_anew_in_every_epoch(noisy, monkeypatch):
    """Nothing is cached: memory does not grow with the dataset."""
    seen, decode = collections.Counter(), images.decode

    def count(path):
        seen[path] += 1
        return decode(path)

    monkeypatch.setattr(images, "decode", count)
    take(pipeline.train_batches(noisy, model(), train(batch_size=3)), 2)
    assert len(seen) == 6
    assert min(seen.values()) >= 2


@pytest.mark.parametrize("fit", ["squeeze", "crop", "pad"])
def test_images_that_are_not_square(tmp_path, fit):
    """Training, test and records alike; against numpy."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, 3 * SIZE, 3), np.uint8)
    for name in images.FOLDERS:
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "x.png")
    dataset = images.load_dataset(tmp_path)
    square = {
        "squeeze": pixels,
        "crop": pixels[:, SIZE : 2 * SIZE],
        "pad": np.pad(pixels, ((SIZE, SIZE), (0, 0), (0, 0)), "edge"),
    }[fit]
    expected = pipeline.to_float(pipeline.resize(square, SIZE)).numpy()
    ((tested, _),) = pipeline.test_batches(dataset.test_a, SIZE, fit=fit)
    np.testing.assert_array_equal(tested[0], expected)
    model, train = config.ModelConfig(img_size=SIZE, n_dis=4), config.TrainConfig(augment_flag=False)
    trained, _ = next(iter(pipeline.train_batches(dataset, model, train, fit=fit)))
    np.testing.assert_array_equal(trained[0], expected)


def test_training_sees_srgb(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    Image.new("RGB", (SIZE, SIZE), (200, 120, 40)).save(tmp_path / "x.png", icc_profile=profile)
    ((batch, _),) = pipeline.test_batches([tmp_path / "x.png"], SIZE)
    np.testing.assert_allclose((batch[0, 0, 0] + 1) * 127.5, [40, 120, 200], atol=2)
