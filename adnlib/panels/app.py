"""The panels as a web page of Voila's, for their owner only: `python -m adnlib.panels.app NOTEBOOK`, or `make app`."""

import html
import tempfile
import threading
import webbrowser
from pathlib import Path

from traitlets import Bool
from voila.app import Voila


class PanelServer(Voila):
    """Voila, which by default lets in every user of the machine, with a random token as JupyterLab has.

    The address with the token is printed and opened. Requests without the token or the cookie that it is exchanged for
    get a login page, and channels to a kernel are refused.
    """

    auto_token = Bool(True, help="Generate token automatically").tag(config=True)

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
    PanelServer.launch_instance()
