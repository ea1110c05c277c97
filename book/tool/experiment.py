"""Run a chapter's experiment: every variant with every seed, side by side, resumably, into one committed file."""

from __future__ import annotations

import importlib
import inspect
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from book.tool import modules, stamp
from book.tool.chapters import BookError, ChapterFailed, within, write_atomically
from book.tool.machine import check_preset, cores, kernel_environment

Run = tuple[str, int]
"""A variant and a seed."""


def run_experiment(
    root: Path,
    name: str,
    *,
    preset: str = "laptop",
    jobs: int | None = None,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] | None = None,
    partial: bool = False,
    older: bool = False,
    force: bool = False,
) -> Path:
    """Run what is missing of an experiment and store its results.

    Each finished run is saved at once, so an interrupted experiment goes on where it stopped; a saved run is used only
    as long as every module that it imported is unchanged. A script whose ``run`` has a fourth parameter, ``folder``,
    gets a folder for the run's checkpoints there, which stays until the run is finished.

    Args:
        root: the repository.
        name: the chapter's number or name.
        preset: ``"laptop"`` or ``"gpu"``.
        jobs: how many runs side by side; default: as many as there are cores.
        seeds: seeds to run instead of the script's own. With fewer than those the results are not stored beside the
            chapter but under ``_build``.
        variants: the variants to run instead of all; results are stored as with fewer seeds.
        partial: store beside the chapter what there is, although runs are missing; the entry ``"missing"`` names them.
        older: use finished runs although modules that they imported have changed since.
        force: run again what is already there.

    Returns:
        The file with the results.

    Raises:
        BookError: bad input, or a script that cannot be imported.
        ChapterFailed: a run failed; the finished ones are kept.
    """
    check_preset(preset)
    if jobs is not None and jobs < 1:
        raise BookError(f"--jobs must be at least 1, got {jobs}")
    if seeds and min(seeds) < 0:
        raise BookError(f"seeds must not be negative, got {min(seeds)}")
    script = find_script(root, name)
    module = load_script(root, script)
    own_seeds: list[int] = list(module.SEEDS)
    everything = [(variant, seed) for variant in module.VARIANTS for seed in own_seeds]
    wanted = list(dict.fromkeys(seeds)) if seeds else own_seeds
    runs = [(variant, seed) for variant in chosen_variants(module, variants) for seed in wanted]
    stored = root / "chapters" / "experiments" / "results" / f"{script.stem}.{preset}.json"
    saved = root / "_build" / "experiments" / f"{script.stem}.{preset}"
    known = list(dict.fromkeys(everything + runs))
    found = {} if force else load_saved(root, saved, known, older=older) | load_stored(root, stored, known, older=older)
    done = {run: found[run] for run in runs if run in found}
    missing = [run for run in runs if run not in done]
    print(f"{script.stem} ({preset}): {len(runs)} runs, {len(done)} already there, {len(missing)} to do")
    if not missing and set(done) == set(load_stored(root, stored, known, older=older)):
        print(f"{stored.relative_to(root).as_posix()} is up to date.")
        return stored
    if missing:
        jobs = min(jobs or cores(), len(missing))
        done |= run_missing(root, script.stem, missing, saved, preset=preset, jobs=jobs)
    command = f"python -m book experiment {script.stem.partition('_')[0]} --preset {preset}"
    if wanted != own_seeds:
        command += " --seeds " + " ".join(map(str, wanted))
    done |= {run: found[run] for run in everything if run in found and run not in done}
    absent = [run for run in everything if run not in done]
    path, shown = stored, [run for run in known if run in done]
    if absent and not partial:
        path = root / "_build" / "experiments" / f"{script.stem}.{preset}.json"
        shown = runs
        print("Fewer runs than the script asks for: the results beside the chapter stay as they are.")
    results = collect(script.stem, preset, wanted, command, [done[run] for run in shown])
    if absent and partial:
        results["missing"] = [{"variant": variant, "seed": seed} for variant, seed in absent]
        print(f"{len(absent)} of {len(everything)} runs are missing; the same command goes on with them.")
    write_atomically(path, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(f"Results: {path.relative_to(root).as_posix()}")
    return path


def find_script(root: Path, name: str) -> Path:
    """The script of an experiment, by the chapter's number, name or path."""
    folder = root / "chapters" / "experiments"
    known = sorted(path for path in folder.glob("[0-9A]*_*.py"))
    stem = Path(name).name.removesuffix(".py")
    found = [path for path in known if stem in (path.stem, path.stem.partition("_")[0])]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(path.stem for path in known) or "none yet"
    if found:
        raise BookError(f"{name!r} names several experiments: {', '.join(path.stem for path in found)}")
    raise BookError(f"there is no experiment {name!r}. Experiments: {listed}")


def load_script(root: Path, script: Path) -> ModuleType:
    """Import the script as chapters do, and see that it keeps its contract."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    shown = script.relative_to(root).as_posix()
    try:
        module = importlib.import_module(f"plm_chapters.experiments.{script.stem}")
    except Exception as error:
        raise BookError(f"{shown} cannot be imported: {describe(error)}") from error
    if within(root, str(module.__file__)) is None:
        raise BookError(
            f"{script.stem} was imported from {module.__file__}, not from this repository: "
            f"install it with `pip install -e {root}`"
        )
    missing = [each for each in ("VARIANTS", "SEEDS", "run") if not hasattr(module, each)]
    if missing or not module.VARIANTS or not module.SEEDS:
        raise BookError(f"{shown} must define VARIANTS (names), SEEDS (numbers) and run(variant, seed, preset)")
    return module


def chosen_variants(module: ModuleType, wanted: Sequence[str] | None) -> list[str]:
    """The variants to run, in the script's order.

    Raises:
        BookError: a variant that the script does not have.
    """
    names: list[str] = list(module.VARIANTS)
    unknown = [name for name in wanted or () if name not in names]
    if unknown:
        raise BookError(f"there is no variant {unknown[0]!r}. Variants: {', '.join(map(repr, names))}")
    return [name for name in names if not wanted or name in wanted]


def saved_path(folder: Path, run: Run) -> Path:
    """Where a finished run is kept."""
    variant, seed = run
    return folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', variant)}-{stamp.text_hash(variant)[:6]}.seed{seed}.json"


def load_saved(root: Path, folder: Path, runs: Iterable[Run], *, older: bool = False) -> dict[Run, dict[str, Any]]:
    """The finished runs whose modules are unchanged, or all with ``older``."""
    done = {}
    discarded: dict[str, int] = {}
    for run in runs:
        try:
            record = json.loads(saved_path(folder, run).read_text(encoding="utf-8"))
            changed = [] if older else modules.changed_modules(root, record["library"])
        except (OSError, ValueError, KeyError):
            continue
        for reason in changed:
            discarded[reason] = discarded.get(reason, 0) + 1
        if not changed:
            done[run] = record
    for reason, count in discarded.items():
        print(f"{count} saved run{'s' * (count != 1)} set aside: {reason}")
    return done


def load_stored(root: Path, path: Path, runs: Iterable[Run], *, older: bool = False) -> dict[Run, dict[str, Any]]:
    """The runs in the stored results, if every module behind them is unchanged, or in any case with ``older``."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if not older and modules.changed_modules(root, results["library"]):
            return {}
        common = {key: results[key] for key in ("library", "device", "versions")}
        records = {}
        for each in results["runs"]:
            result = {key: value for key, value in each.items() if key not in ("variant", "seed", "seconds")}
            own = {key: each[key] for key in ("variant", "seed", "seconds")}
            records[each["variant"], each["seed"]] = own | {"result": result} | common
    except (OSError, ValueError, KeyError):
        return {}
    return {run: records[run] for run in runs if run in records}


def run_missing(
    root: Path, name: str, missing: list[Run], folder: Path, *, preset: str, jobs: int
) -> dict[Run, dict[str, Any]]:
    """Run side by side in processes of their own, save each result as it arrives, and return them."""
    environment = kernel_environment(root, threads=max(1, cores() // jobs), preset=preset)
    before = dict(os.environ)
    os.environ.update(environment)  # inherited by the processes, which must see it before they import torch
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    done: dict[Run, dict[str, Any]] = {}
    failures = []
    try:
        futures: dict[Future[dict[str, Any]], Run] = {
            pool.submit(one_run, str(root), name, run, preset, saved_path(folder, run).with_suffix("")): run
            for run in missing
        }
        with tqdm(total=len(missing), desc=name, unit="run", disable=None) as bar:
            for count, future in enumerate(as_completed(futures), 1):
                variant, seed = futures[future]
                try:
                    record = future.result()
                except BrokenProcessPool:
                    record = {"error": "the process died, perhaps for want of memory"}
                if "error" in record:
                    failures.append(f"{variant}, seed {seed}: {record['error']}")
                else:
                    write_atomically(saved_path(folder, (variant, seed)), json.dumps(record))
                    shutil.rmtree(saved_path(folder, (variant, seed)).with_suffix(""), ignore_errors=True)
                    done[variant, seed] = record
                bar.update()
                bar.set_postfix_str(f"{variant}, seed {seed}")
                if bar.disable:
                    print(f"{name}: {count} of {len(missing)}: {variant}, seed {seed}", flush=True)
    except KeyboardInterrupt:
        print("\ninterrupted: finished runs are kept, the same command goes on", file=sys.stderr)
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        os.environ.clear()
        os.environ.update(before)
    if failures:
        raise ChapterFailed(
            f"{len(failures)} of {len(missing)} runs failed (the others are kept):\n" + "\n".join(failures)
        )
    return done


def describe(error: BaseException) -> str:
    """An error in one line, with the place where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def one_run(root: str, name: str, run: Run, preset: str, folder: Path) -> dict[str, Any]:
    """One variant with one seed, in this process: its results and what they depend on, or ``error``.

    Args:
        root: the repository.
        name: the stem of the script.
        run: the variant and the seed.
        preset: ``"laptop"`` or ``"gpu"``.
        folder: where the run may keep its checkpoints, if it wants to.
    """
    variant, seed = run
    if root not in sys.path:
        sys.path.insert(0, root)
    module = importlib.import_module(f"plm_chapters.experiments.{name}")
    start = time.perf_counter()
    try:
        keeps = len(inspect.signature(module.run).parameters) > 3
        result = module.run(variant, seed, preset, folder) if keeps else module.run(variant, seed, preset)
        if not isinstance(result, dict):
            raise TypeError(f"run() must return a dict, got {type(result).__name__}")
        json.dumps(result)  # a result that cannot be stored should fail here, by name
    except Exception as error:
        return {"error": describe(error)}
    seconds = time.perf_counter() - start
    from plm_core.runtime import device_name, resolve_device

    library = {
        each: modules.module_hash(Path(str(loaded.__file__)))
        for each, loaded in sorted(sys.modules.items())
        if each.partition(".")[0] in modules.PACKAGES and getattr(loaded, "__file__", None)
    }
    return {
        "variant": variant,
        "seed": seed,
        "seconds": round(seconds, 2),
        "result": result,
        "library": library,
        "device": device_name(resolve_device()),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    import platform
    from importlib.metadata import version

    return {"python": platform.python_version()} | {name: version(name) for name in ("torch", "numpy")}


def collect(name: str, preset: str, seeds: list[int], command: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the records of all runs together in the form in which they are stored."""
    library: dict[str, str] = {}
    for record in records:
        library |= record["library"]
    return {
        "experiment": name,
        "command": command,
        "preset": preset,
        "seeds": seeds,
        "device": "; ".join(sorted({record["device"] for record in records})),
        "versions": records[-1]["versions"],
        "library": dict(sorted(library.items())),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(sum(record["seconds"] for record in records), 1),
        "runs": [
            {"variant": record["variant"], "seed": record["seed"], "seconds": record["seconds"]} | record["result"]
            for record in records
        ],
    }
