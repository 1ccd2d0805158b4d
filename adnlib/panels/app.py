"""The panels as a web page of Voila's, for their owner only: `python -m adnlib.panels.app NOTEBOOK`, or `make app`."""

import html
import multiprocessing
import tempfile
import threading
import webbrowser
from importlib.metadata import EntryPoint
from pathlib import Path

import tornado.web
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_server.base.handlers import JupyterHandler
from traitlets import Bool
from voila.app import Voila
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler

from adnlib.panels.server import PageKernels, prepare


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
        self.voila_configuration.multi_kernel_manager_class = PageKernels
        if "forkserver" in multiprocessing.get_all_start_methods():
            prepare()
            factory = KernelProvisionerFactory.instance(parent=self)
            entry = EntryPoint("forked", "adnlib.panels.server:ForkedKernel", factory.GROUP_NAME)
            factory.provisioners["forked"], factory.default_provisioner_name = entry, "forked"
            self.voila_configuration.preheat_kernel = True
        return super().init_settings()

    def init_handlers(self) -> list:
        self.voila_configuration.file_allowlist = []  # Voila would serve images beside the notebook without a token
        panels = {"panels": Path(self.notebook_path).resolve()}
        own = [
            (rf"{self.server_url}voila/api/shutdown/(.*)", EndOfPage),
            (rf"{self.server_url}([\w.-]+\.(?:ipynb|md))", Lesson, panels),
        ]
        return own + super().init_handlers()

    def launch_browser(self) -> None:
        """Opens a file that leads to the address: in the list of processes, all users could read the token."""
        address = html.escape(f"{self.connection_url}?token={self.identity_provider.token}")
        with tempfile.NamedTemporaryFile("w", suffix=".html", delete=False) as page:  # which only its owner can read
            page.write(f'<meta http-equiv="refresh" content="0; url={address}">')
        threading.Thread(target=webbrowser.open, args=(Path(page.name).as_uri(),), daemon=True).start()


class EndOfPage(VoilaShutdownKernelHandler):
    """Ends the kernel of a page that is being closed.

    The page says so with a beacon, which cannot carry the token against forged requests. The cookie is still required,
    and no other site knows the random id of the kernel.
    """

    def check_xsrf_cookie(self) -> None:
        pass


class Lesson(JupyterHandler):
    """A notebook or text beside the panels' notebook, as a page to read; the panels' notebook is the first page."""

    def initialize(self, panels: Path) -> None:
        self.folder, self.panels = panels.parent, panels.name

    @tornado.web.authenticated
    def get(self, name: str) -> None:
        from adnlib.book.report import html_page, links_to, markdown_html, notebook_html  # not before the first page

        path = self.folder / name
        if not path.is_file():
            raise tornado.web.HTTPError(404)
        if path.suffix == ".md":
            title, body = path.stem, markdown_html(path.read_text(encoding="utf-8"), name)
        else:
            title, body = notebook_html(path)

        def beside(link: str) -> str | None:
            file = link.partition("#")[0]
            if file == self.panels:
                return self.base_url
            return link if "/" not in file and (self.folder / file).is_file() else None

        back = f'<nav aria-label="Pages"><a href="{self.base_url}">Back to the panels</a></nav>'
        self.finish(html_page(title, back, links_to(body, beside)))


if __name__ == "__main__":
    # Otherwise, multiprocessing would import this module, and Voila with it, again in each forked kernel
    globals().update(__spec__=None, __file__=None)
    PanelServer.launch_instance()
