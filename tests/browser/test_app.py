"""The page of `make app` from the first byte to its end, in a real Chromium."""

import time
from urllib.parse import urlparse

import npm_packages
import pytest
from driving import CONTROLS, STARTING, Page, serve


def kernels(project, address: str) -> int:
    """Kernels that run now, from the server's log; one of them is prepared for the next visitor."""
    log = (project / f"voila-{urlparse(address).port}.log").read_text()
    return log.count("Kernel started: ") - log.count("Kernel shutdown: ")


def test_the_text_is_there_before_the_panels_and_the_links_lead_to_lessons(browser, voila):
    page = browser.new_page(java_script_enabled=False)
    page.goto(voila.address, timeout=1000 * STARTING)
    assert page.locator("main:visible h2").count() >= len(CONTROLS)
    assert page.locator("main >> text=This panel is being prepared >> visible=true").count() == len(CONTROLS)
    links = page.locator("main:visible a[href$=ipynb]")
    assert links.count() >= 4
    for address in links.evaluate_all("links => links.map(link => link.href)"):
        answer = page.request.get(address)
        assert answer.status == 200 and "<h1" in answer.text()
    page.close()


def test_axe_finds_no_serious_violation(voila):
    assert not voila.page.locator(".adn-scoreexplorer .adn-dots").is_visible()  # nobody has asked for the map
    if not npm_packages.archive("axe-core").exists():
        pytest.skip("axe-core is not here: .venv/bin/python site/npm_packages.py fetches it")
    voila.page.evaluate(npm_packages.content("axe-core", "axe.min.js").decode() + "; 0")
    result = voila.page.evaluate("axe.run().then(result => result.violations)")
    serious = [v for v in result if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [node["html"][:200] for node in v["nodes"][:3]]) for v in serious] == []
    assert voila.page.locator("main").count() == 1


def test_names_and_values_are_those_that_a_person_would_say(voila):
    page = voila.page
    handle = voila.control("gateexplorer", "value").locator("[role=slider]")
    assert handle.get_attribute("aria-label") == "force to (0 off, 1 open)"
    voila.changes("gateexplorer", lambda: handle.press("End"))
    voila.wait_until(lambda: handle.get_attribute("aria-valuetext") == "1.00", "the value is that of the readout")
    ends = voila.control("gateexplorer", "ranks").locator("[role=slider]")
    assert [end.get_attribute("aria-label") for end in ends.all()] == ["gates (rank), from", "gates (rank), to"]
    pressed = page.locator(".adn-gateexplorer .adn-place button[aria-pressed=true]")
    assert pressed.count() == 1
    other = page.locator(".adn-gateexplorer .adn-place button[aria-pressed=false]").first
    name = other.inner_text()
    before = page.locator(".adn-gateexplorer img").first.get_attribute("alt")
    voila.changes("gateexplorer", other.click)
    voila.wait_until(lambda: pressed.inner_text() == name, "the other button is pressed")
    alt = page.locator(".adn-gateexplorer img").first
    voila.wait_until(lambda: name in alt.get_attribute("alt") != before, "the alternative text follows the picture")


def test_a_panel_whose_kernel_or_server_has_ended_says_so(browser, project):
    options = ["10_explore.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", "--template=explore"]
    for address in serve("voila", options, project):
        first, second = (Page(browser, "voila") for _ in range(2))
        for one in (first, second):
            one.page.goto(address, timeout=1000 * STARTING)
            one.wait_for_panels()
            assert one.page.locator(".adn-gone").count() == 0
        kernel = first.page.evaluate("JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId")
        assert first.page.request.post(f"{address.split('?')[0]}voila/api/shutdown/{kernel}").status == 204
        first.page.wait_for_selector(".adn-runbrowser > .adn-gone", timeout=60_000)
        assert second.page.locator(".adn-gone").count() == 0
    for one in (first, second):
        notes = one.page.locator(".adn-panel > .adn-gone")
        one.wait_until(lambda notes=notes: notes.count() == len(CONTROLS), "every panel says so")
        assert "Reload the page" in one.page.locator(".adn-gone").first.inner_text()
        assert one.page.locator(".adn-gone[role=alert]").count() == 1
        assert one.page.evaluate("!!document.querySelector('.adn-viewexplorer select').closest('[inert]')")
        one.page.close()


def end_kernel(page, address: str) -> None:
    kernel = page.evaluate("JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId")
    assert page.request.post(f"{address.split('?')[0]}voila/api/shutdown/{kernel}").status == 204


@pytest.mark.parametrize("ended", ["kernel", "server"])
def test_a_page_without_panels_says_that_its_kernel_has_ended(browser, project, ended):
    options = ["10_explore.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", "--template=explore"]
    for address in serve("voila", options, project):
        page = browser.new_page()
        page.route_web_socket("**/channels*", lambda _: None)  # no panel arrives
        page.goto(address, timeout=1000 * STARTING)
        page.wait_for_selector("#loading", state="detached")
        waiting = page.locator(".adn-wait >> visible=true")
        assert waiting.all_inner_texts() == ["This panel is being prepared."] * len(CONTROLS)
        if ended == "kernel":
            with page.expect_navigation(timeout=60_000):  # the first time, the page reloads itself
                end_kernel(page, address)
            page.wait_for_selector("#loading", state="detached")
            end_kernel(page, address)
            page.wait_for_selector("text=no panel will appear here", timeout=60_000)
    page.wait_for_selector("text=no panel will appear here", timeout=60_000)
    assert waiting.locator("button", has_text="Reload the page").count() == len(CONTROLS)
    assert page.locator(".adn-wait[role=alert]").count() == 1
    page.close()


def test_a_choice_is_in_the_address_which_opens_the_page_with_it_and_images_can_be_saved(browser, voila):
    page = voila.page
    voila.settled("gateexplorer")
    with voila.page.expect_download() as saved:
        page.locator(".adn-gateexplorer .adn-saves a").first.click()
    assert saved.value.suggested_filename == "GateExplorer-1.png"

    def number(one, panel):
        return one.control(panel, "image").locator(".widget-readout").inner_text()

    for words in ("the worst miss", "far from the threshold"):
        page.locator(f".adn-viewexplorer button:has-text('{words}')").click()
        voila.settled("viewexplorer")
    voila.wait_until(lambda: number(voila, "gateexplorer") == number(voila, "viewexplorer"), "the choice is shared")

    def chosen() -> str:
        return page.evaluate("location.hash")

    voila.wait_until(lambda: chosen().startswith("#image=spot/"), "the address names a folder and a file")
    other = Page(browser, "voila")
    other.page.goto(f"{voila.address}{chosen()}", timeout=1000 * STARTING)
    other.wait_for_panels()
    for panel in ("gateexplorer", "viewexplorer"):
        other.wait_until(lambda panel=panel: number(other, panel) == number(voila, panel), "a shared address opens it")
    other.page.close()


def test_ten_visits_with_reloads_leave_only_the_prepared_kernel(browser, voila, project):
    before = kernels(project, voila.address)
    for _ in range(5):
        page = browser.new_page()
        page.goto(voila.address, timeout=1000 * STARTING, wait_until="commit")
        page.wait_for_timeout(500)  # gone before its panels
        page.reload(timeout=1000 * STARTING, wait_until="domcontentloaded")  # Chromium can ignore an earlier close
        page.close(run_before_unload=True)
    left = time.monotonic()
    while kernels(project, voila.address) > before:
        assert time.monotonic() - left < 60, f"{kernels(project, voila.address) - before} kernels have no page"
        time.sleep(1)
