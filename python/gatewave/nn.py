"""Recurrent layers of PyTorch that gatewave computes: drop-in modules for inference inside a module of one's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import rnn

from . import _errors
from ._model import Model
from .torch import from_torch

__all__ = ["GRU", "LSTM", "RNN"]


class _Recurrent(nn.Module):
    """A recurrent layer of PyTorch, computed by gatewave. It takes and gives what the layer does.

    Args:
        layer: the layer, whose weights are copied: later changes of them do not count.
        device: where gatewave computes, as for `gatewave.load`. Tensors of any device of PyTorch are taken and given.
        precision: how weights are stored, as for `gatewave.load`.

    It has no parameters, and computes no gradients: call it under `torch.inference_mode()`. Threads may share it.
    """

    of: type[nn.RNNBase]

    def __init__(self, layer: nn.RNNBase, *, device: str = "auto", precision: str = "f32") -> None:
        super().__init__()
        if not isinstance(layer, self.of):
            raise TypeError(f"gatewave.nn.{type(self).__name__}: expected a torch.nn.{self.of.__name__}, "
                            f"got {type(layer).__name__}")
        self.input_size, self.hidden_size, self.num_layers = layer.input_size, layer.hidden_size, layer.num_layers
        self.bidirectional, self.batch_first = bool(layer.bidirectional), bool(layer.batch_first)
        self.proj_size = getattr(layer, "proj_size", 0)
        self.mode = layer.mode
        self.model: Model = from_torch(layer, device=device, precision=precision)
        # What gatewave computes needs no training mode.
        self.eval()

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Computes what the layer's own `forward` does.

        Args:
            input: ``[B, T, I]`` (``[T, B, I]`` if not `batch_first`), ``[T, I]``, or a `PackedSequence`.
            hx: the initial states, or nothing for zeros: ``[L·D, B, S]``; of an LSTM two, of which the second is
                ``[L·D, B, H]``.

        Returns:
            The output and the final states, like the layer.
        """
        packed = isinstance(input, rnn.PackedSequence)
        data = input.data if packed else input
        self._check(data, hx)
        with torch.no_grad():
            if packed:
                padded, lengths = rnn.pad_packed_sequence(input, batch_first=self.batch_first)
                output, states = self._run(padded, hx, data, lengths)
                return _repacked(output, input, lengths, self.batch_first), states
            if data.dim() == 2:
                batch = 0 if self.batch_first else 1
                begun = self._each(hx, lambda state: state.unsqueeze(1))
                output, states = self._run(data.unsqueeze(batch), begun, data)
                return output.squeeze(batch), self._each(states, lambda state: state.squeeze(1))
            return self._run(data, hx, data)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, batch_first={self.batch_first}"
        text += f", bidirectional={self.bidirectional}" + (f", proj_size={self.proj_size}" if self.proj_size else "")
        return f"{text}, device={self.model.device}"

    def _check(self, data: Any, hx: Any) -> None:
        name = f"gatewave.nn.{type(self).__name__}"
        if not isinstance(data, torch.Tensor) or not data.is_floating_point():
            got = data.dtype if isinstance(data, torch.Tensor) else type(data).__name__
            raise TypeError(f"{name}: expected a tensor of floats or a PackedSequence, got {got}")
        if data.dim() not in (2, 3) or data.shape[-1] != self.input_size:
            shape = f"[…, {self.input_size}] with two or three axes"
            raise _errors.make("shape", f"{name}: expected {shape}, got {list(data.shape)}")
        states = self._states(hx)
        if torch.is_grad_enabled() and (self.training or any(one.requires_grad for one in (data, *states))):
            why = "in training mode" if self.training else "with a tensor that requires gradients"
            raise _errors.make(
                "training",
                f"{name}: expected a call for inference, got one {why}: gatewave computes no gradients for PyTorch; "
                "call model.eval() and use torch.inference_mode(), or keep the torch layer while training",
            )

    def _states(self, hx: Any) -> tuple[Any, ...]:
        """Returns initial states as a tuple, empty for zeros."""
        if hx is None:
            return ()
        count = 2 if self.mode == "LSTM" else 1
        states = tuple(hx) if count == 2 and isinstance(hx, (tuple, list)) else (hx,)
        if len(states) != count or not all(isinstance(state, torch.Tensor) for state in states):
            what = "(h_0, c_0)" if count == 2 else "h_0"
            raise TypeError(f"gatewave.nn.{type(self).__name__}: expected {what} for hx, got {type(hx).__name__}")
        return states

    def _each(self, hx: Any, change: Any) -> Any:
        if hx is None:
            return None
        states = tuple(change(state) for state in self._states(hx))
        return states if self.mode == "LSTM" else states[0]

    def _run(self, data: Any, hx: Any, like: Any, lengths: Any = None) -> Any:
        inputs = {"x": _array(data)}
        inputs.update({name: _array(state) for name, state in zip(("h_0", "c_0"), self._states(hx))})
        if lengths is not None:
            inputs["lengths"] = lengths.cpu().numpy()
        results = self.model.run(inputs)
        given = [torch.from_numpy(results[name]).to(device=like.device, dtype=like.dtype)
                 for name in ("output", "h_n", "c_n") if name in results]
        return given[0], tuple(given[1:]) if self.mode == "LSTM" else given[1]


def _array(tensor: Any) -> Any:
    return tensor.detach().to(device="cpu", dtype=torch.float32).numpy()


def _repacked(output: Any, like: Any, lengths: Any, batch_first: bool) -> Any:
    """Returns `output` packed as `like` is."""
    batch = 0 if batch_first else 1
    if like.sorted_indices is not None:
        order = like.sorted_indices
        output, lengths = output.index_select(batch, order.to(output.device)), lengths[order.cpu()]
    packed = rnn.pack_padded_sequence(output, lengths, batch_first=batch_first, enforce_sorted=True)
    return rnn.PackedSequence(packed.data, like.batch_sizes, like.sorted_indices, like.unsorted_indices)


class LSTM(_Recurrent):
    __doc__ = f"A `torch.nn.LSTM` for inference. {_Recurrent.__doc__}"
    of = nn.LSTM


class GRU(_Recurrent):
    __doc__ = f"A `torch.nn.GRU` for inference. {_Recurrent.__doc__}"
    of = nn.GRU


class RNN(_Recurrent):
    __doc__ = f"A `torch.nn.RNN` for inference. {_Recurrent.__doc__}"
    of = nn.RNN
