"""The flags of the measured step, and what they make."""

import pytest
import train_step


def configurations(*words):
    return train_step.configurations(train_step.make_parser().parse_args(words))


def test_flags_and_other_fields_make_the_configurations():
    model, train = configurations("--light", "--ch", "8", "--remat", "--set", "n_res=2", "ema=0.9", "gan_type=wgan-gp")
    assert (model.light, model.ch, model.n_res, model.flavor) == (True, 8, 2, "pytorch")
    assert (train.remat, train.ema, train.gan_type, train.precision) == (True, 0.9, "wgan-gp", "float32")


def test_a_field_that_does_not_exist_is_named():
    with pytest.raises(SystemExit, match="--set: nonsense is no field of ModelConfig or TrainConfig"):
        configurations("--set", "nonsense=3")


def test_what_is_this_projects_does_not_go_with_the_official_code(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["train_step.py", "--pytorch", ".", "--remat"])
    with pytest.raises(SystemExit):
        train_step.main()
    assert "--precision are of this project" in capsys.readouterr().err
