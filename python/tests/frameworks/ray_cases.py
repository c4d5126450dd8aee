"""What runs on Ray, each as a program of its own: `python ray_cases.py NAME`. `test_ray.py` starts them."""

import os
import signal
import sys
import tempfile
import threading
import time

import numpy as np
import ray

import gatewave as gw
import gatewave.ray as scale

#: The names of the cases.
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def start(cpus):
    # A store of 80 MB is enough, and any machine has it.
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=80 << 20)


def model():
    numbers = np.random.default_rng(0)
    tensors = {"lstm.weight_ih_l0": (32, 4), "lstm.weight_hh_l0": (32, 8), "lstm.bias_ih_l0": (32,),
               "lstm.bias_hh_l0": (32,), "out.weight": (3, 8), "out.bias": (3,)}
    arrays = {name: numbers.uniform(-0.5, 0.5, shape).astype(np.float32) for name, shape in tensors.items()}
    layers = [{"type": "lstm", "weights": "lstm."}, {"type": "linear", "weights": "out."}]
    return gw.from_tensors({"gatewave": 1, "batch_first": True, "layers": layers}, arrays, device="cpu")


def rows(count, steps=6):
    return np.random.default_rng(1).standard_normal((count, steps, 4)).astype(np.float32)


def compare(found, wanted):
    assert sorted(row["id"] for row in found) == list(range(len(wanted))), "each row once"
    for row in found:
        np.testing.assert_array_equal(row["output"], wanted[row["id"]])


@case
def batches():
    """A path, bytes and a model; columns that go on; columns of other names; rows of several lengths."""
    start(3)
    of, x = model(), rows(60)
    path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    of.save(path)
    wanted = of(x)
    dataset = ray.data.from_items([{"id": index, "data": row} for index, row in enumerate(x)])
    for given in (path, of):
        compare(scale.predict(dataset, given, keep=["id"], batch_size=16).take_all(), wanted)
    named = scale.predict(dataset, of, keep="id", inputs={"x": "data"}, outputs={"h_n": "state"}, batch_size=7)
    assert set(named.take(1)[0]) == {"id", "state"}
    lengths = [1 + index % 6 for index in range(len(x))]
    ragged = [{"id": index, "data": x[index, :length].tolist()} for index, length in enumerate(lengths)]
    for row in scale.predict(ray.data.from_items(ragged), of, keep=["id"], batch_size=16).take_all():
        alone = of(x[row["id"]][None, :lengths[row["id"]]])[0]
        got = np.array([np.asarray(step) for step in row["output"]])
        np.testing.assert_allclose(got, alone, atol=1e-6)
    try:
        scale.predict(dataset, of, keep=["name"]).take_all()
    except Exception as error:
        assert "name: expected a column of this name, got id, data" in str(error)
    else:
        raise AssertionError("a column that is missing")


class Slow(scale.Predictor):
    """Waits, and writes down its process, so that the test can kill it."""

    def __init__(self, *args, folder, **options):
        super().__init__(*args, **options)
        self.folder = folder

    def __call__(self, batch):
        time.sleep(0.3)
        node = ray.get_runtime_context().get_node_id()
        open(os.path.join(self.folder, f"{os.getpid()}-{node}-{time.time_ns()}"), "w").close()
        return super().__call__(batch)


def slow(dataset, of, folder, actors=2):
    # The class is in the package of the test: workers import it by the name of this file.
    import ray_cases

    return dataset.map_batches(
        ray_cases.Slow, fn_constructor_args=(of,), fn_constructor_kwargs={"keep": ["id"], "folder": folder},
        compute=ray.data.ActorPoolStrategy(size=actors), batch_size=8, num_cpus=1, scheduling_strategy="SPREAD",
    )


