"""Several processes for one test, as torchrun would start them, without an interpreter's start for each."""

import io
import runpy
from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore

from tests import forked

RANKS = Path(__file__).with_name("ranks.py")


@pytest.fixture(scope="session")
def run_ranks():
    """Run a task of ``ranks.py`` in several processes; each one's outcome by rank.

    An outcome is ("returned", what the task returned), (an error's name, its message), or ("died", exit code).
    """
    context = forked.server()

    def run(task, *, size=2, strategy="ddp", **arguments):
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # the agent's part; any free port
        processes, answers = [], []
        for rank in range(size):
            receiving, sending = context.Pipe(duplex=False)
            environment = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
                "TORCHELASTIC_RESTART_COUNT": "0",
                "PLM_DEVICE": "cpu",
            }
            given = {
                "task": task,
                "environment": environment,
                "strategy": strategy,
                "arguments": arguments,
                "answer": sending,
            }
            process = context.Process(
                target=runpy.run_path, args=(str(RANKS),), kwargs={"init_globals": given, "run_name": "rank"}
            )
            process.start()
            sending.close()
            processes.append(process)
            answers.append(receiving)
        outcomes = []
        for process, answer in zip(processes, answers, strict=True):
            try:
                outcome = torch.load(io.BytesIO(answer.recv_bytes()), weights_only=False)
            except EOFError:
                outcome = None
            process.join()
            outcomes.append(outcome or ("died", process.exitcode))
        return outcomes

    return run


@pytest.fixture(scope="session")
def returned(run_ranks):
    """Run a task in several processes that must all succeed; what each returned, by rank."""

    def run(task, **options):
        outcomes = run_ranks(task, **options)
        assert all(kind == "returned" for kind, _ in outcomes), outcomes
        return [value for _, value in outcomes]

    return run
