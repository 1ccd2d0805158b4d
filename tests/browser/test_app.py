"""The page of `make app` from the first byte to its end, in a real Chromium."""

import time

from driving import CONTROLS, STARTING


def kernels(project) -> int:
    """Kernels that run now, from the server's log; one of them is prepared for the next visitor."""
    log = (project / "voila.log").read_text()
    return log.count("Kernel started: ") - log.count("Kernel shutdown: ")


def test_the_text_is_there_before_the_panels_and_the_links_lead_to_lessons(browser, voila):
    page = browser.new_page(java_script_enabled=False)
    page.goto(voila.address, timeout=1000 * STARTING)
    assert page.locator("main:visible h2").count() >= len(CONTROLS)
    assert page.locator("main:visible >> text=This panel is being prepared").count() == len(CONTROLS)
    links = page.locator("main:visible a[href$=ipynb]")
    assert links.count() >= 4
    for address in links.evaluate_all("links => links.map(link => link.href)"):
        answer = page.request.get(address)
        assert answer.status == 200 and "<h1" in answer.text()
    page.close()


def test_ten_visits_with_reloads_leave_only_the_prepared_kernel(browser, voila, project):
    before = kernels(project)
    for _ in range(5):
        page = browser.new_page()
        page.goto(voila.address, timeout=1000 * STARTING, wait_until="commit")
        page.wait_for_timeout(500)  # gone before its panels
        page.reload(timeout=1000 * STARTING, wait_until="commit")
        page.close(run_before_unload=True)
    left = time.monotonic()
    while kernels(project) > before:
        assert time.monotonic() - left < 60, f"{kernels(project) - before} kernels have no page"
        time.sleep(1)
