"""Trains the models of the tutorials on labelled text in PyTorch and in gatewave, with the same settings, and prints a table.

    python3 docs/comparison/reviews.py --gatewave target/release/gatewave --data reviews.tsv

Both take the same rows, the same tokens and the same numbers of units, and begin at the weights that PyTorch draws. The rows of
the file are shuffled once for each seed, and both take them in that order, so that the last fifth, which validates, is like the
rest. Both compute on the CPU, on two threads.

What is left between them is rounding. With `--apart` gatewave draws weights and orders of its own, from the same distributions.
"""

import argparse
import json
import random
import statistics
import string
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

# Name, tokens, the first layer's size (none: one-hot), the cell, its units, whether it has both directions.
MODELS = [
    ("one-hot, SimpleRNN(8)", 500, None, "rnn", 8, False),
    ("Embedding(500, 16), SimpleRNN(8)", 500, 16, "rnn", 8, False),
    ("Embedding(5000, 32), LSTM(32)", 5000, 32, "lstm", 32, False),
    ("Embedding(5000, 32), GRU(32)", 5000, 32, "gru", 32, False),
    ("Embedding(5000, 32), bidirectional LSTM(32)", 5000, 32, "lstm", 32, True),
]
PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text):
    return [word for word in (piece.translate(PUNCTUATION) for piece in text.lower().split()) if word]


def shuffled(path, seed):
    lines = [line for line in Path(path).read_text(encoding="utf-8").split("\n") if line.strip()]
    random.Random(seed).shuffle(lines)
    return lines


def rows(lines):
    return [(int(label), words(text)) for label, text in (line.split("\t", 1) for line in lines)]


def vocabulary(train, size):
    """0 padding, 1 start, 2 unknown, then by falling count; equally frequent words as they came first."""
    counts = Counter(word for _, text in train for word in text)
    return {word: 3 + place for place, (word, _) in enumerate(counts.most_common(size - 3))}


def encoded(part, tokens):
    return [(label, torch.tensor([1] + [tokens.get(word, 2) for word in text])) for label, text in part]


class Net(nn.Module):
    def __init__(self, tokens, width, cell, units, both):
        super().__init__()
        self.tokens = tokens
        self.embedding = nn.Embedding(tokens, width) if width else None
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.cell = kind(width or tokens, units, batch_first=True, bidirectional=both)
        self.head = nn.Linear(units * (2 if both else 1), 1)

    def forward(self, x, lengths):
        x = self.embedding(x) if self.embedding else nn.functional.one_hot(x, self.tokens).float()
        _, state = self.cell(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        hidden = state[0] if isinstance(state, tuple) else state
        return self.head(torch.cat(list(hidden), dim=1)).squeeze(1)


def batches(examples, order, size):
    for begin in range(0, len(order), size):
        part = [examples[row] for row in order[begin : begin + size]]
        lengths = torch.tensor([len(text) for _, text in part])
        x = nn.utils.rnn.pad_sequence([text for _, text in part], batch_first=True)
        yield x, lengths, torch.tensor([float(label) for label, _ in part])


def by_torch(model, net, train, valid, args):
    tokens = model[1]
    known = vocabulary(train, tokens)
    train, valid = encoded(train, known), encoded(valid, known)
    optimizer = torch.optim.Adam(net.parameters(), lr=args.learning_rate)
    loss = nn.BCEWithLogitsLoss()
    start = time.perf_counter()
    for _ in range(args.epochs):
        order = torch.randperm(len(train)).tolist() if args.apart else range(len(train))
        for x, lengths, y in batches(train, order, args.batch_size):
            optimizer.zero_grad()
            loss(net(x, lengths), y).backward()
            optimizer.step()
        right = 0
        with torch.no_grad():
            for x, lengths, y in batches(valid, range(len(valid)), args.batch_size):
                right += ((net(x, lengths) > 0) == (y > 0.5)).sum().item()
    return right / len(valid), time.perf_counter() - start


def description(model, folder):
    _, tokens, width, cell, units, both = model
    first = (
        {"type": "embedding", "num_embeddings": tokens, "embedding_dim": width, "weights": "embedding."}
        if width
        else {"type": "one_hot", "num_classes": tokens}
    )
    stack = {"type": cell, "input_size": width or tokens, "hidden_size": units, "weights": "cell.", "bidirectional": both}
    units = units * (2 if both else 1)
    head = {"type": "linear", "in_features": units, "out_features": 1, "weights": "head."}
    layers = [first, stack, {"type": "select", "what": "final_hidden"}, head]
    path = Path(folder) / "model.json"
    path.write_text(json.dumps({"gatewave": 1, "batch_first": True, "layers": layers}))
    return path


def by_gatewave(model, first, lines, seed, args):
    with tempfile.TemporaryDirectory() as folder:
        data, weights = Path(folder) / "rows.tsv", Path(folder) / "first.safetensors"
        data.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        save_file(first, weights)
        begins = [description(model, folder)] if args.apart else [weights, "--model", description(model, folder), "--no-shuffle"]
        command = [args.gatewave, "train", *begins, "--data", data, "--device", "cpu", "--json"]
        command += ["--validation-split", "0.2", "--epochs", str(args.epochs), "--batch-size", str(args.batch_size)]
        command += ["--learning-rate", str(args.learning_rate), "--seed", str(seed)]
        out = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    epochs = [json.loads(line) for line in out.splitlines()]
    epochs = [epoch for epoch in epochs if "epoch" in epoch]
    return epochs[-1]["val_accuracy"], sum(epoch["seconds"] for epoch in epochs)


def pair(model, seed, args):
    """What PyTorch and gatewave make of a seed: accuracy and seconds of each."""
    lines = shuffled(args.data, seed)
    every = rows(lines)
    cut = int(len(every) * 0.8)
    torch.manual_seed(seed)
    net = Net(*model[1:])
    # Copied, since PyTorch trains in place.
    first = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    return by_torch(model, net, every[:cut], every[cut:], args), by_gatewave(model, first, lines, seed, args)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gatewave", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--apart", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(2)
    print("| model | accuracy, PyTorch | accuracy, gatewave | seconds, PyTorch | seconds, gatewave | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for model in MODELS:
        # One after the other, seed by seed, so that a machine that slows down slows both.
        pairs = [pair(model, seed, args) for seed in range(args.seeds)]
        (torch_right, torch_time), (own_right, own_time) = (list(zip(*side)) for side in zip(*pairs))
        means = [statistics.mean(values) for values in (torch_right, own_right)]
        spread = [max(values) - min(values) for values in (torch_right, own_right)]
        times = [statistics.median(values) for values in (torch_time, own_time)]
        print(
            f"| {model[0]} | {means[0]:.4f} ± {spread[0] / 2:.4f} | {means[1]:.4f} ± {spread[1] / 2:.4f} | {times[0]:.1f} |"
            f" {times[1]:.1f} | {times[1] / times[0]:.2f} |",
            flush=True,
        )


main()
