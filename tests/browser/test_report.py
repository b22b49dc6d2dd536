"""The report, as a browser shows it: drawn from the data it came with, in both languages, for everybody, and nothing else."""
import datetime
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import unicodedata

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import hirundo
from probes import Marks, seen
from world import ATTACK, DAY, Site, day

LANGUAGES = ("ja", "en")
HOUR = datetime.timedelta(hours=1)


def expected(figure, rows):
    """Of a figure's CSV: how many points each series of its chart has."""
    view = figure["view"]
    if figure["chart"] in ("bars", "lines"):
        series = {}
        for row in rows:
            key = row[view["series"]]
            series[key] = series.get(key, 0) + (row[view["y"]] != "")
        return series
    if figure["chart"] == "ranks":
        return {"ranks": sum(row[view["value"]] != "" for row in rows)}
    if figure["chart"] == "ranking":
        return {"ranking": min(20, sum(row[view["value"]] != "" for row in rows))}
    if figure["chart"] == "calendar":
        seen = sum(row[view["value"]] != "" for row in rows)
        return {"calendar": seen, **({"unobserved": len(rows) - seen} if seen < len(rows) else {})}
    if figure["chart"] == "ranges":
        return {"ranges": len(rows), "middle": len(rows)}
    if figure["chart"] == "coverage":
        kinds = {}
        for row in rows:
            value = row[view["value"]]
            kind = 3 if value == "" else 0 if float(value) >= 100 else 1 if float(value) > 0 else 2
            kinds[f"coverage-{kind}"] = kinds.get(f"coverage-{kind}", 0) + 1
        return kinds
    return None


def charts_are_those_of_the_csv(browser, site):
    """Of the page that is open."""
    drawn = browser.drawn()
    checked = 0
    for name, figure in site.figures().items():
        want = expected(figure, site.csv(name)) if figure["rows"] else None
        if want is None:
            assert name not in drawn
            continue
        assert dict(drawn[name]["series"]) == want, name
        assert drawn[name]["shapes"] >= sum(want.values()) if figure["chart"] != "lines" else drawn[name]["shapes"] >= len(want), name
        assert min(drawn[name]["size"]) > 90 and drawn[name]["label"], name
        if figure["chart"] == "bars":
            assert sum(width > 8 for width in drawn[name]["bars"]) >= sum(want.values()), (name, drawn[name]["bars"])
        checked += 1
    assert checked == len(drawn)
    return checked


