"""`from_torch`: modules give what PyTorch gives, and what gatewave lacks is refused with the user's line."""

import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402

import gatewave as gw  # noqa: E402
import gatewave.torch  # noqa: E402
from drawn import Drawn  # noqa: E402
from modules import IDIOMS, ids  # noqa: E402


def flat(result):
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, (tuple, list)):
        return [one for part in result for one in flat(part)]
    return [result]


def check(module, inputs, names=None, **options):
    """Compares every result of the module with that of gatewave."""
    module.eval()
    with torch.inference_mode():
        wanted = flat(module(*inputs))
    model = gw.from_torch(module, device="cpu", **options)
    arrays = [tensor.numpy() for tensor in flat(inputs)]
    names = names or list(inspect.signature(module.forward).parameters)
    results = model.run(dict(zip(names, arrays)))
    for result, (name, got) in zip(wanted, results.items()):
        assert got.shape == tuple(result.shape), name
        np.testing.assert_allclose(got, result.numpy(), rtol=1e-5, atol=1e-5, err_msg=name)
    assert len(results) >= len(wanted)
    return model


@pytest.mark.parametrize("of, inputs", IDIOMS, ids=[of.__name__ for of, _ in IDIOMS])
def test_an_idiom_gives_what_the_module_gives(of, inputs):
    torch.manual_seed(1)
    names = ["x", "h_0", "c_0"] if of.__name__ == "GivenStates" else None
    check(of(), inputs(), names)


@pytest.mark.parametrize("seed", range(20))
def test_a_drawn_module_gives_what_it_gives_in_pytorch(seed):
    torch.manual_seed(seed)
    module = Drawn(seed)
    # Lengths that forward does not read are none of the model's.
    check(module, module.inputs(), ["x", "lengths"] if module.packs else ["x"])


@pytest.mark.parametrize(
    "module, shape",
    [
        (nn.LSTM(3, 4, batch_first=True, bidirectional=True), (2, 5, 3)),
        (nn.GRU(3, 4, 2), (5, 2, 3)),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (2, 5, 3)),
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.PReLU(4), nn.AvgPool1d(2, padding=1)), (2, 3, 8)),
    ],
    ids=["lstm", "gru", "sequential", "convolution"],
)
def test_a_module_of_torch_itself_takes_x(module, shape):
    check(module, (torch.randn(*shape),), ["x"])


def test_the_usual_names_and_states_stay_open():
    model = gw.from_torch(nn.LSTM(3, 4, batch_first=True), device="cpu")
    assert [info.name for info in model.inputs] == ["x", "lengths", "mask", "h_0", "c_0"]
    assert [info.name for info in model.outputs] == ["output", "h_n", "c_n"]
    named = gw.from_torch(IDIOMS[3][0](), device="cpu")
    assert {"x", "lens"} <= {info.name for info in named.inputs}
    assert [info.name for info in named.outputs] == ["output_0", "output_1", "output_2"]


def test_an_example_tells_rows_from_sequences_and_sizes():
    class Bare(nn.Module):
        def forward(self, x, y):
            return torch.cat([x[..., :2], y], dim=-1) * 2

    with pytest.raises(ValueError, match="give from_torch an example"):
        gw.from_torch(Bare(), device="cpu")
    check(Bare(), (torch.randn(2, 5, 3), torch.randn(2, 5, 1)), example=(torch.randn(1, 5, 3), torch.randn(1, 5, 1)))
    with pytest.raises(ValueError, match="example: expected parameters of forward"):
        gw.from_torch(Bare(), device="cpu", example={"z": torch.randn(1)})


def test_flags_of_forward_are_constants():
    class Flagged(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(3, 4, batch_first=True)

        def forward(self, x, last=False, scale=1.0):
            y, _ = self.gru(x)
            return y[:, -1] * scale if last else y

    assert check(Flagged(), (torch.randn(2, 5, 3),)).outputs[0].axes == "BTF"
    model = gw.from_torch(Flagged(), device="cpu", constants={"last": True, "scale": 2.0})
    assert model.outputs[0].axes == "BF"


def test_the_mode_and_the_module_stay_as_they_were():
    module = IDIOMS[0][0]().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    gw.from_torch(module, device="cpu")
    assert module.training and module.lstm.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_a_description_goes_with_the_state_dict():
    module = IDIOMS[0][0]()
    description = gatewave.torch.describe(module)
    weights = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    tokens = ids(11, 2, 5).numpy()
    by_hand = gw.from_tensors(description, weights, device="cpu")(tokens)
    assert np.array_equal(by_hand, gw.from_torch(module, device="cpu")(tokens))


@pytest.mark.parametrize("place", [0, 12, 20, 21, 23], ids=lambda place: IDIOMS[place][0].__name__)
def test_trained_weights_go_back(place):
    of, inputs = IDIOMS[place]
    torch.manual_seed(0)
    trained, other = of().eval(), of().eval()
    taken = inputs()
    model = gw.from_torch(trained, device="cpu")
    assert model.to_torch(other) is other
    with torch.inference_mode():
        for wanted, got in zip(flat(trained(*taken)), flat(other(*taken))):
            torch.testing.assert_close(got, wanted)


def test_weights_of_another_module_do_not_go_back():
    model = gw.from_torch(nn.LSTM(3, 4), device="cpu")
    with pytest.raises(ValueError, match="weight_hh_l0: expected .*16, 5") as caught:
        model.to_torch(_Lstm(3, 5))
    assert caught.value.tensor is not None
    with pytest.raises(ValueError, match="a tensor that the module lacks"):
        model.to_torch(nn.Linear(2, 2))


class _Lstm(nn.Module):
    """Has the names of an LSTM, and other shapes."""

    def __init__(self, inputs, hidden):
        super().__init__()
        for name, shape in (("weight_ih_l0", (16, inputs)), ("weight_hh_l0", (16, hidden)), ("bias_ih_l0", (16,)),
                            ("bias_hh_l0", (16,))):
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))


