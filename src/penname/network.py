"""Network: a model folder's network as a function, run by ONNX Runtime or OpenVINO.

The function takes images uint8 (N, 1, H, W) and returns log_probs float32 (N, T, C). Threads may
share it, and each batch it is given takes one thread: batches side by side are faster than threads
that wait for each other. A line alone has no batch beside it, so it may take two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from penname.cores import cores
from penname.errors import ModelError, OptionError
from penname.line_image import PAPER

if TYPE_CHECKING:
    from pathlib import Path

Network = Callable[[np.ndarray], np.ndarray]

RUNTIME = "onnxruntime"  # what reads unless another is asked for
ALONE = 2  # threads for a line alone, with which a name takes three quarters of the time
LINES = 16  # in a batch of OpenVINO's; of 8 it is 5 % slower, of 32 no faster


def load_network(file: Path, runtime: str = RUNTIME) -> Network:
    """Return the network in an ONNX file, run by a runtime of `RUNTIMES`.

    It is loaded when it is first run, and says then whether the file is damaged (`ModelError`).

    Raises:
        OptionError: when there is no such runtime, or it is not installed.
    """
    if runtime not in RUNTIMES:
        raise OptionError(f"there is no runtime {runtime!r}; choose {' or '.join(RUNTIMES)}")
    return RUNTIMES[runtime](file)


def _later(load: Callable[[], Network]) -> Network:
    """Return the network that `load` returns, loaded when it is first run."""
    loaded, loading = cache(load), Lock()

    def network(images: np.ndarray) -> np.ndarray:
        with loading:  # threads that come first together would each load it
            run = loaded()
        return run(images)

    return network


def _onnxruntime(file: Path) -> Network:
    """Return the network in ONNX Runtime, in a session for batches and one for lines alone."""
    together = _later(lambda: _session(file, 1))
    alone = _later(lambda: _session(file, min(ALONE, cores())))

    def network(images: np.ndarray) -> np.ndarray:
        return (alone if len(images) == 1 else together)(images)

    return network


def _session(file: Path, threads: int) -> Network:
    """Return the network in a session of ONNX Runtime's that takes so many threads."""
    session = open_session(file, threads)

    def network(images: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["log_probs"], {"images": images})[0])

    return network


def open_session(file: Path, threads: int) -> Any:
    """Return a session of ONNX Runtime's that takes so many threads.

    Raises:
        ModelError: when the file is damaged.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that wait for work take the processor from the search: a name took half as long again.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3  # errors; warnings would land on stderr
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen kinds, without a common base
        raise ModelError(f"{file}: {error}; export the model again") from error


def _openvino(file: Path) -> Network:
    """Return the network in OpenVINO, which with AMX computes 8-bit convolutions in half the time.

    It is compiled for batches of one line and of `LINES`, and a rest is filled up with paper: each
    new size of a batch would have to be prepared for, which takes as long as reading 30 lines, and
    with a size left open OpenVINO 2026.4 computes 8-bit networks wrongly.
    """
    core = _import_openvino().Core()
    alone = _of_size(core, file, 1, 1)  # a second stream doubles what a lone line takes
    together = _of_size(core, file, LINES, cores())

    def network(images: np.ndarray) -> np.ndarray:
        parts = []
        while len(images) >= LINES // 2:
            parts.append(together(images[:LINES]))
            images = images[LINES:]
        parts += [alone(images[i : i + 1]) for i in range(len(images))]
        return np.concatenate(parts)

    return network


def _import_openvino() -> Any:
    """Import OpenVINO, but not its telemetry, which would report the import over the network.

    Where that package cannot be imported, OpenVINO has a stub in its place which does nothing.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as documented
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise OptionError(
            "the runtime openvino is not installed: pip install '.[openvino]' in penname's folder"
        ) from error
    return openvino


def _of_size(core: Any, file: Path, lines: int, streams: int) -> Network:
    """Return the network for batches of at most `lines`, compiled when it is first run.

    It runs `streams` batches at a time, each on one thread. Precision is OpenVINO's choice: what is
    not in 8 bits runs in bf16 where the processor computes that itself, and in float32 elsewhere.
    """

    def compiled() -> Network:
        try:
            model = core.read_model(str(file))
            model.reshape([lines, *list(model.input().partial_shape)[1:]])
        except RuntimeError as error:
            raise ModelError(f"{file}: {error}; export the model again") from error
        options = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams}
        program = core.compile_model(model, "CPU", options)

        def network(images: np.ndarray) -> np.ndarray:
            batch = images
            if len(images) < lines:
                batch = np.full((lines, *images.shape[1:]), PAPER, np.uint8)
                batch[: len(images)] = images
            request = program.create_infer_request()
            return np.asarray(request.infer({"images": batch})["log_probs"][: len(images)])

        return network

    return _later(compiled)


RUNTIMES = {"onnxruntime": _onnxruntime, "openvino": _openvino}
