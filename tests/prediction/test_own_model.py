"""``Predictor.from_model``: a network of one's own is scored as its own loop would score it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pixelwise import ClassMap, Predictor, evaluate, open_dataset, predict, report_model
from pixelwise.errors import ConfigError, DataError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Halving(nn.Module):
    """A plain network that, like a U-Net, refuses sides that are not multiples of 4."""

    def __init__(self, num_classes=3, channels=3):
        super().__init__()
        self.down = nn.Conv2d(channels, 8, 4, stride=4)
        self.up = nn.ConvTranspose2d(8, num_classes, 4, stride=4)

    def forward(self, image):
        assert image.shape[-2] % 4 == image.shape[-1] % 4 == 0
        return self.up(self.down(image).tanh())


class Mapped(nn.Module):
    """Returns its logits as the networks of torchvision do."""

    def __init__(self):
        super().__init__()
        self.network = Halving()

    def forward(self, image):
        return {"out": self.network(image), "aux": None}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Halving()


@pytest.fixture
def dataset(tmp_path, make_index_dataset):
    folder = make_index_dataset(tmp_path / "data", num_images=6, size=(22, 30), splits=("test",))
    return open_dataset(folder)


def own_logits(network, image, mean=(0, 0, 0), std=(1, 1, 1), stride=4):
    """A loop as one would write it: scale, normalize, pad, run, crop."""
    pixels = (image.astype(np.float32) / 255 - mean) / np.array(std)
    height, width = image.shape[:2]
    padded = np.pad(pixels, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="edge")
    with torch.no_grad():
        logits = network(torch.from_numpy(padded.transpose(2, 0, 1)[None]).float())
    return logits[0, :, :height, :width].numpy()


@pytest.mark.parametrize(("mean", "std"), [((0, 0, 0), (1, 1, 1)), (MEAN, STD)])
def test_metrics_equal_those_of_a_loop_of_ones_own(network, dataset, mean, std):
    own = Predictor.from_model(network, dataset.class_map, mean=mean, std=std, device="cpu")
    counts = np.zeros((3, 3), int)
    for record in dataset.split("test"):
        image, mask = (np.asarray(Image.open(path)) for path in (record.image, record.masks[0]))
        np.add.at(counts, (mask, own_logits(network, image, mean, std).argmax(0)), 1)
    metrics = evaluate(own, dataset, "test", detailed=True)
    hits = np.diag(counts)
    ious = hits / (counts.sum(0) + counts.sum(1) - hits)
    assert [entry.iou for entry in metrics.per_class] == pytest.approx(ious)
    assert metrics.detail.confusion == tuple(map(tuple, counts.tolist()))
    assert metrics.intervals["mean_iou"].low <= metrics.mean_iou
    assert metrics.seen_in_training is None


def test_probabilities_are_those_of_the_label_mode(network):
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    logits = own_logits(network, image)
    for mode, expected in (
        ("multiclass", np.exp(logits) / np.exp(logits).sum(0)),
        ("multilabel", 1 / (1 + np.exp(-logits))),
    ):
        own = Predictor.from_model(network, ["a", "b", "c"], label_mode=mode, device="cpu")
        np.testing.assert_allclose(own.probabilities(image), expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "largest"), [("uint16", 65535), ("float32", 1)])
def test_deeper_images_are_scaled_by_the_range_of_their_type(dtype, largest):
    torch.manual_seed(0)
    network = Halving(channels=2)
    image = (np.random.default_rng(0).random((8, 8, 2)) * largest).astype(dtype)
    own = Predictor.from_model(network, ["a", "b", "c"], in_channels=2, dtype=dtype, device="cpu")
    expected = own_logits(network, image.astype(np.float64) * 255 / largest, mean=0, std=1)
    np.testing.assert_allclose(own.logits(image).numpy(), expected, atol=1e-4)


def test_a_network_of_torchvisions_kind_and_its_training_mode_are_left_as_they_are():
    network = Mapped().train()
    own = Predictor.from_model(network, ["a", "b", "c"], device="cpu")
    assert own.predict(np.zeros((5, 5, 3), np.uint8)).shape == (5, 5)
    assert network.training


def test_a_report_is_written_for_it_without_a_command_that_cannot_be_repeated(
    network, dataset, tmp_path
):
    own = Predictor.from_model(network, dataset.class_map, device="cpu")
    report = report_model(own, dataset, out=tmp_path / "report.html")
    text = report.page.read_text("utf-8")
    assert "Halving on data" in text
    assert f"{report.metrics.mean_iou:.3f}" in text
    assert "GMAC for an image of 1024" not in text
    height, width = dataset.test[0].image.shape[:2]
    assert f"GMAC for an image of {height} x {width}" in text
    assert "pixelwise evaluate" not in text
    assert "pixelwise review" not in text


def test_a_folder_without_splits_is_not_taken_for_new_images(network, tmp_path, make_index_dataset):
    dataset = open_dataset(make_index_dataset(tmp_path, num_images=10, size=(8, 8)))
    own = Predictor.from_model(network, dataset.class_map, device="cpu")
    assert evaluate(own, dataset).images == len(dataset.test) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": (0.5,)}, "mean must be one number, or 3 numbers, one per channel. Got 1"),
        ({"std": (1, 1), "in_channels": 1}, "std must be one number, or 1 numbers"),
        ({"dtype": "int8"}, "dtype must be one of uint8, uint16, float32. Got 'int8'"),
        ({"scale": 2.0}, "scale.*Got 2"),
        ({"label_mode": "binary"}, "label_mode.*Got 'binary'"),
        ({"class_map": ["a", "a"]}, "ClassMap: .*names must be unique. Got a twice"),
        ({"tile": (0, 4)}, "tile must be at least 1 x 1"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(network, arguments, message):
    given = {"class_map": ClassMap.build(["a", "b", "c"]), "device": "cpu", **arguments}
    with pytest.raises(ConfigError, match=message) as refused:
        Predictor.from_model(network, **given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "network", [Halving(num_classes=1), nn.Conv2d(3, 3, 3, stride=2, padding=1), nn.LSTM(8, 8)]
)
def test_logits_of_another_shape_are_refused(network):
    with pytest.raises(ConfigError, match="must") as refused:
        Predictor.from_model(network, ["a", "b", "c"], device="cpu")
    assert "\n" not in str(refused.value)


def test_files_are_predicted_by_it(network, tmp_path, dataset):
    own = Predictor.from_model(network, dataset.class_map, device="cpu")
    done = predict(own, dataset.path / "test" / "images", tmp_path / "out")
    assert len(done.written) == 6
    with pytest.raises(DataError, match="channels"):
        own.predict(np.zeros((8, 8, 5), np.uint8))
