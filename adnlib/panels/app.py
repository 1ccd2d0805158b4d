"""The panels as a web page of Voila's, for their owner only: `python -m adnlib.panels.app NOTEBOOK`, or `make app`."""

import html
import multiprocessing
import tempfile
import threading
import webbrowser
from importlib.metadata import EntryPoint
from pathlib import Path

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from traitlets import Bool
from voila.app import Voila


class PanelServer(Voila):
    """Voila, which by default lets in every user of the machine, with a random token as JupyterLab has.

    The address with the token is printed and opened. Requests without the token or the cookie that it is exchanged for
    get a login page, and channels to a kernel are refused.
    """

    auto_token = Bool(True, help="Generate token automatically").tag(config=True)

    def init_settings(self) -> dict:
        """Forks kernels, which is cheap, and has one page ready for the next visitor.

        That page shows the runs that were finished when the visitor before it came. Windows cannot fork.
        """
        if "forkserver" in multiprocessing.get_all_start_methods():
            factory = KernelProvisionerFactory.instance(parent=self)
            entry = EntryPoint("forked", "adnlib.panels.server:ForkedKernel", factory.GROUP_NAME)
            factory.provisioners["forked"], factory.default_provisioner_name = entry, "forked"
            self.voila_configuration.preheat_kernel = True
        return super().init_settings()

    def init_handlers(self) -> list:
        self.voila_configuration.file_allowlist = []  # Voila would serve images beside the notebook without a token
        return super().init_handlers()

    def launch_browser(self) -> None:
        """Opens a file that leads to the address: in the list of processes, all users could read the token."""
        address = html.escape(f"{self.connection_url}?token={self.identity_provider.token}")
        with tempfile.NamedTemporaryFile("w", suffix=".html", delete=False) as page:  # which only its owner can read
            page.write(f'<meta http-equiv="refresh" content="0; url={address}">')
        threading.Thread(target=webbrowser.open, args=(Path(page.name).as_uri(),), daemon=True).start()


if __name__ == "__main__":
    # Otherwise, multiprocessing would import this module, and Voila with it, again in each forked kernel
    globals().update(__spec__=None, __file__=None)
    PanelServer.launch_instance()
