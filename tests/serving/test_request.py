"""`ugatit request`, run as the command line runs it, against a double of TensorFlow Serving."""

import os
import signal
import socket

import fake_server
import numpy as np
import pytest
from fake_server import answer
from PIL import Image

from ugatit_tf.cli import progress
from ugatit_tf.cli import request as command
from ugatit_tf.cli.main import main


@pytest.fixture
def photos(tmp_path):
    """A folder with three photos, one of them in a folder inside; each has one colour."""
    folder = tmp_path / "photos"
    for level, name in ((10, "a.png"), (20, "b.jpg"), (30, "inside/c.bmp")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (level,) * 3).save(folder / name)
    return folder


def levels(folder):
    """The results by name: each has one colour."""
    return {
        path.relative_to(folder).as_posix(): int(np.asarray(Image.open(path)).max())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name[0] != "."
    }


def request(server, out, *words):
    address = f"grpc://{server.grpc}" if hasattr(server, "grpc") else f"http://{server.rest}"
    return main(["request", *map(str, words), "--server", address, "--out", str(out)])


@pytest.fixture(params=["server", "grpc_server"])
def either(request):
    return request.getfixturevalue(request.param)


def test_a_folder(either, photos, tmp_path, capfd):
    assert request(either, tmp_path / "out", photos) == 0
    assert levels(tmp_path / "out") == {"a.png": 245, "b.png": 235, "inside/c.png": 225}
    out, err = capfd.readouterr()
    first, *lines = out.splitlines()
    assert first.startswith("Each photo as a whole, resized by the server to the size of ugatit_a2b; no face is looked")
    assert lines[0] == f"1/3 {photos / 'a.png'} -> {tmp_path / 'out' / 'a.png'}"
    assert lines[-1] == f"3 of 3 translated, into {tmp_path / 'out'}."
    assert not err


def test_photos_and_folders_flags_between(server, photos, tmp_path):
    command = ["request", f"{photos}/b.jpg", "--server", f"http://{server.rest}", f"{photos}/inside"]
    assert main([*command, "--out", str(tmp_path / "x/y"), "--model=ugatit_a2b", f"{photos}/a.png"]) == 0
    assert levels(tmp_path / "x/y") == {"a.png": 245, "b.png": 235, "c.png": 225}


def test_names_that_meet(server, photos, tmp_path):
    Image.new("RGB", (8, 8), (40,) * 3).save(photos / "a.gif")
    (photos / "other").mkdir()
    Image.new("RGB", (8, 8), (50,) * 3).save(photos / "other/a.png")
    assert (
        request(server, tmp_path / "out", photos / "a.png", photos / "a.gif", photos / "other", photos / "a.png") == 0
    )
    assert levels(tmp_path / "out") == {"a.png": 245, "a.gif.png": 215, "a.png.png": 205}
    assert len(server.calls) == 3


def test_one_bad_photo_does_not_stop_the_others(server, photos, tmp_path, capsys):
    (photos / "a.png").write_bytes(b"no image")
    server.faults.append(answer(400, '{"error": "too green"}'))  # for b
    missing = tmp_path / "missing\x1b.jpg"
    assert request(server, tmp_path / "out", missing, photos) == 1
    assert levels(tmp_path / "out") == {"inside/c.png": 225}
    out, err = capsys.readouterr()
    assert [line.partition(" ")[0] for line in out.splitlines()[1:-1]] == ["1/4", "2/4", "3/4", "4/4"]
    assert out.splitlines()[-1].startswith("1 of 4 translated")
    lines = err.splitlines()
    assert lines[0] == f"ugatit: {tmp_path}/missing?.jpg: cannot be read (No such file or directory)"
    assert lines[1].startswith(f"ugatit: {photos}/a.png: not a JPEG")
    assert lines[2] == f"ugatit: {photos}/b.jpg: http://{server.rest} refused the request (HTTP 400: too green)."
    assert len(lines) == 3


def test_a_server_that_is_gone_is_not_asked_for_every_photo(photos, tmp_path, capsys, delays):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{holder.getsockname()[1]}"
        assert (
            main(["request", str(photos), "--server", address, "--out", str(tmp_path / "out"), "--retries", "1"]) == 1
        )
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"ugatit: {photos}/a.png: {address} cannot be reached: Connection refused.")
    assert lines[1:] == ["ugatit: 2 more not sent: it would be the same with them."]
    assert not (tmp_path / "out").exists()
    assert delays == [0.5]