# What is refused: the code of `forward`, what the error says, and the line that it names.


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.deep = nn.LSTM(3, 4, 3, batch_first=True)
        self.gru = nn.GRU(4, 4)
        self.cell = nn.LSTMCell(3, 4)
        self.heads = nn.MultiheadAttention(4, 2, batch_first=True)
        self.out = nn.Linear(4, 2)
        self.bounded = nn.Embedding(5, 3, max_norm=1.0)


class MixedOrder(Recurrent):
    def forward(self, x):
        y, _ = self.lstm(x)
        return self.gru(y)[0]  # refused


class Branch(Recurrent):
    def forward(self, x):
        y, _ = self.lstm(x)
        if y.sum() > 0:  # refused
            return y
        return -y


class Loop(Recurrent):
    def forward(self, x):
        state = None
        for step in range(x.size(1)):  # refused
            state = self.cell(x[:, step], state)
        return state[0]


class Cell(Recurrent):
    def forward(self, x):
        h, _ = self.cell(x[:, 0])  # refused
        return h


class Heads(Recurrent):
    def forward(self, x):
        y, _ = self.lstm(x)
        y, _ = self.heads(y, y, y)  # refused
        return y


class Fourier(Recurrent):
    def forward(self, x):
        y, _ = self.lstm(x)
        return torch.fft.rfft(y)  # refused


class FirstLayer(Recurrent):
    def forward(self, x):
        _, (h, _) = self.deep(x)
        return h[0]  # refused


class WithoutLengths(Recurrent):
    def forward(self, x, lengths):
        mean = x.mean(1)  # refused
        _, (h, _) = self.lstm(pack_padded_sequence(x, lengths, batch_first=True))
        return h[-1], mean


class InPlace(Recurrent):
    def forward(self, x):
        y, _ = self.lstm(x)
        y.add_(1)  # refused
        return y


class Assigned(Recurrent):
    def forward(self, x):
        y, _ = self.lstm(x)
        y[:, 0] = 0  # refused
        return y


class Bounded(Recurrent):
    def forward(self, x):
        return self.lstm(self.bounded(x))[0]  # refused


class Normal(Recurrent):
    def forward(self, x):
        y, _ = self.lstm(x)
        return F.softmax(y, dim=0)  # refused


class Batch(Recurrent):
    def forward(self, x):
        y, _ = self.lstm(x)
        return y[0]  # refused


class FixedBatch(Recurrent):
    def forward(self, x):
        y, _ = self.lstm(x)
        return y.view(32, -1)  # refused


class Masked(Recurrent):
    def forward(self, x, keep):
        y, _ = self.lstm(x)
        return y[keep]  # refused


class Inner(Recurrent):
    def __init__(self):
        super().__init__()
        self.part = Fourier()

    def forward(self, x):
        return self.part(x)


REFUSED = [
    (MixedOrder, "batch_first=False: time first"),
    (Branch, "a branch or a loop that depends on a tensor"),
    (Loop, "no loop over the steps"),
    (Cell, "LSTMCell, which takes one step; use nn.LSTM"),
    (Heads, "MultiheadAttention"),
    (Fourier, "fft"),
    (FirstLayer, r"those of layer 0"),
    (WithoutLengths, "by its lengths"),
    (InPlace, "in place of a tensor that is read elsewhere"),
    (Assigned, "change of a part of a tensor in place"),
    (Bounded, "max_norm"),
    (Normal, "softmax over the features, got dim=0"),
    (Batch, "an index of steps or features"),
    (FixedBatch, r"a view that keeps the batch"),
    (Masked, "indices that are fixed numbers"),
]


@pytest.mark.parametrize("of, says", REFUSED, ids=[of.__name__ for of, _ in REFUSED])
def test_what_is_refused_names_its_line(of, says):
    with pytest.raises(ValueError, match=says) as caught:
        gw.from_torch(of(), device="cpu")
    lines, first = inspect.getsourcelines(of)
    number = first + next(place for place, line in enumerate(lines) if "# refused" in line)
    assert f"test_torch.py, line {number}, in forward" in str(caught.value)
    assert "# refused" in str(caught.value) and caught.value.kind == "model"


def test_a_line_inside_of_a_part_has_the_path_of_the_part():
    with pytest.raises(ValueError, match=r"from_torch: part: .*fft") as caught:
        gw.from_torch(Inner(), device="cpu")
    assert caught.value.layer == "part"


def test_an_aggregate_of_torch_is_refused_by_name():
    with pytest.raises(ValueError, match="got Transformer"):
        gw.from_torch(nn.Transformer(8, 2, batch_first=True), device="cpu")
    with pytest.raises(ValueError, match="from_torch: 1: .*got Conv2d"):
        gw.from_torch(nn.Sequential(nn.Linear(3, 4), nn.Conv2d(1, 1, 1)), device="cpu")
    with pytest.raises(TypeError, match="expected a torch.nn.Module, got dict"):
        gw.from_torch({}, device="cpu")
