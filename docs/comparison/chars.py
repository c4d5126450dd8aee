"""Trains a character model on a text in PyTorch and in gatewave, with the same settings, and prints a table.

    python3 docs/comparison/chars.py --gatewave target/release/gatewave --data tinyshakespeare.txt

Both take the same windows and the same number of updates, and draw their weights from the same distributions; the order of the
windows and the weights themselves are drawn by each on its own. Both compute on the CPU, on two threads.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from torch import nn

WIDTH, UNITS = 64, 128


class Net(nn.Module):
    def __init__(self, tokens):
        super().__init__()
        self.embedding = nn.Embedding(tokens, WIDTH)
        self.cell = nn.LSTM(WIDTH, UNITS, batch_first=True)
        self.head = nn.Linear(UNITS, tokens)

    def forward(self, x):
        return self.head(self.cell(self.embedding(x))[0])


def windows(tokens, steps):
    count = (len(tokens) - 1) // steps
    return tokens[: count * steps].view(count, steps), tokens[1 : count * steps + 1].view(count, steps)


def by_torch(text, cut, seed, args):
    torch.manual_seed(seed)
    # 0 to 2 are padding, start and unknown, as in gatewave.
    known = {c: 3 + place for place, (c, _) in enumerate(Counter(text[:cut]).most_common())}
    encoded = torch.tensor([known.get(c, 2) for c in text])
    (x, y), (valid_x, valid_y) = windows(encoded[:cut], args.window), windows(encoded[cut:], args.window)
    net = Net(3 + len(known))
    optimizer, loss = torch.optim.Adam(net.parameters(), lr=args.learning_rate), nn.CrossEntropyLoss()
    start = time.perf_counter()
    for _ in range(args.epochs):
        for rows in torch.randperm(len(x)).split(args.batch_size):
            optimizer.zero_grad()
            loss(net(x[rows]).transpose(1, 2), y[rows]).backward()
            optimizer.step()
        lost = 0.0
        with torch.no_grad():
            for part_x, part_y in zip(valid_x.split(args.batch_size), valid_y.split(args.batch_size)):
                lost += loss(net(part_x).transpose(1, 2), part_y).item() * len(part_x)
    return lost / len(valid_x), time.perf_counter() - start, 3 + len(known)


def by_gatewave(tokens, seed, args):
    layers = [
        {"type": "embedding", "num_embeddings": tokens, "embedding_dim": WIDTH, "weights": "embedding."},
        {"type": "lstm", "input_size": WIDTH, "hidden_size": UNITS, "weights": "lstm."},
        {"type": "linear", "in_features": UNITS, "out_features": tokens, "weights": "head."},
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        path.write_text(json.dumps({"gatewave": 1, "batch_first": True, "layers": layers}))
        command = [args.gatewave, "train", path, "--data", args.data, "--window", args.window, "--device", "cpu", "--json"]
        command += ["--metric", "none", "--validation-split", "0.1", "--epochs", args.epochs]
        command += ["--batch-size", args.batch_size, "--learning-rate", args.learning_rate, "--seed", seed]
        out = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    epochs = [epoch for epoch in map(json.loads, out.splitlines()) if "epoch" in epoch]
    return epochs[-1]["val_loss"], sum(epoch["seconds"] for epoch in epochs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gatewave", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(2)
    text = Path(args.data).read_text(encoding="utf-8")
    cut = int(len(text) * 0.9)
    ours, theirs = [], []
    for seed in range(args.seeds):
        loss, seconds, tokens = by_torch(text, cut, seed, args)
        theirs.append((loss, seconds))
        ours.append(by_gatewave(tokens, seed, args))
    print("| | validation loss | seconds |")
    print("| --- | --- | --- |")
    for name, runs in (("PyTorch", theirs), ("gatewave", ours)):
        losses, seconds = zip(*runs)
        print(f"| {name} | {statistics.mean(losses):.4f} ± {(max(losses) - min(losses)) / 2:.4f} | {statistics.median(seconds):.1f} |")


main()