def test_the_address_of_a_call(server, photos, tmp_path, capsys):
    url = f"http://{server.rest}/v1/models/ugatit_a2b:predict"
    assert main(["request", str(photos / "a.png"), "--server", url, "--out", str(tmp_path / "out")]) == 0
    assert levels(tmp_path / "out") == {"a.png": 245}
    words = ["request", str(photos / "a.png"), "--server", url, "--model", "other", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "names the model 'ugatit_a2b', and model says 'other'" in capsys.readouterr().err


def test_a_sign_of_life_while_the_server_thinks(server, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    server.faults.append(fake_server.hang(0.3))
    request(server, tmp_path / "out", photos / "a.png", "--timeout", "0.3", "--retries", "0")
    assert f"1/1 {photos / 'a.png'}: 0 s so far\n" in capsys.readouterr().out


def test_an_unknown_model(server, photos, tmp_path, capsys):
    assert request(server, tmp_path / "out", photos / "a.png", "--model", "other") == 1
    assert "has no model 'other'" in capsys.readouterr().err
    assert len(server.calls) == 1


def test_a_timeout(server, photos, tmp_path, capsys):
    server.faults.append(fake_server.hang())
    assert request(server, tmp_path / "out", photos, "--timeout", "0.2") == 1
    assert levels(tmp_path / "out") == {"b.png": 235, "inside/c.png": 225}
    assert "a.png: http" in capsys.readouterr().err


def test_what_is_done_is_not_sent_again(server, photos, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"precious")
    for said in ("2 of 2 translated", f"2 of 3 done already, in {out}; --overwrite does them again.\n"):
        assert request(server, out, photos) == 1  # nobody knows what a.png is of
        assert (out / "a.png").read_bytes() == b"precious"
        assert len(server.calls) == 2
        told, err = capsys.readouterr()
        assert said in told
        assert err == f"ugatit: {photos}/a.png: skipped, {out}/a.png exists. --overwrite replaces it\n"
    assert request(server, out, photos, "--overwrite") == 0
    assert levels(out) == {"a.png": 245, "b.png": 235, "inside/c.png": 225}
    capsys.readouterr()
    assert request(server, out, photos) == 0
    assert len(server.calls) == 5
    assert capsys.readouterr().out == f"3 of 3 done already, in {out}; --overwrite does them again.\n"


def test_a_new_photo_does_not_take_the_name_of_one_that_is_done(server, photos, tmp_path):
    assert request(server, tmp_path / "out", photos) == 0
    Image.new("RGB", (8, 8), (40,) * 3).save(photos / "a.bmp")  # before a.png in the order
    assert request(server, tmp_path / "out", photos) == 0
    assert len(server.calls) == 4
    assert levels(tmp_path / "out") == {"a.png": 245, "a.bmp.png": 215, "b.png": 235, "inside/c.png": 225}


def test_another_models_answers_are_not_taken_for_done(server, photos, tmp_path, capsys):
    server.models = server.models | {"other": server.models["ugatit_a2b"]}
    words = [tmp_path / "out", photos / "a.png"]
    assert request(server, *words) == 0
    assert request(server, *words, "--model", "other") == 1
    assert "a.png exists, made with another model or other flags" in capsys.readouterr().err
    (photos / "a.png").unlink()
    Image.new("RGB", (9, 9)).save(photos / "a.png")
    assert request(server, *words) == 1
    assert "a.png exists, made before the photo changed" in capsys.readouterr().err


def test_sigterm_is_ctrl_c(server, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "decode", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("SIGTERM came through"))
    try:
        assert request(server, tmp_path / "out", photos) == 130
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_photo_is_never_replaced(server, photos, capsys):
    before = (photos / "a.png").read_bytes()
    assert request(server, photos, photos, "--overwrite") == 1
    assert (photos / "a.png").read_bytes() == before
    assert "a.png: its result would replace a photo" in capsys.readouterr().err
    assert (photos / "b.png").exists()


def test_results_inside_the_folder_are_not_sent_again(server, photos):
    assert request(server, photos / "out", photos) == 0
    assert request(server, photos / "out", photos, "--overwrite") == 0
    assert sorted(levels(photos / "out")) == ["a.png", "b.png", "inside/c.png"]


def test_a_folder_without_images(server, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert request(server, tmp_path / "out", tmp_path / "empty") == 1
    assert "empty: no file in it ends in .jpg" in capsys.readouterr().err


def test_a_result_that_cannot_be_written(server, photos, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/inside").write_text("a file where a folder is needed")
    assert request(server, tmp_path / "out", photos) == 1
    assert "c.bmp: " in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["a.png", "b.png", "inside"]


def test_authorization_comes_from_the_environment(server, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("UGATIT_AUTHORIZATION", "Bearer word\n")
    assert request(server, tmp_path / "out", photos / "a.png") == 0
    assert server.calls[0][2]["Authorization"] == "Bearer word"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "No photos"),
        (["a.png"], "--out DIR"),
        (["a.png", "--out", __file__], "is a file"),
        (["a.png", "--out", "x", "--server", "localhost:8501"], "Perhaps http://localhost:8501?"),
        (["a.png", "--out", "x", "--server", "grpc://localhost"], "grpc://HOST:PORT"),
        (["a.png", "--out", "x", "--timeout", "0"], "timeout"),
        (["a.png", "--out", "x", "--retries", "-1"], "retries"),
        (["a.png", "--out", "x", "--model", ""], "model"),
        (["a.png", "--out", "x", "--no_such_flag"], "no_such_flag"),
    ],
)
def test_mistakes_end_in_one_message(words, message, capsys):
    assert main(["request", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_help(capsys):
    assert main(["request", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--server VALUE" in text
    assert max(map(len, text.splitlines())) <= 120
    assert main(["--help"]) == 0
    assert "\n  request " in capsys.readouterr().out
