"""`braind report` from small stored inputs: what the page says, that it stands alone, and that a browser shows it."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from picture_priors import with_random_prior
from PIL import Image
from report_inputs import SETTINGS, journal_of, scores_with

from braind.cli import main
from braind.client.datasets.nsd.tree import NsdTree
from braind.config import load_config, weights_path
from braind.models.fit_profiles import PROFILES
from braind.models.scores.protocols import PROTOCOLS
from braind.models.weights.weights import WeightsError
from braind.offline.decoding import SubjectDecoder
from braind.offline.report.galleries import choose
from braind.offline.report.inputs import ReportError, read_encoding, read_scores, read_session
from braind.offline.report.methods import PROTOCOL_SOURCES, decoding_words
from braind.offline.report.references import REFERENCES, cited, segments
from braind.offline.report.report import MOST_BYTES

CHROMIUM = shutil.which("chromium")
CAPTION = "<script>a & b</script>"


class Links(HTMLParser):
    """What a page would load, and where it leads."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.leads, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            elif name in ("src", "srcset", "data", "poster", "action") or (name == "href" and tag not in ("a", "use")):
                self.loads.append(value)
            elif name == "href":
                self.leads.append(value)


def test_the_page_stands_alone(report, config):
    links = Links(report.text)
    assert all(load.startswith("data:image/") for load in links.loads if "xlink" not in load)
    assert len([load for load in links.loads if load.startswith("data:image/webp")]) == 2 * 6 * 4 + 1
    assert not re.search(r"url\((?!#)|@import|<script|<link", report.text)
    outside = {lead for lead in links.leads if not lead.startswith("#")}
    assert outside <= {reference.url for reference in REFERENCES.values()}
    assert {lead.removeprefix("#") for lead in links.leads if lead.startswith("#ref-")} <= links.ids
    assert len(report.text.encode()) < MOST_BYTES
    # nothing of this machine is told
    assert config.paths.data not in report.text
    assert config.paths.nsd not in report.text


def test_the_page_says_what_was_run_and_that_it_was_simulated(report, weights):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", report.text))
    assert "Simulated data. No brain was scanned" in text
    assert "Responses were simulated; no brain was scanned." in text
    assert "noised to timestep 799 of 1000, and denoised under decoded c in 1 denoiser call by DDIM" in text
    assert "11 penalties from 10 to 10⁶ by 5-fold cross-validation" in text
    assert "a penalty for each target of z, the median of which was 10⁴" in text
    assert "the median of which was 316.2" in text
    assert f"{len(weights.z.positions):,} voxels of early" in text
    assert "AlexNet(2)" in text
    assert "were not measured" in text
    assert "5 of 5 volumes (single-trial response estimates, one every 4 s) were decoded" in text
    assert "was ready 102 ms after its volume had arrived (median of 5 decodes" in text
    assert "weights " + weights.fingerprint + " (this report’s)" in text
    assert "12 held-out ones" in text
    for title in ("Takagi, Y.", "Allen, E. J.", "Rombach, R.", "Song, J.", "Scotti, P. S.", "Benjamini, Y."):
        assert title in text
    # cited only as they apply
    assert ("Ho, J." in text) == ("classifier-free guidance" in text)
    assert "Lin, T.-Y." not in text
    assert "Prince, J. S." not in text


def test_the_page_names_the_c_decoder_as_what_it_is(report, config, weights):
    assert '<th scope="row">c decoder</th><td>linear</td>' in report.text
    assert "classifier" not in report.text
    of_expected = decoding_words(with_random_prior(weights).with_c_decoder("expected"))
    assert "read against the training captions, a classifier into them" in of_expected
    assert "training captions" not in decoding_words(weights)
    changed = load_config(None, {"paths": {"data": config.paths.data, "nsd": config.paths.nsd},
                                 "decode": {"c_decoder": "expected", "engine": "torch"}})  # fmt: skip
    with pytest.raises(WeightsError, match="no prior over the training captions"):
        SubjectDecoder.load(changed, 1)


