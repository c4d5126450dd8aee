"""Times PyTorch's recurrent layers on a GPU over a work list, in the lines of `gatewave bench --json`.

python3 cudnn.py SHAPES.json [--train]

A call begins and ends in the host's memory, as gatewave's does: the input goes to the device and the output comes back.
With --train it is a forward and a backward pass, with the gradients of the weights, of the sum of the squares of the output.
"""

import json
import statistics
import sys
import time

import torch

WARM_UP, RUNS = 3, 10


def stack(shape):
    cells = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    options = {"num_layers": shape["L"], "bidirectional": shape["D"] == 2}
    if shape["cell"] == "rnn-relu":
        return torch.nn.RNN(shape["I"], shape["H"], nonlinearity="relu", **options)
    return cells[shape["cell"]](shape["I"], shape["H"], **options)


def call(net, x, trains):
    if trains:
        net.zero_grad()
        net(x.cuda())[0].square().sum().backward()
        torch.cuda.synchronize()
    else:
        with torch.inference_mode():
            net(x.cuda())[0].cpu()


def main():
    trains = "--train" in sys.argv[2:]
    with open(sys.argv[1], encoding="utf-8") as file:
        shapes = json.load(file)["shapes"]
    name = torch.cuda.get_device_name()
    for shape in shapes:
        net = stack(shape).cuda()
        x = torch.randn(shape["T"], shape["B"], shape["I"])
        times = []
        for _ in range(WARM_UP + RUNS):
            start = time.perf_counter()
            call(net, x, trains)
            times.append((time.perf_counter() - start) * 1e3)
        times = times[WARM_UP:]
        line = {"peer": f"torch {torch.__version__} cuDNN {torch.backends.cudnn.version()}", "device": name, "dtype": "f32"}
        line |= {"id": shape["id"], "mode": "train" if trains else "forward"}
        line |= {"ms_median": statistics.median(times), "ms_min": min(times), "ms_max": max(times), "runs": RUNS}
        print(json.dumps(line), flush=True)


main()
