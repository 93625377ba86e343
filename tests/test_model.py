"""The networks: how many frames and parameters, and that a line does not see its batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from penname.errors import OptionError
from penname.training.model import Origin, build, parameters
from penname.training.options import PRESETS, TrainOptions

READERS = ("names", "latin", "teacher")


def lively(net: nn.Module, height: int) -> nn.Module:
    """Give random weights outputs that depend on the input, as trained ones do."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # statistics of the one batch below
        if isinstance(layer, nn.LSTM):
            with torch.no_grad():
                for weight in layer.parameters():
                    weight.mul_(3)
    net.train()(ink(4, height, 64))
    with torch.no_grad():
        net.get_submodule("head").get_parameter("weight").mul_(10)
    return net.eval()


def network(preset: str, height: int, classes: int = 30) -> nn.Module:
    torch.manual_seed(0)
    return lively(build(TrainOptions(preset=preset), height, classes), height)


def ink(n: int, height: int, width: int) -> Tensor:
    return torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(width))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_frame_is_four_pixels(preset: str) -> None:
    for height, width in ((32, 32), (40, 8), (48, 104), (64, 320)):
        with torch.no_grad():
            logits, shortcut = network(preset, height, 7)(ink(2, height, width))
        assert logits.shape == (2, width // 4, 7)
        assert shortcut is None if preset.startswith("origin") else shortcut.shape == logits.shape


@pytest.mark.parametrize("preset", PRESETS)
def test_a_line_reads_the_same_alone_and_in_a_batch(preset: str) -> None:
    net, lines = network(preset, 48), ink(5, 48, 96)
    with torch.no_grad():
        together = net(lines)[0]
        alone = torch.cat([net(line[None])[0] for line in lines])
        others = net(torch.cat([lines[:1], 1 - lines[1:]]))[0]
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-4)
    torch.testing.assert_close(others[0], together[0], rtol=0, atol=2e-4)
    assert (together[0] - together[1]).abs().max() > 0.1  # or the test could not fail


def test_columns_that_share_a_step_have_frames_of_their_own() -> None:
    net, line = network("latin", 48), ink(1, 48, 96)
    changed = line.clone()
    changed[..., 40:] = 0  # from the 11th column on
    with torch.no_grad():
        columns = net.get_submodule("stages")(net.get_submodule("stem")(line)).amax(dim=2)
        steps = columns.transpose(1, 2).reshape(1, 12, -1)
        lstm = nn.LSTM(steps.shape[2], 224, 2, bidirectional=True, batch_first=True)
        for k in (0, 1):  # of torch's, which has two layers in one
            layer = net.get_submodule(f"recurrent.{k}").state_dict()
            named = {name.replace("_l0", f"_l{k}"): value for name, value in layer.items()}
            assert not lstm.load_state_dict(named, strict=False).unexpected_keys
        context, _ = lstm(steps)
        added = net.get_submodule("apart")(context).reshape(1, 24, -1)
        frames = torch.relu(columns.transpose(1, 2) + added)
        logits, expected = net(line)[0], net.get_submodule("head")(frames)
        before, after = net(line)[0][:, :4], net(changed)[0][:, :4]
    assert logits.shape == (1, 24, 30)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    assert (logits[:, ::2] - logits[:, 1::2]).abs().max() > 0.1
    assert (before - after).abs().max() > 1e-3  # the context reaches across the line


def test_the_default_network_has_at_most_8_million_parameters() -> None:
    assert TrainOptions().preset == "names"
    assert 1e6 < parameters(network("names", 48)) <= 8e6
    assert 1e6 < parameters(network("latin", 48, 200)) <= 8e6


@pytest.mark.parametrize(("preset", "activation"), [("origin", nn.ReLU), ("origin-mish", nn.Mish)])
def test_origin_has_the_layers_of_the_2021_project(preset: str, activation: type) -> None:
    net = network(preset, 64, 30)
    convolutions = sum(9 * i * o + o + 2 * o for i, o in ((1, 32), (32, 64), (64, 128)))
    linear = 1024 * 64 + 64
    lstm = 2 * sum(4 * 512 * (inputs + 512) + 2 * 4 * 512 for inputs in (64, 2 * 512))
    assert parameters(net) == convolutions + linear + lstm + 1024 * 30 + 30
    kinds = [type(layer) for layer in net.modules() if not list(layer.children())]
    block = [nn.Conv2d, nn.BatchNorm2d, activation, nn.MaxPool2d]
    convolutions_of = [*block, *block, nn.Dropout, *block, nn.Dropout]
    assert kinds == [*convolutions_of, nn.Linear, activation, nn.LSTM, nn.Linear]
    pools = [layer.kernel_size for layer in net.modules() if isinstance(layer, nn.MaxPool2d)]
    assert pools == [(2, 2), (2, 2), (2, 1)]
    assert {layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)} == {0.3}


def test_origin_flattens_a_column_channel_by_channel() -> None:
    net = network("origin", 64)
    assert isinstance(net, Origin)
    lines = ink(1, 64, 256)
    with torch.no_grad():
        columns = net.convolutions(lines)  # (1, 128, 8, 64)
        frames, _ = net.recurrent(net.squeeze(columns[0].permute(2, 0, 1).flatten(1))[None])
        expected = net.head(frames)
        torch.testing.assert_close(net(lines)[0], expected, rtol=0, atol=1e-4)
    assert columns.shape == (1, 128, 8, 64)


@pytest.mark.parametrize("preset", ["origin", "origin-mish"])
def test_origin_refuses_a_height_it_cannot_halve_three_times(preset: str) -> None:
    with pytest.raises(OptionError, match="divisible by 8, not 60"):
        network(preset, 60)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_height_that_leaves_no_row_is_refused(preset: str) -> None:
    least = 32 if preset in ("names", "latin") else 16
    network(preset, least)
    for height in (8, least - 1):
        with pytest.raises(OptionError, match=f"at least {least}, not {height}"):
            network(preset, height)


@pytest.mark.parametrize("preset", READERS)
def test_the_shortcut_does_not_pass_the_recurrent_layers(preset: str) -> None:
    net = network(preset, 32, 5).train()
    net(ink(2, 32, 32))[1].sum().backward()
    reached = {name.split(".")[0] for name, w in net.named_parameters() if w.grad is not None}
    assert reached == {"stem", "stages", "shortcut"}
