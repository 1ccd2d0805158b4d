"""JupyterHub for a class on one machine: `make class`. README.md beside this file explains it."""

import os
import sys
from pathlib import Path

from adnlib.system.folders import ROOT, home

sys.path.insert(0, str(ROOT / "deploy"))
from classroom import ClassSpawner, TokenAuthenticator, closed_folder, read_tokens

CLASS = Path(os.environ.get("ADN_CLASS", ROOT / "class")).resolve()  # users' folders, tokens, the hub's own files
ADDRESS = os.environ.get("ADN_CLASS_ADDRESS", "http://127.0.0.1:8000")
HUB = CLASS / "hub"
PYTHON = Path(sys.executable)

if os.geteuid() != 0:
    sys.exit("make class needs root, to give each user a Unix id of their own: sudo make class, or deploy/Dockerfile.")
if closed := closed_folder(PYTHON.parent, PYTHON.resolve().parent, ROOT, home(), CLASS.parent):
    sys.exit(f"Other users cannot enter {closed}: clone into a folder such as /srv, and set ADN_HOME to one beside it.")
HUB.mkdir(parents=True, exist_ok=True)
HUB.chmod(0o700)
users = read_tokens(HUB / "tokens.csv", int(os.environ.get("ADN_CLASS_USERS", 20)))

c = get_config()  # noqa: F821, a function that JupyterHub defines
c.JupyterHub.bind_url = ADDRESS
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.db_url = f"sqlite:///{HUB / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(HUB / "cookie_secret")
c.JupyterHub.authenticator_class = TokenAuthenticator
c.JupyterHub.spawner_class = ClassSpawner
c.TokenAuthenticator.tokens = {name: token for name, (token, _) in users.items()}
c.TokenAuthenticator.allowed_users = set(users)
c.ConfigurableHTTPProxy.command = [
    str(PYTHON.with_name("configurable-http-proxy")),
    "--proxy-timeout=3600000",  # ms: a page waits for the start of a server
]
c.ConfigurableHTTPProxy.pid_file = str(HUB / "proxy.pid")
c.ClassSpawner.uids = {name: uid for name, (_, uid) in users.items()}
c.ClassSpawner.process_mib = int(os.environ.get("ADN_CLASS_MIB", 3072))
c.ClassSpawner.home_dir_template = str(CLASS / "users" / "{username}")
c.ClassSpawner.cmd = [str(PYTHON), "-m", "jupyterhub.singleuser"]
c.ClassSpawner.args = [
    "--MappingKernelManager.cull_idle_timeout=3600",  # s
    "--ServerApp.shutdown_no_activity_timeout=14400",
    "--LanguageServerManager.autodetect=False",  # a language server would cost every user 200 MiB
]
c.ClassSpawner.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.ClassSpawner.start_timeout = c.ClassSpawner.http_timeout = 180  # s: all servers may start at the same time
c.ClassSpawner.environment = {
    "ADN_HOME": lambda spawner: f"{spawner.home_dir}/.adn",
    "OMP_NUM_THREADS": "1",  # users who each take all cores would wait for each other
    "PATH": f"{PYTHON.parent}:{os.environ['PATH']}",
}
print(f"tokens     {HUB / 'tokens.csv'} ({len(users)} users: name, token, user id)\naddress    {ADDRESS}")