def once_all_work(folder, count, act, part):
    """Calls `act` once two processes (part 0) or nodes (part 1) have done so many batches each, on a thread."""

    def wait():
        while True:
            done = [name.split("-")[part] for name in os.listdir(folder)]
            if len(set(done)) > 1 and min(done.count(one) for one in set(done)) >= count:
                return act()
            time.sleep(0.05)

    threading.Thread(target=wait, daemon=True).start()


@case
def actor_killed():
    """Every row comes once, although an actor's process is killed."""
    start(3)
    of, x, folder = model(), rows(160), tempfile.mkdtemp()
    dataset = ray.data.from_items([{"id": index, "data": row} for index, row in enumerate(x)], override_num_blocks=20)

    def kill():
        os.kill(int(os.listdir(folder)[0].split("-")[0]), signal.SIGKILL)

    once_all_work(folder, 2, kill, 0)
    compare(slow(dataset, of, folder).take_all(), of(x))
    assert len({name.split("-")[0] for name in os.listdir(folder)}) >= 3, "an actor was killed, and another began"


@case
def node_killed():
    """Every row comes once, although a node dies, if a CPU is free beside the actors."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20})
    lost = cluster.add_node(num_cpus=2, object_store_memory=80 << 20)
    cluster.add_node(num_cpus=3, object_store_memory=80 << 20)
    ray.init(address=cluster.address)
    of, x, folder = model(), rows(160), tempfile.mkdtemp()
    dataset = ray.data.from_items([{"id": index, "data": row} for index, row in enumerate(x)], override_num_blocks=20)
    killed = []

    def kill():
        killed.append(len(os.listdir(folder)))
        cluster.remove_node(lost, allow_graceful=False)

    once_all_work(folder, 2, kill, 1)
    compare(slow(dataset, of, folder).take_all(), of(x))
    assert killed and killed[0] < 20, "a node was killed before the end"


def tagged():
    numbers = np.random.default_rng(2)
    return {"x": rows(50), "lengths": numbers.integers(1, 7, 50), "y": numbers.integers(0, 3, (50, 6))}


def apart(one, other):
    return max(np.abs(values - other[name]).max() for name, values in one.items())


@case
def trained():
    """Two workers on halves train as one on the whole, and as a trainer without Ray; by both backends."""
    start(3)
    of, data = model(), tagged()
    options = {"epochs": 2, "batch_size": 20, "seed": 3}
    trainer = gw.Trainer(of, "cross_entropy", gw.Adam(1e-2), seed=3, device="cpu")
    for step in range(6):
        epoch, place = divmod(step, 3)
        order = np.random.default_rng([3, epoch]).permutation(50)[place * 20:place * 20 + 20]
        trainer.step({name: array[order] for name, array in data.items()})
    one = scale.train(of, data, "cross_entropy", gw.Adam(1e-2), workers=1, **options)
    assert apart(one.model.state_dict(), trainer.state_dict()) < 1e-6
    for backend in ("gloo", "plain"):
        two = scale.train(of, data, "cross_entropy", gw.Adam(1e-2), workers=2, backend=backend, **options)
        assert two.backend == backend and two.updates == 6 and len(two.losses) == 2
        assert apart(two.model.state_dict(), one.model.state_dict()) < 1e-6
        np.testing.assert_allclose(two.losses, one.losses, rtol=1e-6)


@case
def trained_again():
    """A worker that is lost costs no update; a training goes on from its file."""
    start(3)
    of, data = model(), tagged()
    path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
    options = {"batch_size": 10, "seed": 3, "checkpoint_every": 2, "backend": "plain"}
    whole = scale.train(of, data, "cross_entropy", gw.Adam(1e-2), epochs=4, **options)

    killed = []

    def kill(epoch, loss):
        # The callback comes between two calls of the workers.
        if epoch == 2 and not killed:
            own = [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_worker(pid)]
            killed.append(own[0])
            os.kill(int(own[0]), signal.SIGKILL)

    lost = scale.train(of, data, "cross_entropy", gw.Adam(1e-2), epochs=4, callback=kill, **options)
    assert lost.restarts >= 1 and lost.updates == whole.updates
    assert apart(lost.model.state_dict(), whole.model.state_dict()) == 0
    half = scale.train(of, data, "cross_entropy", gw.Adam(1e-2), epochs=2, checkpoint=path, **options)
    rest = scale.train(of, data, "cross_entropy", gw.Adam(1e-2), epochs=4, checkpoint=path, resume=True, **options)
    assert half.updates == 10 and rest.updates == 20 and len(rest.losses) == 2
    assert apart(rest.model.state_dict(), whole.model.state_dict()) == 0


def _is_worker(pid):
    """Whether a process is a worker of this run, by its title and its ancestors."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if not file.read().startswith(b"ray::_Worker"):
                return False
        while pid not in ("0", "1"):
            if int(pid) == os.getpid():
                return True
            with open(f"/proc/{pid}/stat") as file:
                pid = file.read().rpartition(")")[2].split()[1]
    except OSError:
        pass
    return False


