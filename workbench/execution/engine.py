"""The engine: runs a stage notebook through Papermill, and tells the truth about what ran.

`execute` is the one way in. Papermill injects the parameters and hands the notebook to the
engine "workbench"; nbclient talks to the kernel; this module decides. Papermill alone calls
these runs good, and this engine does not (`tests/notebooks/` has one notebook for each):

- the kernel dies, or a cell runs out of time: the running cell is `failed`, the rest `not run`
- `sys.exit(0)`, `exit()` or a skipping tag: a run counts when every code cell has completed
- a parameter is unknown, missing, of the wrong type or a secret: refused before a kernel starts
- a run never ends: there is a limit for each cell and one for the whole run

The saved notebook is evidence: this process writes it after the kernel is gone, never through a
path that the kernel could have bent, in the lasting form of `capture`. What is saved while the
run goes on is for the curious only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import capture
from .capture import CellRun, Execution
from .isolation import Sandbox, channel, kernel_manager
from .schema import Schema
from .stopping import on_signals

ENGINE = "workbench"
START_S = 60  # for a kernel to answer, a cold disk included
GRACE_S = 2.0  # for an interrupted cell to show where it was
OUTPUT_BYTES = 16 * 2**20  # of one cell; the rest is cut, visibly, or it would fill our memory
DRAIN_S = 300  # for outputs that a finished cell left on their way
AUTOSAVE_S = 30.0
OUTPUTS = ("stream", "display_data", "execute_result")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LOG = logging.getLogger("workbench.engine")
LOG.addHandler(logging.NullHandler())  # what went wrong is in the Execution, not on the terminal
LOG.propagate = False


@dataclass(frozen=True)
class Limits:
    """Time limits in seconds: of the whole run with the kernel's start, and of each cell."""

    run_s: float = 7200.0
    cell_s: float = 3600.0


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    sandbox: Sandbox,
    limits: Limits | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    on_event: Callable[..., None] | None = None,
) -> Execution:
    """Run `notebook` in `sandbox` and write the executed copy to `output`, whatever happens.

    `env` adds to the kernel's environment; `cwd` (default: the scratch folder) has to lie in the
    scratch folder. `on_event(kind, **facts)` is told of `run_started` (total), `cell_started`
    (number, total, index, title), `output` (index, text), `cell_finished` (number, total, index,
    status, seconds) and `run_finished` (outcome).

    A notebook that breaks is no exception: look at the outcome. Raises InputError when the
    notebook or the parameters are refused (no kernel has started then), RunError when the
    executed notebook cannot be saved.
    """
    source = capture.read_notebook(notebook)
    full = Schema.from_notebook(source).check(parameters or {})
    execution = Execution(parameters=full)
    sandbox.prepare()
    cwd = Path(cwd or sandbox.scratch)
    with capture.destination(Path(output)) as write:
        tell = on_event or (lambda kind, **facts: None)
        run = _Run(execution, sandbox, limits or Limits(), env, cwd, tell, write)
        _papermill(source, full, run)
        execution.finished = datetime.now(UTC)
        run.save()
    run.tell("run_finished", outcome=execution.outcome)
    return execution


def _papermill(source: Any, parameters: dict[str, Any], run: _Run) -> None:
    import papermill
    from papermill.engines import papermill_engines

    papermill_engines.register(ENGINE, _Engine)
    papermill.execute_notebook(
        source, None, parameters, engine_name=ENGINE, kernel_name="python3", language="python",
        progress_bar=False, workbench_run=run,
    )  # fmt: skip


class _Engine:
    """What Papermill asks of an engine. It gets no path to save to, and nothing back to judge."""

    @staticmethod
    def execute_notebook(nb: Any, kernel_name: str, *, workbench_run: _Run, **_: Any) -> Any:
        import nbformat

        workbench_run.start(nb)
        return nbformat.v4.new_notebook()

    @staticmethod
    def nb_kernel_name(nb: Any, name: str | None = None) -> str:
        return "python3"

    @staticmethod
    def nb_language(nb: Any, language: str | None = None) -> str:
        return "python"


