"""`gatewave.nn`: recurrent layers that give what PyTorch's give."""

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence  # noqa: E402

import gatewave as gw  # noqa: E402

LAYERS = [
    (nn.LSTM, gw.nn.LSTM, {"batch_first": True, "bidirectional": True, "num_layers": 2}),
    (nn.LSTM, gw.nn.LSTM, {"proj_size": 2}),
    (nn.GRU, gw.nn.GRU, {"bidirectional": True}),
    (nn.RNN, gw.nn.RNN, {"nonlinearity": "relu", "batch_first": True, "bias": False}),
]


def same(wanted, got):
    assert type(wanted) is type(got)
    if isinstance(wanted, PackedSequence):
        for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
            one, other = getattr(wanted, field), getattr(got, field)
            assert (one is None and other is None) or torch.equal(one, other), field
        wanted, got = wanted.data, got.data
    if isinstance(wanted, tuple):
        assert len(wanted) == len(got)
        for one, other in zip(wanted, got):
            same(one, other)
        return
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("of, ours, keys", LAYERS, ids=["lstm", "projected", "gru", "rnn"])
def test_a_layer_takes_and_gives_what_pytorchs_does(of, ours, keys):
    torch.manual_seed(0)
    layer = of(3, 4, **keys)
    drop_in = ours(layer, device="cpu")
    first = layer.batch_first
    x = torch.randn(3, 5, 3) if first else torch.randn(5, 3, 3)
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    h = torch.randn(rows, 3, getattr(layer, "proj_size", 0) or 4)
    hx = (h, torch.randn(rows, 3, 4)) if of is nn.LSTM else h
    one = tuple(state[:, 0] for state in hx) if of is nn.LSTM else h[:, 0]
    sequence = x[0] if first else x[:, 0]
    lengths = torch.tensor([2, 5, 3])
    loose = pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=False)
    tight = pack_sequence([torch.randn(length, 3) for length in (5, 3, 2)])
    with torch.inference_mode():
        for arguments in ((x,), (x, hx), (sequence,), (sequence, one), (loose,), (loose, hx), (tight,), (tight, hx)):
            same(layer(*arguments), drop_in(*arguments))
        same(layer.double()(x.double()), drop_in(x.double()))


def test_it_is_a_module_inside_of_others():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstm, self.out = nn.Embedding(9, 3), nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, tokens):
            return self.out(self.lstm(self.embedding(tokens))[0])

    module, tokens = Tagger().eval(), torch.randint(0, 9, (2, 5))
    with torch.inference_mode():
        wanted = module(tokens)
        module.lstm = gw.nn.LSTM(module.lstm, device="cpu")
        for other in (module, copy.deepcopy(module)):
            torch.testing.assert_close(other(tokens), wanted, rtol=1e-5, atol=1e-5)
        lstm = pickle.loads(pickle.dumps(module.lstm))
        same(lstm(torch.ones(1, 2, 3)), module.lstm(torch.ones(1, 2, 3)))
    assert "batch_first=True" in repr(module)
    assert not list(module.lstm.parameters())


def test_what_needs_gradients_is_refused():
    drop_in = gw.nn.GRU(nn.GRU(3, 4), device="cpu")
    x = torch.randn(5, 2, 3)
    with pytest.raises(gw.TrainingError, match="in training mode.*torch.inference_mode"):
        drop_in.train()(x)
    with pytest.raises(gw.TrainingError, match="a tensor that requires gradients"):
        drop_in.eval()(x.requires_grad_())
    drop_in.train()
    with torch.no_grad():
        assert drop_in(x)[0].shape == (5, 2, 4)


def test_wrong_arguments_are_named():
    drop_in = gw.nn.LSTM(nn.LSTM(3, 4, batch_first=True), device="cpu")
    x = torch.randn(2, 5, 3)
    with torch.inference_mode():
        with pytest.raises(ValueError, match=r"expected \[…, 3\].*got \[2, 5, 4\]"):
            drop_in(torch.randn(2, 5, 4))
        with pytest.raises(TypeError, match=r"expected \(h_0, c_0\) for hx"):
            drop_in(x, torch.randn(1, 2, 4))
        with pytest.raises(ValueError, match="h_0|states|hidden"):
            drop_in(x, (torch.randn(1, 3, 4), torch.randn(1, 3, 4)))
        with pytest.raises(TypeError, match="expected a tensor of floats"):
            drop_in(torch.ones(2, 5, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match="expected a torch.nn.LSTM, got GRU"):
        gw.nn.LSTM(nn.GRU(3, 4))