@pytest.mark.parametrize("audience", ["internal", "public"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_chart_is_drawn_from_its_csv(request, browser, audience, lang):
    site = request.getfixturevalue(audience)
    browser.open(site.path, lang)
    assert charts_are_those_of_the_csv(browser, site) >= 5
    browser.shoot(f"{audience}-{lang}-light")


def test_values_of_a_chart_are_those_of_the_csv(browser, internal):
    browser.open(internal.path, "en")
    rows, drawn = internal.csv("hosts-1"), browser.drawn()["hosts-1"]
    days = sorted({row["day"] for row in rows})
    for (port, _), data in zip(drawn["series"], drawn["data"]):
        by_day = {row["day"]: row["hosts"] for row in rows if row["port"] == port}
        assert data == [None if by_day[d] == "" else int(by_day[d]) for d in days]
    assert max(v for data in drawn["data"] for v in data if v is not None) > 1


def test_what_nobody_observed_is_hatched_and_no_zero(browser, internal):
    browser.open(internal.path, "en")
    drawn = browser.drawn()
    assert drawn["hosts-1"]["hatched"] == [7] and drawn["hosts-1"]["patterns"] >= 1
    for data in drawn["hosts-1"]["data"]:
        assert data[12:19] == [None] * 7
    series = dict(drawn["coverage"]["series"])
    # 7 sensors for the 7 days, one of them for two more, and for a quarter of a third
    assert series["coverage-2"] == 7 * 7 + 2 and series["coverage-1"] == 1
    assert drawn["coverage"]["patterns"] >= 1


def test_language_switch(browser, internal):
    browser.open(internal.path)
    seen = {}
    for lang in (*LANGUAGES, "ja"):
        browser.driver.find_element(By.CSS_SELECTOR, f"button[data-lang={lang}]").click()
        state = browser.run("return [document.documentElement.lang, document.title, document.querySelector('main').innerText, document.querySelector('[aria-pressed=true]').dataset.lang]")
        assert state[0] == state[3] == lang
        assert seen.setdefault(lang, state) == state
    assert re.search("[ぁ-ん]", seen["ja"][2]) and seen["ja"][1].startswith("インターネット定点観測レポート")
    english = seen["en"][2].replace("センサー", "")
    assert not re.search("[ぁ-んァ-ヶ]", english), re.findall(".*[ぁ-んァ-ヶ].*", english)
    # nothing of the one language is left in the other's tables
    assert "Packets" not in re.sub(r"<.*?>", "", seen["ja"][2]).replace("Packets per", "")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_opens_in_the_language_asked_for(browser, hostile, tmp_path, lang):
    site = hostile.report("2023-02", tmp_path / lang, "public", "--lang", lang)
    browser.open(site.path)
    assert browser.run("return document.documentElement.lang") == lang
    assert f'<html lang="{lang}">' in site.text("index.html")


def test_no_request_and_no_console_message(browser, internal, public):
    for site in (internal, public):
        browser.open(site.path, "en")
        browser.run("for (const d of document.querySelectorAll('details')) d.open = true")
        browser.open(site.path, "ja", dark=True)
        console, asked = browser.logs()
        assert console == [] and asked == [(site.path / "index.html").as_uri()]


def test_from_a_web_server_it_asks_for_itself_alone(browser, public):
    asked = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=str(public.path), **options)

        def log_message(self, *_):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        browser.open(f"http://127.0.0.1:{server.server_address[1]}/", "en")
        console, _ = browser.logs()
        links = browser.run("return [...document.querySelectorAll('a[download], footer a')].map((a) => a.getAttribute('href'))")
        assert console == [] and asked == ["/"]
        assert len(links) > 5 and all((public.path / link).is_file() for link in links)
    finally:
        server.shutdown()
        server.server_close()


def test_names_are_text(browser, internal):
    """Sensor labels and the organisation's name are markup, script closers and templates; the page shows them as they are."""
    page = internal.text("index.html")
    assert "<img" not in page and page.count("</script>") == 2
    browser.open(internal.path, "en")
    browser.run("for (const d of document.querySelectorAll('details')) d.open = true")
    console, asked = browser.logs()
    assert console == [] and asked == [(internal.path / "index.html").as_uri()]
    assert browser.run("return [window.attacked ?? null, document.querySelectorAll('img, main script, iframe').length]") == [None, 0]
    text = browser.run("return document.querySelector('main').textContent")
    assert text.count(ATTACK) > 10 and f"Organisation {ATTACK}: TTL" in text
    # and as a tooltip, which the chart draws
    browser.run("""const c = document.querySelector('#figure-top_ports .chart').chart;
                   c.dispatchAction({type: 'showTip', seriesIndex: 0, dataIndex: 0});""")
    assert browser.run("return [window.attacked ?? null, document.querySelectorAll('img').length]") == [None, 0]


def test_content_security_policy_holds(browser, public):
    browser.open(public.path)
    browser.run("""const s = document.createElement('script'); s.textContent = 'window.attacked = true'; document.body.append(s);
                   const b = document.createElement('b'); b.setAttribute('onclick', 'window.attacked = true'); document.body.append(b); b.click();
                   const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i);""")
    browser.wait("return document.images[0].complete", "the picture that is refused")
    console, _ = browser.logs()
    assert browser.run("return window.attacked ?? null") is None
    assert sum("Content Security Policy" in line for line in console) >= 3 and any("x.png" in line for line in console), console
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', public.text("index.html"))[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390], ids=["wide", "telephone"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_axe_finds_nothing(browser, internal, lang, width, dark):
    browser.open(internal.path, lang, dark, width)
    browser.run("for (const d of document.querySelectorAll('details')) d.open = true")
    assert browser.axe() == []
    # nothing but tables and wide charts, in boxes of their own, goes beyond the screen
    assert browser.run("return document.documentElement.scrollWidth") <= width
    if dark or width < 1200:
        browser.open(internal.path, lang, dark, width)
        browser.shoot(f"internal-{lang}-{'dark' if dark else 'light'}-{width}")


def test_keyboard(browser, internal):
    browser.open(internal.path, "en")
    body = browser.driver.switch_to.active_element
    reached = []
    for _ in range(60):
        body.send_keys(Keys.TAB)
        body = browser.driver.switch_to.active_element
        reached.append(browser.run("const a = document.activeElement; return a.className || a.dataset.lang || a.tagName + (a.getAttribute('href') ?? '')"))
    assert reached[:3] == ["skip", "ja", "en"]
    assert "SUMMARY" in reached and "scroll" in reached and "Acoverage.csv" not in reached[:3]
    summary = browser.driver.find_element(By.CSS_SELECTOR, "#figure-sensor_average summary")
    summary.send_keys(Keys.ENTER)
    assert browser.run("return document.querySelector('#figure-sensor_average details').open")
    browser.driver.find_element(By.CSS_SELECTOR, "button[data-lang=ja]").send_keys(Keys.SPACE)
    assert browser.run("return [document.documentElement.lang, document.activeElement.dataset.lang]") == ["ja", "ja"]


def test_screen_reader(browser, internal):
    """What axe does not judge: each chart has a name that says what it shows, each figure a heading and its table."""
    browser.open(internal.path, "en")
    figures = browser.run("""return [...document.querySelectorAll('figure')].map((f) => [f.id, document.getElementById(f.getAttribute('aria-labelledby')).textContent,
        f.querySelector('.chart')?.getAttribute('aria-label') ?? null, f.querySelectorAll('table, dl, .empty').length])""")
    assert len(figures) == len(internal.figures())
    for name, heading, label, tables in figures:
        assert heading and tables >= (0 if "coverage" in name else 1), name
        assert label is None or re.search(r"\d", label) and "table below" in label, (name, label)


def test_prints_on_a4(browser, internal):
    browser.open(internal.path, "ja", dark=True)
    browser.cdp("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.wait("return [...document.querySelectorAll('.chart')].every((c) => c.clientWidth === 680)", "charts as wide as the paper")
    assert browser.run("return getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    browser.cdp("Emulation.setEmulatedMedia", media="")
    browser.wait("return [...document.querySelectorAll('.chart')].every((c) => c.clientWidth !== 680)", "charts as before")
    assert browser.pdf("internal-ja").startswith(b"%PDF")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_heading_is_parted_from_its_figure(browser, internal, public, tmp_path, lang):
    """On paper a heading, what is said below it, and the beginning of the chart or table stand on one page."""
    def letters(text):
        return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text))
    for site in (internal, public):
        browser.open(site.path, lang)
        headings = browser.run("return [...document.querySelectorAll('figure')].map((f) => [f.querySelector('h3').textContent, f.querySelector('.lead').textContent])")
        (tmp_path / "print.pdf").write_bytes(browser.pdf(f"{'internal' if site is internal else 'public'}-{lang}"))
        text = subprocess.run(["pdftotext", "-raw", str(tmp_path / "print.pdf"), "-"], capture_output=True, text=True, check=True).stdout
        pages = [letters(page) for page in text.split("\f")]
        assert len(pages) > 5 and len(headings) == len(site.figures())
        for heading, lead in headings:
            together = letters(heading + lead)
            rest = [page.split(together)[1] for page in pages if together in page]
            assert len(rest) == 1 and len(rest[0]) > 8, (heading, [page[-200:] for page in pages])


def test_json_is_what_postgresql_builds(hostile, internal, public):
    for audience, site in (("internal", internal), ("public", public)):
        (built,), = hostile.query("select hirundo.report(hirundo.month('2023-02'), %s)", audience)
        report = site.json()
        built["head"].pop("generated")
        report["head"].pop("generated")
        assert report == built


def test_csv_holds_what_the_json_holds(internal):
    for name, figure in internal.figures().items():
        keys = [c["key"] for c in figure["columns"]]
        rows = internal.csv(name)
        assert len(rows) == len(figure["rows"]), name
        for row, values in zip(rows, figure["rows"]):
            assert list(row) == keys
            for key, value in zip(keys, values):
                want = "" if value is None else {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
                assert row[key] == want or float(row[key]) == value, (name, key)


def test_sql_shown_makes_the_figure(hostile, internal, public):
    for site in (internal, public):
        for name, figure in site.figures().items():
            rows = hostile.query(f"select json_build_array({', '.join('q.' + c['key'] for c in figure['columns'])}) from ({figure['sql']}) q")
            assert [row[0] for row in rows] == figure["rows"], name


def test_a_sheet_takes_no_label_for_a_formula(database, tmp_path):
    world = database()
    world.settings()
    for n, label in enumerate(("=1+1", "+1", "-1", "@SUM(A1)", 'a "b", c')):
        world.observe(world.add_sensor(f"s-{n}", "JP", label), day("2023-02-01"), day("2023-02-02"))
    site = world.report("2023-02", tmp_path, "internal")
    assert {row["label_en"] for row in site.csv("coverage")} == {"'=1+1", "'+1", "'-1", "'@SUM(A1)", 'a "b", c'}


def test_public_tells_no_place_and_no_day(hostile, public):
    """The marked probe: what two sensors alone received, and anything that says where they are, is nowhere in it."""
    everything = "".join(path.read_text(encoding="utf-8-sig") for path in public.path.iterdir())
    data = "".join(path.read_text(encoding="utf-8-sig") for path in public.path.iterdir() if path.suffix in (".csv", ".json"))
    assert "31337" not in everything and seen(public.json(), Marks(ports={31337}, sources={"203.0.113.9"}, counts={10000})) == []
    assert seen(hostile.query("select hirundo.report(hirundo.month('2023-02'), 'internal')"), Marks(ports={31337}))
    assert hostile.query("select count(*) from hirundo.top_ports(hirundo.month('2023-02'), 10) where port = '31337/TCP'") == [(2,)]
    for name in hostile.sensors:
        assert name not in data
    assert "Organisation <" not in data and "203.0.113.9" not in everything and "198.18.0" not in everything
    for name, figure in public.figures().items():
        keys = {c["key"] for c in figure["columns"]}
        assert not (keys & {"label_en", "sensor"} and keys & {"country", "region"}), name
        assert not keys & {"day", "hour", "ts", "sensor", "packets_per_sensor"}, name
        dates = {row[i] for i, c in enumerate(figure["columns"]) if c["type"] in ("date", "bucket") for row in figure["rows"]}
        assert all(day(d).weekday() == 0 or d.endswith("-01") and figure.get("unit") == "month" for d in dates), (name, dates)
    assert {row["share"] for row in public.csv("top_ports")} <= {"50", "75", "100"} and len(public.csv("top_ports")) >= 8


@pytest.mark.parametrize("period, refused", [("2023-02-08", "finer than a week"), ("2023-02-03..2023-02-09", "finer than a week"),
                                             ("2023-02-03T01:00..2023-02-19", "finer than a week"), ("Februar", "is not a period")])
def test_public_refuses_days(hostile, tmp_path, period, refused):
    done = hostile.command("report", period, "--out", str(tmp_path / "x"), check=False)
    assert done.returncode == 1 and refused in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_what_is_not_of_this_report_is_not_published_with_it(hostile, tmp_path):
    site = hostile.report("2023-02", tmp_path / "site", "internal")
    (site.path / "older.csv").write_text("secret")
    done = hostile.command("report", "2023-02", "--out", str(site.path), "--audience", "internal", check=False)
    assert done.returncode == 1 and "older.csv is not of this report" in done.stderr
    (site.path / "older.csv").unlink()
    again = hostile.report("2023-02", site.path, "internal", "--quiet")
    assert again.output == "" and again.json()["figures"] == site.json()["figures"]


def test_internal_is_for_its_maker_alone(hostile, internal, tmp_path):
    assert all(path.stat().st_mode & 0o077 == 0 for path in internal.path.iterdir())
    site = hostile.report("2023-02", tmp_path / "public", "public")
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in site.path.iterdir())
    # nor does it take the place of one that is published
    done = hostile.command("report", "2023-02", "--out", str(site.path), "--audience", "internal", check=False)
    assert done.returncode == 1 and "holds a report that anybody may read" in done.stderr and site.json()["head"]["audience"] == "public"


def everything(directory):
    return {p.name: p.read_bytes() for p in directory.iterdir()}


def command_words(world, period, out, audience="internal"):
    world.pg.database = world.database
    return [hirundo.program("hirundo-collector"), "report", period, "--out", str(out), "--audience", audience]


def test_other_files_stay(hostile, tmp_path):
    """DIR may be a web server's root: what is not of a report is neither written over nor removed, and the directory stays the one it is."""
    site = tmp_path / "site"
    (site / "photos").mkdir(parents=True)
    (site / "robots.txt").write_text("mine")
    (site / "index.html").write_text("<!doctype html><title>Our front page</title>")
    before = everything_below(site)
    done = hostile.command("report", "2023-02", "--out", str(site), check=False)
    assert done.returncode == 1 and "site/index.html is not of this report: remove it, or name another directory" in done.stderr and everything_below(site) == before
    (site / "index.html").unlink()
    inode = site.stat().st_ino
    link = tmp_path / "link"
    link.symlink_to(site)
    for out in (site, f"{link}/", site):
        assert hostile.report("2023-02", out, "public").json()["head"]["period"] == "2023-02"
    assert site.stat().st_ino == inode and link.is_symlink() and (site / "robots.txt").read_text() == "mine" and (site / "photos").is_dir()
    assert {p.name for p in site.iterdir()} == {"photos", "robots.txt", "index.html", "report.json"} | {f"{name}.csv" for name in hostile.report("2023-02", site, "public").figures()}


def everything_below(directory):
    return {str(p): p.read_bytes() if p.is_file() else None for p in directory.rglob("*")}


@pytest.mark.parametrize("out, says", [("file", "file: Not a directory"), ("no/such/place", "no/such/place: No such file or directory"), ("dangling", "dangling: "),
                                       ("x" * 300, "File name too long"), ("y" * 5000, "the name is too long")], ids=lambda v: v[:16])
def test_odd_places(hostile, tmp_path, out, says):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "away")
    done = hostile.command("report", "2023-02", "--out", str(tmp_path / out) if len(out) < 300 else out, check=False, cwd=tmp_path)
    assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"file", "dangling"} and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_interrupted(hostile, tmp_path, number):
    """While the database still answers: the older report stays as it is, and nothing beside it."""
    site = hostile.report("2023-02", tmp_path / "site", "internal")
    before = everything(site.path)
    with hostile.pg.connect() as conn, conn.cursor() as cursor:
        conn.autocommit = False
        cursor.execute("lock table hirundo.observation in access exclusive mode")
        with subprocess.Popen(command_words(hostile, "2023-02", site.path), env=hostile.pg.environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            hirundo.wait_for(lambda: hostile.query("select count(*) from pg_locks where not granted") == [(1,)], "the report to wait for the lock")
            process.send_signal(number)
            out, err = process.communicate(timeout=hirundo.WAIT_S)
        assert (process.returncode, out, err) == ((-9, "", "") if number == signal.SIGKILL else (1, "", "hirundo-collector: interrupted: nothing was written\n"))
    assert everything(site.path) == before and list(tmp_path.iterdir()) == [site.path]


def test_a_database_that_goes_away(hostile, tmp_path):
    site = hostile.report("2023-02", tmp_path / "site", "internal")
    before = everything(site.path)
    with hostile.pg.connect() as conn, conn.cursor() as cursor:
        conn.autocommit = False
        cursor.execute("lock table hirundo.observation in access exclusive mode")
        with subprocess.Popen(command_words(hostile, "2023-02", site.path), env=hostile.pg.environment(), stderr=subprocess.PIPE, text=True) as process:
            hirundo.wait_for(lambda: hostile.query("select count(*) from pg_locks where not granted") == [(1,)], "the report to wait for the lock")
            hostile.query("select pg_terminate_backend(pid) from pg_locks where not granted")
            _, err = process.communicate(timeout=hirundo.WAIT_S)
        assert process.returncode == 1 and "terminating connection" in err and err.count("\n") == 1
    assert everything(site.path) == before and list(tmp_path.iterdir()) == [site.path]


def test_a_full_disk(hostile, tmp_path):
    """A file system of its own, on which the report has been and its successor has no room."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    try:
        for place in (disk, disk / "site"):
            site = hostile.report("2023-02", place, "internal")
            before = everything(place)
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            (disk / "full").write_bytes(bytes(free - site.path.joinpath("index.html").stat().st_size))
            before = everything_below(disk)
            done = hostile.command("report", "2023-02", "--out", str(place), "--audience", "internal", check=False)
            assert done.returncode == 1 and re.search(r"/[a-z0-9_.-]+: No space left on device$", done.stderr.strip()), done.stderr
            assert everything_below(disk) == before
            done = hostile.command("report", "2023-02", "--out", str(disk / "new"), "--audience", "internal", check=False)
            assert done.returncode == 1 and "No space left on device" in done.stderr and everything_below(disk) == before
            (disk / "full").unlink()
            hostile.report("2023-02", place, "internal")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_at_a_time(hostile, tmp_path):
    """Of two reports into one directory the later one is there, whole."""
    for i in range(3):
        if i == 2:
            shutil.rmtree(tmp_path / "site")  # both find no directory
        running = [subprocess.Popen(command_words(hostile, period, tmp_path / "site"), env=hostile.pg.environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
                   for period in ("2023-02", "2023-W06")]
        ends = [(process.communicate(timeout=hirundo.WAIT_S)[1], process.returncode) for process in running]
        assert all(end == ("", 0) or end[1] == 1 and ("another report is being put there" in end[0] or "is not of this report" in end[0]) for end in ends), ends
        site = Site(tmp_path / "site", "")
        assert ("", 0) in ends and list(tmp_path.iterdir()) == [site.path] and set(p.suffix for p in site.path.iterdir()) == {".html", ".json", ".csv"}
        page = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', site.text("index.html"), re.S)[1])
        assert page == site.json()
        for name, figure in site.figures().items():
            assert len(site.csv(name)) == len(figure["rows"]), name


@pytest.mark.parametrize("words", [(), ("2023-02",), ("2023-02", "--out", "x", "--lang", "fr"), ("2023-02", "--out", "x", "--audience", "all"), ("2023-02", "2023-03", "--out", "x")])
def test_wrong_usage(hostile, tmp_path, words):
    assert hostile.command("report", *words, check=False, cwd=tmp_path).returncode == 2
    assert not list(tmp_path.iterdir())


def look(browser, site, name, languages=LANGUAGES):
    """A page that is read: no console message, headings, axe clean."""
    for lang in languages:
        browser.open(site.path, lang)
        console, _ = browser.logs()
        assert console == []
        assert browser.axe() == []
        assert browser.run("return document.querySelectorAll('h2').length") > 2
        assert not re.search(r"\b(NaN|undefined|null|Infinity|false|true)\b", browser.run("return document.body.innerText"))
        browser.shoot(f"{name}-{lang}")


@pytest.mark.parametrize("audience", ["public", "internal"])
def test_empty_database(browser, database, tmp_path, audience):
    site = database().report("2023Q1", tmp_path, audience)
    look(browser, site, f"empty-{audience}")
    assert browser.run("return document.querySelectorAll('.empty').length") >= 2
    for lang, words in (("en", "because nobody looked"), ("ja", "観測を行ったセンサーはありません")):
        browser.open(site.path, lang)
        assert words in browser.run("return document.querySelector('main').innerText")


def test_a_period_that_has_begun_and_one_that_has_not(browser, database, tmp_path):
    world = database()
    world.settings()
    world.add_sensor("only", "JP")
    done = world.command("report", "2099Q1", "--out", str(tmp_path / "x"), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "hirundo-collector: the period 2099Q1 has not begun\n")
    assert not list(tmp_path.iterdir())
    now = datetime.datetime.now(datetime.timezone.utc)
    site = world.report(now.strftime("%Y-%m"), tmp_path / "x", "internal", "--lang", "en")
    browser.open(site.path)
    said = browser.run("return [...document.querySelectorAll('.warning')].map((w) => w.textContent)")
    assert any("has not ended yet" in s and site.json()["head"]["generated"] in s for s in said) and any("No sensor observed" in s for s in said)


@pytest.mark.parametrize("audience", ["public", "internal"])
def test_one_sensor_and_a_week_without_data(browser, database, tmp_path, audience):
    world = database()
    world.settings("Asia/Tokyo", "")
    sensor = world.add_sensor("only", "JP", "Only sensor", "唯一のセンサー")
    for first, past in (("2023-01-31", "2023-02-05"), ("2023-02-12", "2023-02-19")):
        world.observe(sensor, day(first) + 15 * HOUR, day(past) + 15 * HOUR)
    world.roll_up()
    site = world.report("2023-02", tmp_path, audience)
    look(browser, site, f"one-{audience}")
    drawn = browser.drawn()["coverage"]
    assert dict(drawn["series"])["coverage-2"] >= 1 and drawn["patterns"] >= 1


@pytest.mark.parametrize("audience", ["internal", "public"])
def test_extra_edition(browser, surging, tmp_path, audience):
    """One page about one port; for the public by the same rules as the whole report."""
    site = surging.report("2023-W06", tmp_path, audience, "--extra", "2222")
    for lang in LANGUAGES:
        browser.open(site.path, lang)
        console, asked = browser.logs()
        assert console == [] and asked == [(site.path / "index.html").as_uri()]
        assert browser.run("return document.title").startswith({"en": "Extra edition: 2222/TCP, ", "ja": "インターネット定点観測 号外：2222/TCP"}[lang])
        assert charts_are_those_of_the_csv(browser, site) == (5 if audience == "internal" else 4)
        assert browser.run("return [...document.querySelectorAll('section')].map((s) => s.id)") == [
            "extra_when", *(["extra_where"] if audience == "internal" else []), "extra_who", "extra_how", "extra_not"]
        text = browser.run("return document.body.innerText")
        assert not re.search(r"\b(NaN|undefined|null|Infinity|false|true)\b", text) and (lang == "ja" or not re.search("[ぁ-ん]", text.replace("日本語", "")))
        assert browser.axe() == [] and browser.run("return [window.attacked ?? null, document.querySelectorAll('img').length]") == [None, 0]
        browser.shoot(f"extra-{audience}-{lang}")
    figures = {name: site.csv(name) for name in site.figures()}
    assert [row["item"] for row in figures["countries"]] == ["JP", "KR"]
    assert {row["what_en"].split(":")[0].split(",")[0]: row["answer"] for row in figures["is_not"]}["Floods"] == "no"
    if audience == "internal":
        surge, = figures["surge"]
        assert (surge["port"], surge["first_day"], surge["last_day"], surge["sensors_rose"], surge["sensors_compared"]) == ("2222/TCP", "2023-02-08", "2023-02-10", "6", "6")
        assert [row["rose"] for row in figures["sensors"]] == ["true"] * 6 and {row["tool"] for row in figures["tools"]} == {"mirai", "unknown"}
        assert any(ATTACK in row["organisations"] for row in figures["networks"]) and figures["ttl"][0]["verdict"]
        assert len(figures["hosts"]) == 35 and max(int(row["hosts"] or 0) for row in figures["hosts"]) > 200
    else:
        assert figures["surge"] == [{"port": "2222/TCP", "first_week": "2023-02-06", "sensors_rose": "5 or more", "sensors_compared": "5 or more"}]
        assert {day(row["week"]).weekday() for row in figures["hosts"]} == {0} and [row["side"] for row in figures["ttl"]] == ["home", "overseas"]
        # of sources from everywhere it says nothing about forging
        assert "do not tell whether" in site.figures()["ttl"]["lead"]["en"]
        data = "".join(path.read_text(encoding="utf-8-sig") for path in site.path.iterdir() if path.suffix in (".csv", ".json"))
        assert "2023-02-08" not in data and "Organisation" not in data and "198.18." not in data
    browser.open(site.path, "en", dark=True, width=390)
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    browser.shoot(f"extra-{audience}-en-dark-390")


def test_extra_edition_of_the_running_week(database, tmp_path):
    """What stood out yesterday is published today: of a week that is not over the public edition tells what there is."""
    today = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    world = database().surge(today, today - 3 * DAY)
    week = "{}-W{:02}".format(*(today - DAY).isocalendar()[:2])
    site = world.report(week, tmp_path / "site", "public", "--extra", "2222")
    assert site.json()["head"]["complete"] == (today.weekday() == 0)
    surge, = site.csv("surge")
    assert surge["port"] == "2222/TCP" and day(surge["first_week"]) == today - DAY - (today - DAY).weekday() * DAY and surge["sensors_rose"] == "5 or more"
    hosts = [float(row["hosts"]) for row in site.csv("hosts")]
    assert len(hosts) == 5 and hosts[-1] > 4 * hosts[0] > 0
    assert [row["item"] for row in site.csv("countries")] == ["JP", "KR"] and {row["side"] for row in site.csv("ttl")} == {"home", "overseas"}


@pytest.mark.parametrize("port, refused", [("ssh", "is not a port"), ("22/SCTP", "is not a port")])
def test_extra_edition_of_no_port(surging, tmp_path, port, refused):
    done = surging.command("report", "2023-W06", "--out", str(tmp_path / "x"), "--extra", port, check=False)
    assert done.returncode == 1 and refused in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_extra_edition_of_a_port_that_nobody_sent_to(browser, surging, tmp_path):
    for audience in ("public", "internal"):
        site = surging.report("2023-W06", tmp_path / audience, audience, "--extra", "4/UDP")
        browser.open(site.path, "en")
        assert browser.logs()[0] == [] and browser.run("return document.querySelectorAll('.empty').length") >= 3


def test_long_names_leave_room(browser, database, tmp_path):
    """Names of 200 letters in one word, with marks that turn writing round, and more networks than a chart has bars."""
    world = database()
    world.settings()
    name = "\u202e" + "W" * 200
    world.observe(world.add_sensor("s-1", "JP", name), day("2023-02-06"), day("2023-02-13"))
    (number,), = world.query("insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 25, 25) returning set_id")
    world.query("insert into hirundo.network select %s, '100.64.0.0'::inet + 256 * n, '100.64.0.255'::inet + 256 * n, 64512 + n, 'KR' from generate_series(0, 24) n", number)
    world.query("insert into hirundo.as_name select 64512 + n, %s from generate_series(0, 24) n", name)
    world.query("insert into hirundo.organisation (name) values (%s)", name)
    world.query("insert into hirundo.organisation_prefix select organisation_id, '100.64.0.0/24' from hirundo.organisation")
    world.add_flows([dict(ts=day("2023-02-08"), sensor_id=world.sensors["s-1"], src=f"100.64.{n}.1", proto=6, port=2222, ttl=50, packets=1, tcp_flags=2, marks=0, src_port=40000)
                     for n in range(25)])
    world.roll_up()
    extra = world.report("2023-W06", tmp_path / "extra", "internal", "--extra", "2222")
    whole = world.report("2023-W06", tmp_path / "whole", "internal")
    for width in (375, 1200):
        browser.open(extra.path, "en", width=width)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        networks = browser.drawn()["networks"]
        assert max(networks["bars"]) > width / 4 and dict(networks["series"]) == {"ranking": 20}
        assert "The chart shows the first 20 of 25" in browser.run("return document.querySelector('#figure-networks').innerText")
        browser.open(whole.path, "ja", width=width)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        text = browser.run("return document.body.textContent.replace(document.querySelector('#data').textContent, '')")
        assert "\u202e" not in text and "\ufffdWWW" in text
    browser.shoot("long-names")


def test_many_sensors_and_ports(browser, database, tmp_path):
    """300 sensors, 100,000 ports: rows are kept up to a limit, the page says what it does not show."""
    world = database()
    world.settings()
    world.query("insert into hirundo.sensor (name, country, label_en, label_ja) select 's-' || n, (array['JP', 'KR', 'MY', 'AU', 'TW'])[n % 5 + 1], 'Sensor ' || n, 'センサー' || n "
                "from generate_series(1, 300) n")
    world.query("select hirundo.partition_ensure(d::date) from generate_series(timestamp '2023-01-08', '2023-01-13', '1 day') d")
    world.query("insert into hirundo.observation (sensor_id, slot, covered_ms, frames, row_packets) select s.sensor_id, t, 900000, 0, 0 from hirundo.sensor s, "
                "generate_series(timestamptz '2023-01-02Z', timestamptz '2023-01-15 23:45Z', '15 minutes') t")
    world.query("insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src) "
                "select timestamptz '2023-01-09Z' + n * interval '1 second', 0, 1 + n % 7, 60, n % 50000, 40000, n % 300 + 1, 1, case when n <= 100000 then 6 else 17 end, 50, 2, 0, "
                "'100.64.0.0'::inet + n % 5000 from generate_series(1, 200000) n")
    world.query("insert into hirundo.dirty (sensor_id, hour) select distinct sensor_id, date_trunc('hour', ts, 'UTC') from hirundo.flow")
    world.roll_up()
    for audience, lang in (("public", "ja"), ("internal", "en")):
        site = world.report("2023-01", tmp_path / audience, audience)
        print(site.output)
        look(browser, site, f"many-{audience}", [lang])
        assert browser.run("return document.querySelectorAll('.cut').length") >= (2 if audience == "internal" else 1)
        assert dict(browser.drawn()["coverage"]["series"])
    assert len(site.text("index.html")) < 8 << 20
