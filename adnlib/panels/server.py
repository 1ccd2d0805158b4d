"""What serves the panels quickly: a connection without send delay, and kernels forked from a prepared process."""

import asyncio
import multiprocessing
import os
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

PANELS = ("flow_playground", "gate_explorer", "painter", "run_browser", "score_explorer", "view_explorer")
PREPARED = ["ipykernel.kernelapp", *(f"adnlib.panels.{name}" for name in PANELS)]  # imported before the first fork


class NoDelay(ZMQChannelsWebsocketConnection):
    """The channel between page and kernel, without Nagle's algorithm (RFC 896).

    A kernel sends "busy" before it sends an image. By default, the server then holds the image back until the browser's
    machine has acknowledged "busy", and this acknowledgement can be delayed by about 40 ms.
    """

    def connect(self):
        self.websocket_handler.set_nodelay(True)
        return super().connect()


class ForkedKernel(LocalProvisioner):
    """A kernel that is forked from a process that has imported torch and the panels.

    It starts in a moment, and all kernels share the memory of what was imported. Only where processes can be forked.
    """

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PREPARED)  # pyright: ignore[reportAttributeAccessIssue]: missing in typeshed
        options = cmd[cmd.index("-f") :]
        process = context.Process(target=run_kernel, args=(options, kwargs["cwd"], kwargs["env"]), daemon=True)
        await asyncio.to_thread(process.start)
        self.process, self.pid, self.pgid = _Popen(process), process.pid, process.pid
        return self.connection_info


class _Popen:
    """A forked process with the methods of subprocess.Popen that LocalProvisioner calls."""

    stdin = stdout = stderr = None

    def __init__(self, process: Any):
        self.process = process

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, signum: int) -> None:
        os.kill(self.process.pid, signum)


def run_kernel(options: list[str], folder: str, environment: dict[str, str]) -> None:
    """Runs a kernel in this process, in a session of its own; it ends with the process that it was forked from."""
    from ipykernel.kernelapp import IPKernelApp  # here, because the server itself needs no kernel

    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    IPKernelApp.launch_instance([*options, f"--IPKernelApp.parent_handle={os.getppid()}"])
