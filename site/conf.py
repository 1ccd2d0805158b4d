"""Settings of Sphinx. `make_site.py` writes the sources, and `facts.json` with what the pages say about themselves."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent  # the folder of sources, into which make_site.py copies this file
sys.path.insert(0, str(HERE))
FACTS = json.loads((HERE / "facts.json").read_text(encoding="utf-8"))

project = "AttentDifferNet"
html_title = "AttentDifferNet, step by step"
extensions = ["myst_nb", "sphinx.ext.autodoc", "docstrings"]
root_doc = "book"
language = "en-GB"
highlight_language = "none"  # of literal blocks in docstrings
exclude_patterns = []
templates_path = ["_templates"]

nb_execution_mode = "off"
nb_merge_streams = True  # a progress bar shows its last state
myst_heading_anchors = 3
myst_enable_extensions = []  # formulas are MathML already
suppress_warnings = ["mystnb.unknown_mime_type", "config.cache"]

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # those of other libraries are not ours
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries = False

html_theme = "sphinx_book_theme"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["extra"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_sidebars = {"**": ["navbar-logo.html", "search-button-field.html", "live.html", "sbt-sidebar-nav.html"]}
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_persistent": [],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "extra_footer": f"<p>{FACTS['made_from']}</p>",
}
