"""A kernel of the running interpreter that tells, after the run, what a chapter really used."""

from __future__ import annotations

import ast
import json
from typing import Any

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default


class _ThisInterpreter(KernelSpecManager):
    """Offers the running interpreter under every name, whatever kernels are registered on the machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class ChapterKernel(AsyncKernelManager):
    """A kernel manager whose kernels run the interpreter that runs this tool."""

    @default("kernel_spec_manager")
    def _this_interpreter(self) -> KernelSpecManager:
        return _ThisInterpreter(parent=self)


# Sent before the first cell: remember which files are opened, so that data of the library counts as well as its code.
WATCH = """
def __plm_watch():
    import os, sys
    opened = sys.__plm_opened = set()
    def watch(event, arguments):
        if event == "open" and isinstance(arguments[0], str):
            opened.add(os.path.abspath(arguments[0]))
    sys.addaudithook(watch)
__plm_watch()
del __plm_watch
"""

# Sent after the last cell. The modules are listed first, because the rest may import some more.
PROBE = """
def __plm_probe():
    import json, sys
    modules = {
        name: module.__file__ for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("plm_core", "plm_chapters") and getattr(module, "__file__", None)
    }
    opened = sorted(sys.__plm_opened)
    from importlib.metadata import PackageNotFoundError, version
    import os, platform
    def version_of(name):
        try:
            return version(name)
        except PackageNotFoundError:
            return None
    versions = {"python": platform.python_version()}
    versions |= {name: version_of(name) for name in ("torch", "numpy", "plm-core")}
    answer = {"modules": modules, "opened": opened, "versions": versions}
    from plm_core.runtime import Runtime, device_name, peak_memory_mib, resolve_device
    runtimes = [value for value in get_ipython().user_ns.values() if isinstance(value, Runtime)]
    if runtimes:
        runtime = runtimes[-1]
        answer |= {"device": device_name(runtime.device), "preset": runtime.preset, "precision": runtime.precision}
        answer["peak_memory_mib"] = peak_memory_mib(runtime.device)
    else:
        answer |= {"device": f"{platform.machine()} CPU", "preset": os.environ.get("PLM_PRESET") or "laptop"}
        answer |= {"precision": "fp32", "peak_memory_mib": peak_memory_mib()}
    return json.dumps(answer)
"""

# Sent after a cell failed: where the error arose, frame by frame.
FRAMES = """
def __plm_frames():
    import json, sys, traceback
    error = sys.last_value
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"]
    if isinstance(error, SyntaxError):
        frames.append(error.filename or "")
    return json.dumps(frames)
"""


async def watch(client: Any) -> None:
    """Start to remember which files the kernel behind a client (of jupyter_client) opens."""
    await client.execute(WATCH, silent=True, store_history=False, reply=True, timeout=60)


async def probe(client: Any) -> dict[str, Any]:
    """Ask the kernel behind a client what the chapter imported and opened, and on what it ran.

    Returns:
        ``modules`` (name: file), ``opened`` (absolute paths), ``versions``, ``device``, ``preset``, ``precision``
        and ``peak_memory_mib``.

    Raises:
        RuntimeError: the kernel could not answer.
    """
    answer: dict[str, Any] = await _ask(client, PROBE, "__plm_probe()")
    return answer


async def importing(client: Any) -> list[str]:
    """After a failed cell, the files whose import led to the error, outermost first."""
    files: list[str] = await _ask(client, FRAMES, "__plm_frames()")
    return files


async def _ask(client: Any, code: str, question: str) -> Any:
    """Run code silently and return what an expression, which gives JSON, says."""
    expressions = {"answer": question}
    reply = await client.execute(
        code, silent=True, store_history=False, user_expressions=expressions, reply=True, timeout=60
    )
    content = reply["content"]
    answer = content.get("user_expressions", {}).get("answer", content)
    if answer.get("status") != "ok":
        raise RuntimeError(f"the kernel could not answer: {answer.get('ename')}: {answer.get('evalue')}")
    return json.loads(ast.literal_eval(answer["data"]["text/plain"]))