@dataclass
class _Run:
    """One notebook on its way through one kernel."""

    execution: Execution
    sandbox: Sandbox
    limits: Limits
    env: dict[str, str] | None
    cwd: Path
    tell: Callable[..., None]
    write: Callable[[Any], None]
    nb: Any = None
    manager: Any = None
    client: Any = None
    current: CellRun | None = None
    abort: tuple[str, str, str] | None = None
    patience: float = 0.0
    heard: set[str] = field(default_factory=set)  # requests whose cell is done
    hearing: str = ""  # the request whose cell runs
    output_bytes: int = 0
    chatter: int = 0  # bytes that the kernel logged while it started well
    saved_at: float = field(default_factory=time.monotonic)

    def start(self, nb: Any) -> None:
        """Run all cells and end the kernel. Never raises for what a notebook does."""
        self.nb = nb
        for index, cell in enumerate(nb.cells):
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
                if "injected-parameters" in cell.metadata.get("tags", []):
                    cell.id = "injected-parameters"
                self.execution.cells.append(CellRun(index, cell.id))
        self.tell("run_started", total=len(self.execution.cells))
        _block_on(self._supervise)

    def save(self) -> None:
        statuses = {cell.index: cell.status for cell in self.execution.cells}
        facts = {"parameters": self.execution.parameters, "outcome": self.execution.outcome}
        self.execution.notebook = capture.lasting(self.nb, statuses, facts, self.sandbox.labels())
        self.write(self.execution.notebook)
        self.saved_at = time.monotonic()

    async def _supervise(self) -> None:
        with channel() as folder, tempfile.TemporaryFile() as log:
            self.manager = kernel_manager(self.sandbox, self.cwd, folder, LOG)
            self.client = _client(self)
            work = asyncio.ensure_future(self._work(log))
            late = f"the run took longer than {self.limits.run_s:g} s"
            timer = asyncio.get_running_loop().call_later(
                self.limits.run_s, self._stop, work, "timed_out", "RunTimeout", late
            )
            with on_signals(lambda: self._stop(work, "interrupted", "Interrupted", "by a person")):
                try:
                    await work
                except (Exception, asyncio.CancelledError) as error:
                    await self._explain(error, log)
                finally:
                    timer.cancel()
                    await self._end_kernel()
        if self.execution.outcome == "running":
            completed = all(cell.status == "completed" for cell in self.execution.cells)
            self.execution.outcome = "succeeded" if completed else "incomplete"
            if self.abort:  # asked to stop while the kernel was on its way out
                self._fail(*self.abort)

    async def _work(self, log: Any) -> None:
        client = self.client
        await self.manager.start_kernel(
            env=self.sandbox.environment(self.env),
            cwd=str(self.cwd),
            stdout=log,
            stderr=log,
            independent=True,  # no JPY_PARENT_PID: the sandbox ends the kernel when we die
        )
        client.kc = self.manager.client()
        client.kc.start_channels()
        await client.kc.wait_for_ready(timeout=START_S)
        client.kc.allow_stdin = False
        self.chatter = log.seek(0, os.SEEK_END)
        info = await client.async_wait_for_reply(client.kc.kernel_info())
        self.nb.metadata["language_info"] = info["content"]["language_info"]
        for number, run in enumerate(self.execution.cells, 1):
            await self._cell(number, run)
        client.set_widgets_metadata()

    async def _cell(self, number: int, run: CellRun) -> None:
        facts = {"number": number, "total": len(self.execution.cells), "index": run.index}
        self.tell("cell_started", **facts, title=capture.title_above(self.nb.cells, run.index))
        self.current, self.output_bytes, begun = run, 0, time.monotonic()
        run.status = "failed"  # until it has completed
        try:
            await self.client.async_execute_cell(self.nb.cells[run.index], run.index)
            run.status, self.current = "completed", None
            self.heard.add(self.hearing)
        finally:
            run.seconds = round(time.monotonic() - begun, 3)
            self.tell("cell_finished", **facts, status=run.status, seconds=run.seconds)

    def _stop(self, work: asyncio.Future[None], outcome: str, ename: str, evalue: str) -> None:
        """End the run for a reason of ours. Asked a second time, do not wait for the cell."""
        self.patience = 0.0
        if self.abort is None:
            self.abort = (outcome, ename, evalue)
            work.cancel()

    # ---- what went wrong ------------------------------------------------------------------------

    async def _explain(self, error: BaseException, log: Any) -> None:
        """Turn what stopped the run into an outcome and an error, and keep the last outputs."""
        from nbclient.exceptions import CellExecutionError, CellTimeoutError

        if self.abort is None and isinstance(error, CellExecutionError):
            left = error.ename == "SystemExit" and error.evalue in ("", "0", "None")
            return self._fail("incomplete" if left else "failed", error.ename, error.evalue)
        alive = await self.manager.is_alive()
        await self._collect(interrupt=alive)
        if self.abort:
            return self._fail(*self.abort)
        spent = self.current.seconds if self.current else 0.0
        if isinstance(error, CellTimeoutError) and spent >= self.limits.cell_s:
            late = f"the cell took longer than {self.limits.cell_s:g} s"
            return self._fail("timed_out", "CellTimeout", late)
        if alive:
            return self._fail("failed", "EngineError", f"{type(error).__name__}: {error}")
        code = await self.manager.provisioner.poll() if self.manager.provisioner else None
        if self.current and self.nb.cells[self.current.index].execution_count is None:
            self.current.status, self.current.seconds = "not run", None  # it found no kernel
        log.seek(max(self.chatter, log.seek(0, os.SEEK_END) - 4000))
        last_words = log.read().decode(errors="replace").splitlines()
        outcome, reason = ("incomplete", "ended itself") if code == 0 else ("died", _reason(code))
        self._fail(outcome, "KernelDied", f"the kernel {reason}", last_words)

    def _fail(self, outcome: str, ename: str, evalue: str, traceback: list[str] | None = None):
        """Record the error, and show it in the cell unless the cell shows its own."""
        import nbformat

        self.execution.outcome = outcome
        traceback, index = traceback or [], self.current.index if self.current else None
        if index is not None:
            outputs = self.nb.cells[index].outputs
            shown = [output for output in outputs if output.output_type == "error"]
            traceback = shown[-1].traceback if shown else traceback
            if not shown or shown[-1].ename != ename:
                facts = {"ename": ename, "evalue": evalue, "traceback": [f"{ename}: {evalue}"]}
                outputs.append(nbformat.v4.new_output("error", **facts))
        lines = COLOURS.sub("", "\n".join(traceback)).splitlines()
        error = {"cell": index, "ename": ename, "evalue": evalue, "traceback": lines}
        self.execution.error = capture.labelled(error, self.sandbox.labels())

    async def _collect(self, interrupt: bool) -> None:
        """Outputs of the running cell that are still on their way; an interrupt asks for more."""
        from nbclient.exceptions import CellExecutionComplete

        client, current = self.client, self.current
        if client.kc is None or current is None:
            return
        self.patience = time.monotonic() + GRACE_S
        # Any message may be malformed on purpose; none may stop us from ending the kernel.
        with suppress(CellExecutionComplete, Exception):
            if interrupt:
                await self.manager.interrupt_kernel()
            quiet = 0.0
            while time.monotonic() < self.patience and (interrupt or quiet < 0.3):
                if not await client.kc.iopub_channel.socket.poll(100):
                    quiet += 0.1
                    continue
                message = await client.kc.iopub_channel.get_msg(timeout=0.1)
                request = message["parent_header"]
                if request["msg_type"] == "execute_request" and request["msg_id"] not in self.heard:
                    client.process_message(message, self.nb.cells[current.index], current.index)

    async def _end_kernel(self) -> None:
        """Leave no process behind: politely after a good run, at once after any other."""
        km = self.manager
        if not km.has_kernel:
            return
        if self.client.kc is not None:
            self.client.kc.stop_channels()
        if self.execution.outcome == "running":
            await km.shutdown_kernel()  # asks, waits, insists
            return
        with suppress(OSError):
            await km.signal_kernel(signal.SIGTERM)  # the sandbox ends everything in it
        for _ in range(60):
            if not await km.is_alive():
                break
            await asyncio.sleep(0.05)
        await km.shutdown_kernel(now=True)

    def heed(self, message: dict[str, Any], outputs: list[Any]) -> bool:
        """Note a message of the running cell; False when its output is to be cut."""
        import nbformat

        self.hearing = message["parent_header"].get("msg_id", "")
        kind, content = message["msg_type"], message["content"]
        if kind not in OUTPUTS:
            return True
        before = self.output_bytes
        self.output_bytes += len(content["text"]) if kind == "stream" else len(str(content["data"]))
        if self.output_bytes > OUTPUT_BYTES >= before:
            note = f"[cut by the engine: more than {OUTPUT_BYTES} bytes of output]\n"
            outputs.append(nbformat.v4.new_output("stream", name="stderr", text=note))
        if kind == "stream" and self.current:
            self.tell("output", index=self.current.index, text=content["text"])
        if time.monotonic() - self.saved_at > AUTOSAVE_S:
            self.save()
        return self.output_bytes <= OUTPUT_BYTES


def _client(run: _Run) -> Any:
    """An nbclient that shows every message of a running cell to the run first."""
    from nbclient import NotebookClient

    class Client(NotebookClient):
        def process_message(self, msg, cell, cell_index):
            if run.heed(msg, cell.outputs):
                return super().process_message(msg, cell, cell_index)

    return Client(
        run.nb,
        km=run.manager,
        timeout_func=lambda cell: run.limits.cell_s,  # `timeout` takes whole seconds only
        iopub_timeout=DRAIN_S,
        raise_on_iopub_timeout=True,
        coalesce_streams=True,
        record_timing=False,
        skip_cells_with_tag="",
        log=LOG,
    )


def _block_on(work: Callable[[], Any]) -> None:
    """Run a coroutine function to its end, also where a loop runs already (inside Jupyter)."""
    if not _in_loop():
        asyncio.run(work())
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work())).result()


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _reason(code: int | None) -> str:
    number = -code if code and code < 0 else (code or 0) - 128
    with suppress(ValueError):
        name = signal.Signals(number).name
        memory = " (often the end of memory)" if name == "SIGKILL" else ""
        return f"was ended by {name}{memory}"
    return f"ended with exit code {code}"
