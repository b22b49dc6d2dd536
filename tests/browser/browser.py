"""Headless Chromium, and what of it the tests look at."""
import base64
import json
import os
import pathlib
import signal

import urllib3
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.support.ui import WebDriverWait

TOP = pathlib.Path(__file__).resolve().parents[2]
AXE = TOP / "collector" / "report" / "node_modules" / "axe-core" / "axe.min.js"
# Where screenshots go: beside the results, never into the repository.
SHOTS = pathlib.Path(os.environ.get("RESULTS", "/nonexistent")) / "screenshots"
ANSWER_S = 150  # an answer of the browser takes no longer; more than a script may take, and a page


def descendants(pid):
    children = [int(word) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text(encoding="ascii").split()]
    return children + [below for child in children for below in descendants(child)]


class Browser:
    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def start(self):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        # The last: of a window that it takes for hidden Chromium may never make a picture.
        for word in ("--headless=new", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1", "--disable-dev-shm-usage",
                     "--disable-background-networking", "--no-first-run", "--disable-backgrounding-occluded-windows",
                     *(["--no-sandbox"] if os.geteuid() == 0 else [])):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        RemoteConnection.set_timeout(ANSWER_S)
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_script_timeout(120)
        # a dialog would be the hostile world's success: seen, not waited for
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.attacked = true; };")

    def restart(self):
        """One that does not answer any more has not ended by itself."""
        driver = self.driver.service.process.pid
        for pid in [*descendants(driver), driver]:
            os.kill(pid, signal.SIGKILL)
        self.driver.service.process.wait()
        self.start()

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def open(self, url, lang=None, dark=False, width=1200):
        """The page, drawn; url may be a site's directory."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.cdp("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.driver.get("about:blank")
        self.logs()
        self.driver.get(url if "://" in str(url) else (pathlib.Path(url) / "index.html").as_uri())
        if lang:
            self.run("document.querySelector(`button[data-lang=${arguments[0]}]`).click()", lang)
        self.wait("return [...document.querySelectorAll('.chart')].every((c) => c.chart && c.querySelector('svg'))", "the charts")

    def wait(self, script, what):
        WebDriverWait(self.driver, 60, 0.05).until(lambda _: self.run(script), f"waited in vain for {what}")

    def logs(self):
        """(console messages, URLs asked for) since the last call."""
        console = [entry["message"] for entry in self.driver.get_log("browser")]
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(message["params"]["request"]["url"])
        return console, [url for url in asked if url != "about:blank"]

    def drawn(self):
        """Of each figure with a chart: its series as [id, number of points that are there], and how many shapes it drew."""
        return self.run("""
            return Object.fromEntries([...document.querySelectorAll('.chart')].map((c) => [c.closest('figure').id.slice(7), {
              series: c.chart.getOption().series.filter((s) => s.id !== 'hatch').map((s) => [s.id,
                s.data.map((d) => (d && d.value !== undefined ? d.value : d)).filter((d) => d !== null).length]),
              data: c.chart.getOption().series.filter((s) => s.id !== 'hatch').map((s) => s.data.map((d) => (d && d.value !== undefined ? d.value : d))),
              hatched: c.chart.getOption().series.filter((s) => s.id === 'hatch').map((s) => s.data.length),
              bars: [...c.querySelectorAll('svg path')].filter((p) => c.chart.getOption().color.includes(p.getAttribute('fill'))).map((p) => p.getBBox().width),
              shapes: c.querySelectorAll('svg path').length, patterns: c.querySelectorAll('svg pattern').length,
              size: [c.clientWidth, c.clientHeight], label: c.getAttribute('aria-label')}]));""")

    def axe(self):
        """What axe-core finds wrong, a line each."""
        self.run(AXE.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then(arguments[0], (e) => arguments[0]({error: String(e)}))")
        assert "violations" in found, found
        return [f"{v['id']}: {v['help']}: {node['target']} {node['html'][:120]} {node.get('failureSummary', '')[:200]}" for v in found["violations"] for node in v["nodes"]]

    def shoot(self, name):
        """The whole page as pictures of at most 3,000 pixels, where the run keeps results. For people: now and then Chromium waits
        for ever for one, and then it is missing."""
        if not SHOTS.parent.is_dir():
            return
        SHOTS.mkdir(exist_ok=True)
        try:
            self.shoot_parts(name)
        except urllib3.exceptions.ReadTimeoutError:
            print(f"pictures of {name} are missing: Chromium made none within {ANSWER_S} s")
            self.restart()

    def shoot_parts(self, name):
        width, height = self.run("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        for number, y in enumerate(range(0, height, 3000)):
            picture = self.cdp("Page.captureScreenshot", captureBeyondViewport=True,
                               clip={"x": 0, "y": y, "width": width, "height": min(3000, height - y), "scale": 1})
            (SHOTS / f"{name}-{number:02}.png").write_bytes(base64.b64decode(picture["data"]))

    def pdf(self, name):
        data = base64.b64decode(self.cdp("Page.printToPDF", preferCSSPageSize=True)["data"])
        if SHOTS.parent.is_dir():
            SHOTS.mkdir(exist_ok=True)
            (SHOTS / f"{name}.pdf").write_bytes(data)
        return data