@case
def counted():
    """What the loss is a mean over must be known."""
    start(1)
    of = model()
    try:
        scale.train(of, {"x": rows(4), "y": np.zeros((3, 6), np.int64)}, "cross_entropy")
    except ValueError as error:
        assert "as many rows in each array" in str(error)
    else:
        raise AssertionError("rows that differ")
    description = {"gatewave": 1, "batch_first": True, "layers": [
        {"type": "embedding", "num_embeddings": 5, "embedding_dim": 3, "mask_token": 0, "weights": "e."},
        {"type": "gru", "input_size": 3, "hidden_size": 4, "weights": "g."},
        {"type": "linear", "in_features": 4, "out_features": 2, "weights": "l."}]}
    tokens, y = np.array([[1, 2, 0], [3, 0, 0]]), np.zeros((2, 3), np.int64)
    try:
        scale.train(description, {"x": tokens, "y": y}, "cross_entropy")
    except ValueError as error:
        assert "count: expected a function" in str(error)
    else:
        raise AssertionError("a mask that nobody counted")
    done = scale.train(description, {"x": tokens, "y": y}, "cross_entropy", batch_size=2, workers=1,
                       count=lambda part: float((part["x"] != 0).sum()))
    assert done.updates == 1


@case
def served():
    """Requests of several shapes are answered alike alone and together; a wrong one is told."""
    import json
    import urllib.error
    import urllib.request

    from ray import serve

    start(3)
    of, x = model(), rows(20)
    serve.start(http_options={"host": "127.0.0.1", "port": 8123}, logging_config={"log_level": "ERROR"})
    handle = serve.run(scale.deployment(of, max_batch_size=8, outputs=["output", "h_n"]), route_prefix="/model")
    answers = [handle.predict.remote({"x": x[index, :3 + index % 3]}) for index in range(20)]
    for index, answer in enumerate(answers):
        wanted = of.run({"x": x[index:index + 1, :3 + index % 3]})
        got = answer.result(timeout_s=60)
        np.testing.assert_allclose(got["output"], wanted["output"][0], atol=1e-6)
        np.testing.assert_allclose(got["h_n"], wanted["h_n"][:, 0], atol=1e-6)
    ask = lambda body: urllib.request.urlopen(  # noqa: E731
        urllib.request.Request("http://127.0.0.1:8123/model", json.dumps(body).encode()), timeout=60
    )
    np.testing.assert_allclose(json.load(ask({"x": x[0].tolist()}))["output"], of(x[:1])[0], atol=1e-6)
    for body, says in (({"z": 1}, "z: expected an input"), ({"x": [[1, 2]]}, "expected [B, T, 4]"), ([1], "an object")):
        try:
            ask(body)
        except urllib.error.HTTPError as error:
            assert error.code == 400 and says in error.read().decode()
        else:
            raise AssertionError(f"{body} was answered")
    serve.shutdown()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
    CASES[sys.argv[1]]()
    ray.shutdown()
    print("passed")
