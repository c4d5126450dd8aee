"""A detector of voices in the shape of those that people use, by both of PyTorch's ONNX exporters: chunk by chunk.

Needs torch, onnx, onnxruntime, numpy and safetensors. Writes v_voice.onnx and v_voice_d.onnx beside itself, and for each of
two chunks their inputs and what a float64 copy gives. The second begins at the states of the first.
"""
import copy
import pathlib

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.numpy import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent


class Voice(nn.Module):
    """The sizes of a sound's frequencies, convolutions that leave one step, and an LSTM whose states come packed: a cell or a
    layer of one step."""

    def __init__(self, is_cell):
        super().__init__()
        self.is_cell = is_cell
        self.basis = nn.Parameter(torch.empty(10, 1, 8))
        self.first, self.second = nn.Conv1d(5, 6, 3, padding=1), nn.Conv1d(6, 4, 3, stride=2, padding=1)
        self.lstm, self.head = nn.LSTMCell(4, 5) if is_cell else nn.LSTM(4, 5), nn.Conv1d(5, 1, 1)

    def forward(self, input, state):
        x = nn.functional.pad(input, (2, 4), mode="reflect").unsqueeze(1)
        x = nn.functional.conv1d(x, self.basis, stride=4)
        x = torch.sqrt(x[:, :5] ** 2 + x[:, 5:] ** 2)
        x = torch.relu(self.second(torch.relu(self.first(x))))
        if self.is_cell:
            h, c = self.lstm(x.squeeze(-1), (state[0], state[1]))
        else:
            h, c = (part.squeeze(0) for part in self.lstm(x.squeeze(-1).unsqueeze(0), (state[:1], state[1:]))[1])
        y = torch.sigmoid(self.head(torch.relu(h.unsqueeze(-1))))
        return y.squeeze(1).mean(1, keepdim=True), torch.stack([h, c])


torch.manual_seed(5)
names = {"input_names": ["input", "state"], "output_names": ["output", "stateN"]}
chunks = torch.randn(2, 3, 6)
for name in ["v_voice", "v_voice_d"]:
    path = HERE / f"{name}.onnx"
    net = Voice(name == "v_voice_d").eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    exact = copy.deepcopy(net).double()
    example = (chunks[0], torch.zeros(2, 3, 5))
    if name == "v_voice":
        axes = {"input": {0: "batch", 1: "sequence"}, "state": {1: "batch"}, "output": {0: "batch"}, "stateN": {1: "batch"}}
        torch.onnx.export(net, example, path, dynamic_axes=axes, opset_version=17, dynamo=False, **names)
    else:
        batch = torch.export.Dim("batch", min=2, max=64)
        shapes = ({0: batch}, {1: batch})
        torch.onnx.export(net, example, path, dynamic_shapes=shapes, dynamo=True, external_data=False, **names)
    written = onnx.load(path)
    for part in [*written.graph.node, *written.graph.value_info, *written.graph.input, *written.graph.output]:
        part.doc_string = ""
        del part.metadata_props[:]
    del written.graph.metadata_props[:], written.metadata_props[:]
    onnx.save(written, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    state = torch.zeros(2, 3, 5)
    for index, chunk in enumerate(chunks):
        with torch.no_grad():
            y, following = exact(chunk.double(), state.double())
        given = {"input": chunk.numpy(), "state": state.numpy()}
        for got, wanted in zip(session.run(["output", "stateN"], given), [y, following]):
            assert np.allclose(got, wanted, atol=1e-5), name
        arrays = {f"in.{key}": value for key, value in given.items()}
        arrays |= {"truth.output": y.numpy(), "truth.stateN": following.numpy()}
        save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, HERE / f"{name}.io{index}.safetensors")
        state = following.float()
