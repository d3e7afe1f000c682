"""Names and targets that cannot be are refused before any data is read or any model is loaded."""

import pytest

UNKNOWN = {
    "device of train": ("train", "DATA", "--device", "gpu"),
    "device of evaluate": ("evaluate", "MODEL", "DATA", "--device", "gpu"),
    "device of review": ("review", "MODEL", "DATA", "--device", "gpu"),
    "device of predict": ("predict", "MODEL", "DATA", "--out", "OUT", "--device", "gpu"),
    "device of compare": ("compare", "DATA", "--models", "unet", "--epochs", "1", "--device", "g"),
    "split of evaluate": ("evaluate", "MODEL", "DATA", "--split", "tests"),
    "split of review": ("review", "MODEL", "DATA", "--split", "tests"),
    "split of data show": ("data", "show", "DATA", "--split", "tests"),
    "shares of train": ("train", "DATA", "--split", "70/70"),
    "shares of data check": ("data", "check", "DATA", "--split", "70/70"),
    "format of data convert": ("data", "convert", "DATA", "OUT", "--to", "cocoo"),
    "existing card of data check": ("data", "check", "DATA", "--write", "THERE"),
    "folder as page of data check": ("data", "check", "DATA", "--report", "FOLDER"),
    "folder as page of evaluate": ("evaluate", "MODEL", "DATA", "--report", "FOLDER"),
    "existing card of data split": ("data", "split", "DATA", "--out", "THERE"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_it_is_refused_before_the_data_is_opened(run_cli, tmp_path, what):
    (tmp_path / "there.yaml").write_text("")
    places = {
        "DATA": tmp_path / "no data", "MODEL": tmp_path / "no model", "OUT": tmp_path / "out",
        "THERE": tmp_path / "there.yaml", "FOLDER": tmp_path,
    }  # fmt: skip
    code, _, err = run_cli(*(places.get(word, word) for word in UNKNOWN[what]))
    assert code == 1
    assert "error: " in err
    assert "no data" not in err
    assert "no model" not in err