def test_the_page_names_a_session_that_cannot_be_read(report):
    assert "<li><b>broken</b>: broken.sqlite3: damaged or no braind journal (file is not a database)" in report.text


def test_the_page_counts_the_classes_of_the_live_decodes_and_names_are_only_text(report):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", report.text))
    assert "5 final decodes with classes; chance 0.5." in text
    assert "sender’s in 4 of the 5 decodes whose class the sender named (0.80; Table" in text
    assert "face 4 4 0.75 face: 4" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; [2J 1 0 0.25 face: 1" in text
    assert "<script>alert" not in report.text
    assert "\x1b" not in report.text


def test_galleries_are_filled_by_rank(report):
    ranks = [int(rank) for rank in re.findall(r"</b>, rank (\d+)", report.text)]
    assert ranks == list(range(1, 7)) * 2
    values = [float(value.replace("−", "-")) for value in re.findall(r"<p><b>(−?\d\.\d+)</b>", report.text)]
    assert values[:6] == sorted(values[:6], reverse=True)


def test_the_best_the_median_and_the_worst_are_chosen():
    chosen = choose(np.array([0.1, 0.9, 0.5, 0.3, 0.7]))
    assert chosen == {"best": [(1, 1)], "median": [(3, 2)], "worst": [(5, 0)]}
    many = choose(np.arange(30.0))
    assert [rank for rank, _ in many["median"]] == [14, 15, 16, 17]
    assert many["worst"] == [(27, 3), (28, 2), (29, 1), (30, 0)]


def test_without_session_and_encoding_the_page_says_so_and_scores_itself(
    config, provenance, small_data, tmp_path, monkeypatch
):
    weights_file = weights_path(config, 1)
    data = tmp_path / "data"
    shutil.copytree(weights_file.parent, data / "weights")
    asked = []

    def evaluate_subject(config, subject):
        asked.append((config.decode.preset, subject))
        return scores_with(provenance)

    monkeypatch.setattr("braind.offline.evaluate.evaluate.evaluate_subject", evaluate_subject)
    monkeypatch.setattr(NsdTree, "captions", lambda *_: [CAPTION])
    out = tmp_path / "report.html"
    answer = CliRunner().invoke(
        main, ["report", "--data", str(data), "--nsd", config.paths.nsd, *SETTINGS, "--averaged", "-o", str(out)]
    )
    assert answer.exit_code == 0, answer.output
    assert asked == [("live-1", 1)]
    text = out.read_text()
    assert "No session of this subject lies in the data folder" in text
    assert "run <code>braind encode --subject 1</code>" in text
    assert "the mean of each held-out picture’s repeats" in text
    assert re.search(r"Picture \d+ \(mean of \d+ trials?\):", text)
    assert CAPTION not in text
    assert "&lt;script&gt;a &amp; b&lt;/script&gt;" in text


def test_scores_and_encodings_of_something_else_are_refused(config, provenance, scores_path, encoding_path, tmp_path):
    with pytest.raises(ReportError, match=r"weights .*, the report is of other; run braind evaluate"):
        read_scores(scores_path, {**provenance, "weights": "other"}, 6)
    with pytest.raises(ReportError, match="preset live-1 .* the report is of takagi"):
        read_scores(scores_path, {**provenance, "preset": {"name": "takagi"}}, 6)
    with pytest.raises(ReportError, match="c_decoder linear, the report is of expected"):
        read_scores(scores_path, {**provenance, "c_decoder": "expected"}, 6)
    with pytest.raises(ReportError, match="among 6 held-out pictures, the data have 982"):
        read_scores(scores_path, provenance, 982)
    with pytest.raises(ReportError, match="subject 1, the report is of 2"):
        read_encoding(encoding_path, {**provenance, "subject": 2})
    with pytest.raises(ReportError, match="cannot be read"):
        read_encoding(tmp_path, provenance)
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(ReportError, match="scores without protocol"):
        read_scores(tmp_path / "scores.json", provenance, 6)
    (tmp_path / "scores.json").write_text("no JSON")
    answer = CliRunner().invoke(
        main,
        ["report", "--data", config.paths.data, "--nsd", config.paths.nsd, *SETTINGS,
         "--scores", str(tmp_path / "scores.json")],
    )  # fmt: skip
    assert (answer.exit_code, "is no JSON" in answer.output) == (2, True)


def test_the_newest_session_of_the_subject_is_read_unless_another_is_named(small_data, tmp_path):
    config = load_config(None, {"paths": {"data": str(tmp_path)}})
    weights_path(config, 1).parent.mkdir()
    assert read_session(config, 1, "weights").session is None
    journal_of(config, "first", 1, made=2)
    assert (
        read_session(config, 1, "weights").rule
        == "The session is the only readable session of subject 1 in the data folder."
    )
    journal_of(config, "second", 1, made=3)
    journal_of(config, "other", 2, made=1)
    (tmp_path / "journals" / "damaged.sqlite3").write_bytes(b"no database at all, and long enough to be read as one")
    found = read_session(config, 1, "weights")
    newest = found.session
    assert [damaged.name for damaged in found.damaged] == ["damaged"]
    assert (newest.name, newest.counts, newest.final_step) == ("second", {"decoded": 3}, "xzc")
    assert newest.times_s["xzc"] == pytest.approx([0.1, 0.101, 0.102])
    assert newest.statistics_ms("xzc") == pytest.approx({"median": 101, "p95": 101.9, "p99": 101.98, "max": 102})
    named = read_session(config, 1, "weights", "first")
    assert named.session.counts == {"decoded": 2}
    assert named.rule == "The session was named by the author of this report, not chosen by a rule."
    with pytest.raises(ReportError, match="no session third; there: damaged, first, other, second"):
        read_session(config, 1, "weights", "third")
    with pytest.raises(ReportError, match="not a session of subject 1"):
        read_session(config, 1, "weights", "other")


def test_every_protocol_has_its_reference():
    assert set(PROTOCOL_SOURCES) == set(PROTOCOLS)
    assert set(PROTOCOL_SOURCES.values()) <= set(REFERENCES)


def test_words_in_braces_are_references_only_where_they_are_some():
    assert segments("as {takagi2023,song2021} did, in {braces}") == [
        ("as ", ""), ("(", ""), ("", "takagi2023"), ("; ", ""), ("", "song2021"), (")", ""), (" did, in {braces}", ""),
    ]  # fmt: skip
    assert list(cited([("Title", segments("{takagi2023} {allen2022}"))])) == ["allen2022", "takagi2023"]
    assert segments("session {nobody1999}") == [("session ", ""), ("{nobody1999}", "")]
    assert set(PROFILES) == {"live", "takagi"}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_a_browser_shows_it_light_dark_and_on_paper(report, tmp_path):
    def browse(*options):
        subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
             f"--user-data-dir={tmp_path / 'profile'}", *options, report.path.as_uri()],
            check=True, capture_output=True, timeout=200,
        )  # fmt: skip

    light, dark, narrow = tmp_path / "light.png", tmp_path / "dark.png", tmp_path / "paper.pdf"
    browse("--window-size=1200,1600", f"--screenshot={light}")
    browse("--window-size=420,1600", "--blink-settings=preferredColorScheme=0", f"--screenshot={dark}")
    browse(f"--print-to-pdf={narrow}")
    bright, dim = (np.asarray(Image.open(path).convert("L")) for path in (light, dark))
    assert bright.shape == (1600, 1200)
    assert np.median(bright) > 230
    assert np.median(dim) < 60
    # both hold words and pictures
    assert bright.std() > 10
    assert dim.std() > 10
    assert narrow.read_bytes().startswith(b"%PDF")
