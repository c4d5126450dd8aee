"""Threads, processes, memory and logs."""

import gc
import logging
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from core_support import DESCRIPTION, SHAKESPEARE, small

import gatewave as gw


def test_other_threads_run_while_a_call_computes(shakespeare):
    tokens = np.zeros((32, 300), np.int64)
    shakespeare(tokens)
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        rates = []
        for wait in (lambda: time.sleep(0.2), lambda: shakespeare(tokens)):
            first, begin = counted[0], time.perf_counter()
            wait()
            rates.append((counted[0] - first) / (time.perf_counter() - begin))
    finally:
        stop.set()
        thread.join()
    # A call that held the lock would let nothing be counted; one that does not may take all cores.
    assert rates[1] > 0.1 * rates[0]


def test_threads_share_a_model_a_batch_of_streams_and_a_trainer(model, x):
    wanted = model(x)
    trainer = gw.Trainer(model, "mse", gw.SGD(0.0), device="cpu")
    streams = model.streams(8)

    def work(index):
        for _ in range(20):
            np.testing.assert_array_equal(model(x), wanted)
            trainer.step(x, np.zeros((4, 7, 2)))
        stream = streams.join()
        return np.stack([streams.push({stream: frame})[stream] for frame in x[index % 4]])

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))
    for index, result in enumerate(results):
        np.testing.assert_array_equal(result, wanted[index % 4])
    assert trainer.updates == 160 and len(streams) == 8


FORK = """
import os, sys
import numpy as np, gatewave as gw
from pathlib import Path
folder = Path({folder!r})
load = lambda: gw.load(folder / "shakespeare.safetensors", folder / "model.json", device="cpu")
tokens = np.zeros((2, 3), np.int64)
if {before}:
    model = load()
    model(tokens)
child = os.fork()
if child == 0:
    try:
        (model if {before} else load())(tokens)
        os._exit(10)
    except gw.Error as error:
        os._exit(11 if "spawn" in str(error) and error.kind == "fork" else 12)
    except BaseException:
        os._exit(13)
status = os.waitpid(child, 0)[1]
if {before}:
    model(tokens)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(("before", "status"), [(True, 11), (False, 10)])
def test_a_forked_child_is_told_to_be_spawned_unless_nothing_was_computed_before(before, status):
    code = FORK.format(folder=str(SHAKESPEARE), before=before)
    done = subprocess.run([sys.executable, "-c", code], timeout=120, check=False)
    assert done.returncode == status


def called(model_and_input):
    model, x = model_and_input
    return model(x)


def test_models_go_to_spawned_processes(model, x, tmp_path):
    model.save(tmp_path / "m.safetensors")
    by_path = gw.load(tmp_path / "m.safetensors", device="cpu")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for sent, result in zip([model, by_path], pool.map(called, [(model, x), (by_path, x)], timeout=120)):
            np.testing.assert_array_equal(result, sent(x))


def test_a_pickle_names_the_file_or_holds_all(shakespeare, model, x, tmp_path):
    assert len(pickle.dumps(shakespeare)) < 1000
    again = pickle.loads(pickle.dumps(shakespeare))
    np.testing.assert_array_equal(again([[1, 2]]), shakespeare([[1, 2]]))
    assert again.vocabulary == 65
    model.save(tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    for made in (model, gw.load(data, device="cpu"), small(precision="f16")):
        again = pickle.loads(pickle.dumps(made))
        np.testing.assert_array_equal(again(x), made(x))
        assert again.precision == made.precision


def test_ten_thousand_calls_need_no_more_memory_than_a_thousand(model):
    x = np.zeros((1, 20, 3), np.float32)

    def calls(count):
        for _ in range(count // 2):
            model(x)
            model.run({"x": x, "lengths": [20]})
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = calls(1000)
    assert calls(10_000) - before < 2000, "KiB"


def test_a_loaded_model_is_let_go():
    def load():
        gw.load(SHAKESPEARE / "shakespeare.safetensors", SHAKESPEARE / "model.json", device="cpu")
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = max(load() for _ in range(5))
    assert max(load() for _ in range(20)) - before < 8000, "KiB; the model has 3500"


def test_warnings_are_records_of_logging(caplog):
    with caplog.at_level(logging.INFO, "gatewave"):
        tensors = small().state_dict() | {"other.weight": np.zeros((2, 2), np.float32)}
        gw.from_tensors(DESCRIPTION, tensors, device="cpu")
    found = {(record.levelname, record.name.split(".")[0]) for record in caplog.records}
    assert ("INFO", "gatewave") in found
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert any("other.weight" in record.getMessage() for record in warned)


def test_threads_are_set_before_anything_computes():
    code = (
        "import gatewave as gw; gw.set_threads(1); assert gw.threads() == 1; assert 'thread' in gw.devices()[0].detail"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    gw.threads()
    with pytest.raises(gw.Error, match="RAYON_NUM_THREADS"):
        gw.set_threads(1)
    with pytest.raises(ValueError, match="1 or more"):
        gw.set_threads(0)
