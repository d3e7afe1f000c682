"""Encoders of timm and networks of segmentation_models.pytorch: what is taken, and what is not."""

import pytest
import timm
import torch
from torch import nn

from pixelwise.errors import ConfigError, DownloadError
from pixelwise.models import create_model
from pixelwise.models.blocks import SteadyBatchNorm
from pixelwise.models.encoders import fetched


@pytest.mark.parametrize("size", [32, 64, 96, 160])
def test_alexnets_maps_cover_the_image_cell_by_cell(size):
    model = create_model("fcn8s", 2, encoder="alexnet").eval()
    with torch.no_grad():
        maps = model.encoder(torch.zeros(1, 3, size, size))
    assert [feature_map.shape[-1] for feature_map in maps] == [size // 8, size // 16, size // 32]


@pytest.mark.parametrize("name", ["fcn8s", "icnet"])
def test_an_unknown_encoder_is_refused_with_names_near_it(name):
    with pytest.raises(ConfigError, match="resnet50") as refusal:
        create_model(name, 2, encoder="resnet5")
    assert "resnet5'" in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "encoder"), [("fcn8s", "vit_tiny_patch16_224"), ("icnet", "vgg11")]
)
def test_an_encoder_of_another_kind_is_refused(name, encoder):
    with pytest.raises(ConfigError, match="encoder"):
        create_model(name, 2, encoder=encoder)


@pytest.mark.parametrize(
    "encoder", ["swin_tiny_patch4_window7_224", "maxvit_nano_rw_256", "vit_tiny_patch16_224"]
)
def test_an_encoder_whose_maps_are_others_than_it_says_is_refused_at_once(encoder):
    with pytest.raises(ConfigError, match=r"encoder must .*such as resnet50"):
        create_model("fcn8s", 2, encoder=encoder)


def test_an_encoder_that_puts_the_channels_last_is_refused(monkeypatch):
    class Transposed(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body, self.feature_info = body, body.feature_info

        def forward(self, image):
            return [feature_map.permute(0, 2, 3, 1) for feature_map in self.body(image)]

    # What another test has seen pass is not looked at again.
    monkeypatch.setattr("pixelwise.models.encoders._SUITABLE", set())
    build = timm.create_model
    monkeypatch.setattr("timm.create_model", lambda *a, **k: Transposed(build(*a, **k)))
    with pytest.raises(ConfigError, match=r"\(1, 8, 12, 128\)"):
        create_model("fcn8s", 2, encoder="resnet18")


@pytest.mark.parametrize("encoder", ["convnext_atto", "densenet121", "efficientnet_b0", "vgg11"])
def test_convolutional_encoders_of_timm_are_taken(encoder):
    model = create_model("fcn8s", 2, encoder=encoder).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 40, 70)).shape == (1, 2, 40, 70)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("smp:yonet:resnet18", {}),
        ("smp:unet:resnet5", {}),
        ("smp:unet:resnet18", {"decoder_channels": (8,)}),
        ("fcn8s", {"encoder": "vit_tiny_patch16_224"}),
        ("fcn8s", {"encoder": "resnet5"}),
        ("icnet", {"encoder": "vgg11"}),
        ("icnet", {"encoder": "mobilenetv3_small_100"}),
    ],
)
def test_a_mistake_is_told_before_anything_is_fetched(name, arguments, monkeypatch):
    monkeypatch.setattr("pixelwise.models.encoders.fetched", _never)
    monkeypatch.setattr("pixelwise.models.smp_bridge.fetched", _never)
    with pytest.raises(ConfigError):
        create_model(name, 2, pretrained=True, **arguments)


def _never(*_):
    raise AssertionError("nothing may be fetched for a model that cannot be built")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (OSError("no network"), DownloadError),
        (KeyError("imagenet"), ConfigError),
        (RuntimeError("size mismatch"), ConfigError),
        (ZeroDivisionError(), ZeroDivisionError),  # a fault of ours is not the network's
    ],
)
def test_only_what_downloading_raises_is_taken_for_a_missing_network(fault, expected):
    def build():
        raise fault

    with pytest.raises(expected):
        fetched(build, "some weights")


@pytest.mark.parametrize("argument", [{"activation": "sigmoid"}, {"aux_params": {"classes": 3}}])
def test_the_bridge_refuses_what_would_not_give_logits(argument):
    with pytest.raises(ConfigError, match=f"{next(iter(argument))} must be left out"):
        create_model("smp:unet:resnet18", 2, **argument)


@pytest.mark.parametrize("architecture", ["deeplabv3", "deeplabv3plus", "pan", "upernet"])
@pytest.mark.parametrize("size", [17, 64, 128])
def test_models_that_pool_the_whole_image_train_on_a_batch_of_one(architecture, size):
    model = create_model(f"smp:{architecture}:resnet18", 2).train()
    model(torch.randn(1, 3, size, size)).square().mean().backward()
    norms = [layer for layer in model.modules() if isinstance(layer, SteadyBatchNorm)]
    assert norms
    assert all(layer.running_var.isfinite().all() for layer in norms)


def test_one_value_per_channel_is_normalized_by_the_running_statistics():
    norm = SteadyBatchNorm(2)
    norm.running_mean, norm.running_var = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 9.0])
    lone = torch.tensor([5.0, 8.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(norm(lone).flatten(), torch.tensor([2.0, 2.0]), rtol=1e-4, atol=0)
    assert norm.running_mean.tolist() == [1.0, 2.0]
    plain, several = nn.BatchNorm2d(2), torch.randn(3, 2, 4, 4)
    torch.testing.assert_close(SteadyBatchNorm(2)(several), plain(several))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fcn8s", {"encoder": "resnet18"}),
        ("fcn8s", {"encoder": "vgg16"}),
        ("icnet", {}),
        ("segnet", {}),
        ("smp:unet:resnet18", {}),
    ],
)
def test_pretrained_weights_that_cannot_be_fetched_are_never_replaced_by_random_ones(
    name, arguments, monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for opener in ("torch.hub.urlopen", "urllib.request.urlopen"):
        monkeypatch.setattr(opener, _offline)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match="leave out pretrained"):
        create_model(name, 2, pretrained=True, **arguments)


def _offline(*_, **__):
    raise OSError("no network in a test")


@pytest.mark.parametrize(
    "name", ["smp:unet", "smp:", "smp:unet:", "smp:yonet:resnet18", "smp:unet:resnet5"]
)
def test_a_name_that_the_bridge_cannot_cross_is_refused(name):
    with pytest.raises(ConfigError, match="smp:"):
        create_model(name, 2)


def test_arguments_go_through_the_bridge():
    model = create_model("smp:unet:resnet18", 2, decoder_channels=(64, 32, 16, 8, 8))
    assert model.network.decoder.blocks[0].conv1[0].out_channels == 64
