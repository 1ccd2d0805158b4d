"""What serves the panels quickly: a connection without send delay, and kernels forked from a prepared process."""

import asyncio
import gc
import multiprocessing
import os
import time
from datetime import UTC, datetime
from multiprocessing import forkserver
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

PANELS = ("flow_playground", "gate_explorer", "painter", "run_browser", "score_explorer", "view_explorer")
# Imported before the first fork. A process imports torch._dynamo with its first optimizer, which takes over a second.
PREPARED = ["ipykernel.kernelapp", "torch._dynamo", *(f"adnlib.panels.{name}" for name in PANELS)]


class NoDelay(ZMQChannelsWebsocketConnection):
    """The channel between page and kernel, without Nagle's algorithm (RFC 896).

    A kernel sends "busy" before it sends an image. By default, the server then holds the image back until the browser's
    machine has acknowledged "busy", and this acknowledgement can be delayed by about 40 ms.
    """

    def connect(self):
        self.websocket_handler.set_nodelay(True)
        return super().connect()


class PageKernels(AsyncMappingKernelManager):
    """Kernels of pages: each ends soon after its page, and after an hour in which nobody has used the page.

    A page that is closed says so, and its kernel ends immediately. This is for the others: a browser that has crashed,
    and a page that was requested but never shown.
    """

    alone, unused = 30, 3600  # seconds that a kernel may be idle without a page, and with one
    cull_idle_timeout, cull_interval, cull_connected = alone, 5, True

    def notify_disconnect(self, kernel_id: str) -> None:
        super().notify_disconnect(kernel_id)
        if kernel_id in self:
            self._count_from_now(kernel_id)  # the page may be connecting again

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """A kernel's idle time begins when it is handed out: at the first check that no longer finds it prepared.

        Ending other kernels can delay a check, so the time since the last check says nothing about the visitor's page.
        """
        kernel: Any = self.get_kernel(kernel_id)
        kept = getattr(kernel, "kept", False)
        kernel.kept = getattr(kernel.provisioner, "waiting", False) or self._is_prepared(kernel_id)
        if kernel.kept or kept:
            self._count_from_now(kernel_id)
            return
        self.cull_idle_timeout = self.unused if self._kernel_connections.get(kernel_id) else self.alone
        await super().cull_kernel_if_idle(kernel_id)

    def _is_prepared(self, kernel_id: str) -> bool:
        """Whether a kernel waits for the next visitor; Voila keeps those in pools, as tasks that prepare a page.

        A task that is not done has a busy kernel, which is not ended either.
        """
        tasks = [task for pool in getattr(self, "_pools", {}).values() for task in pool if task.done()]
        pages = [task.result() for task in tasks if not task.cancelled() and not task.exception()]
        return any(page["kernel_id"] == kernel_id for page in pages)

    def _count_from_now(self, kernel_id: str) -> None:
        kernel: Any = self.get_kernel(kernel_id)
        kernel.last_activity = datetime.now(UTC)


class ForkedKernel(LocalProvisioner):
    """A kernel that is forked from a process that has imported torch and the panels.

    It starts in a moment, and all kernels share the memory of what was imported. Only where processes can be forked.
    """

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Returns before the process has started: until the imports are done, a page can show its text."""
        prepare()
        context = multiprocessing.get_context("forkserver")
        options = cmd[cmd.index("-f") :]
        process = context.Process(target=run_kernel, args=(options, kwargs["cwd"], kwargs["env"]), daemon=True)
        self.process = _Popen(process)
        return self.connection_info

    @property
    def waiting(self) -> bool:
        """Whether the imports are not done yet."""
        return isinstance(self.process, _Popen) and not self.process.start.done()

    async def send_signal(self, signum: int) -> None:
        if self.process:
            await asyncio.to_thread(self.process.send_signal, signum)


def prepare() -> None:
    """Starts the process that kernels are forked from, and its imports; returns immediately."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a waiting thread leaves its core to the browser beside it
    forkserver.set_forkserver_preload(PREPARED)
    forkserver.ensure_running()


class _Popen:
    """A process that is forked in the background, with the methods of subprocess.Popen that LocalProvisioner calls."""

    stdin = stdout = stderr = None

    def __init__(self, process: Any):
        self.process = process
        self.start = asyncio.get_running_loop().run_in_executor(None, process.start)

    def poll(self) -> int | None:
        return self.process.exitcode if self.start.done() else None

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, signum: int) -> None:
        """To the kernel and all its processes, as soon as it has started."""
        while not self.start.done():
            time.sleep(0.05)
        os.killpg(self.process.pid, signum)


def run_kernel(options: list[str], folder: str, environment: dict[str, str]) -> None:
    """Runs a kernel in this process, in a session of its own; it ends with the process that it was forked from."""
    from ipykernel.kernelapp import IPKernelApp  # here, because the server itself needs no kernel

    gc.freeze()  # searched for garbage, the imported modules would stop a panel for a second and no longer be shared
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    IPKernelApp.launch_instance([*options, f"--IPKernelApp.parent_handle={os.getppid()}"])
