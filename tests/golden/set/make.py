"""A GRU whose file has one head for each of two sampling rates, chosen by an If of the input sr, as voice detectors do.

Prints what ONNX Runtime gives for both rates: tests/cli/formats.rs has these numbers.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
rng = np.random.default_rng(7)


def tensor(name, *shape):
    return numpy_helper.from_array((rng.standard_normal(shape) * 0.5).astype(np.float32), name)


def head(name, out):
    nodes = [helper.make_node("MatMul", ["last", f"{out}.w"], [f"{out}.p"]), helper.make_node("Sigmoid", [f"{out}.p"], [out])]
    info = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [info], [tensor(f"{out}.w", 4, 2)])


nodes = [
    helper.make_node("GRU", ["x", "W", "R", "B"], ["", "h"], hidden_size=4, linear_before_reset=1),
    helper.make_node("Squeeze", ["h", "first"], ["last"]),
    helper.make_node("Equal", ["sr", "16000"], ["is"]),
    helper.make_node("If", ["is"], ["y"], then_branch=head("wide", "a"), else_branch=head("narrow", "b")),
]
inputs = [
    helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", 3]),
    helper.make_tensor_value_info("sr", TensorProto.INT64, []),
]
outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])]
constants = [
    tensor("W", 1, 12, 3),
    tensor("R", 1, 12, 4),
    tensor("B", 1, 24),
    numpy_helper.from_array(np.array([0]), "first"),
    numpy_helper.from_array(np.array(16000), "16000"),
]
graph = helper.make_graph(nodes, "rates", inputs, outputs, constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, HERE / "rates.onnx")
session = onnxruntime.InferenceSession(str(HERE / "rates.onnx"), providers=["CPUExecutionProvider"])
x = (np.arange(12, dtype=np.float32) * np.float32(0.25) - 1).reshape(4, 1, 3)
for rate in (16000, 8000):
    print(rate, session.run(None, {"x": x, "sr": np.array(rate)})[0].tolist())
