"""What a journal asks of a report: numbered figures and tables, references, printed numbers, corrected p values."""

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_inputs import journal_of

from braind.client.datasets.nsd.tree import NsdTree
from braind.config import load_config
from braind.models.scores.metrics import pixcorr
from braind.models.scores.protocols import measured_pixels
from braind.offline.decoding import decode_trials, trial_labels
from braind.offline.report import methods
from braind.offline.report.bibtex import bibtex
from braind.offline.report.captions import encoding_caption
from braind.offline.report.inputs import read_session
from braind.offline.report.references import REFERENCES
from braind.offline.typography import number

ENTRY = re.compile(r"@(article|inproceedings|misc)\{(\w+),\n((?:  \w+ = \{.*\},\n)+)\}\n")
FIELD = re.compile(r"  (\w+) = \{(.*)\},\n")
NEEDED = {
    "article": {"author", "title", "journal", "volume", "pages", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "misc": {"author", "title", "year", "eprint", "archiveprefix"},
}


def entries_of(text):
    """Return the entries of a BibTeX file: key → fields. Every character of the file belongs to an entry."""
    assert "".join(match[0] for match in ENTRY.finditer(text)) == text
    return {key: {"": kind, **dict(FIELD.findall(fields))} for kind, key, fields in ENTRY.findall(text)}


@pytest.mark.parametrize("kind", ["Figure", "Table"])
def test_figures_and_tables_are_numbered_in_order_and_the_text_names_each(report, kind):
    captions = [int(n) for n in re.findall(rf"<b>{kind} (\d+)\.</b>", report.text)]
    assert captions == list(range(1, len(captions) + 1))
    assert len(captions) >= 5
    anchors = [int(n) for n in re.findall(rf'<(?:figure|table)[^>]* id="{kind.lower()}-(\d+)"', report.text)]
    assert anchors == captions
    named = [int(n) for n in re.findall(rf"{kind} (\d+)(?![.\d])", report.words)]
    for first, last in re.findall(rf"{kind}s (\d+)(?:–| and )(\d+)", report.words):
        named += range(int(first), int(last) + 1)
    assert sorted(set(named)) == captions
    assert set(re.findall(rf'href="#{kind.lower()}-(\d+)"', report.text)) <= set(map(str, captions))


def test_every_figure_and_every_table_has_its_number(report):
    for kind in ("figure", "table"):
        assert len(re.findall(rf"<{kind}\b", report.text)) == len(re.findall(rf'<{kind}\b[^>]* id="', report.text))


def test_every_citation_has_a_bibtex_entry_and_every_entry_is_cited(report):
    cited = set(re.findall(r'href="#ref-(\w+)"', report.text))
    listed = set(re.findall(r'<li id="ref-(\w+)"', report.text))
    assert cited == listed == set(entries_of(report.bibtex))
    assert "holm1979" in cited
    # a page that is sent on alone has them too
    assert report.bibtex.strip() in report.words_with_breaks


def test_the_bibtex_of_every_reference_is_whole():
    text = bibtex(REFERENCES)
    entries = entries_of(text)
    assert list(entries) == list(REFERENCES)
    assert text.isascii()
    for key, fields in entries.items():
        assert NEEDED[fields[""]] <= set(fields), key
        assert key == re.sub(r"\W", "", fields["author"].split(",")[0].lower()) + fields["year"], key
        assert all(value.count("{") == value.count("}") for value in fields.values()), key
        assert all(", " in author for author in fields["author"].split(" and ")), key
        # & and % would end a LaTeX run or comment out the rest of a line
        assert not re.search(r"(?<!\\)[&%#$]", "".join(fields.values())), key
        assert fields["url"].startswith("https://")
        assert fields.get("doi", "") in fields["url"]


def test_every_work_that_the_methods_may_cite_is_known_and_every_known_work_may_be_cited():
    keys = set(re.findall(r"\b[a-z]+(?:19|20)\d\d\b", inspect.getsource(methods)))
    assert keys == set(REFERENCES)


def test_styles_that_write_titles_small_keep_names_and_abbreviations():
    assert "{7T} {fMRI}" in REFERENCES["allen2022"].bibtex("allen2022")
    assert "title = {{ImageNet} classification" in REFERENCES["krizhevsky2012"].bibtex("krizhevsky2012")
    assert "pages = {116--126}" in REFERENCES["allen2022"].bibtex("allen2022")


def test_authors_are_printed_as_journals_print_them():
    assert REFERENCES["holm1979"].short == "Holm, 1979"
    assert REFERENCES["takagi2023"].short == "Takagi & Nishimoto, 2023"
    assert REFERENCES["lin2014"].short == "Lin et al., 2014"
    assert REFERENCES["lin2014"].full.startswith("Lin, T.-Y., et al. (2014). ")
    assert REFERENCES["song2021"].full.startswith("Song, J., Meng, C., & Ermon, S. (2021). ")
    assert REFERENCES["ho2022"].full.endswith("guidance. arXiv preprint.")


def pictures_by_trial(config):
    trials = NsdTree(Path(config.paths.nsd)).trials(1)
    return dict(zip(trial_labels(trials), trials.nsd_id.tolist(), strict=True))


def test_every_picture_of_a_gallery_names_its_trial_and_its_score(report, config):
    cards = re.findall(r"<p><b>(.*?)</b>, rank \d+.*?Picture (\d+) \((.*?)\):", report.text, re.DOTALL)
    assert len(cards) == 2 * 6
    shown = pictures_by_trial(config)
    assert [shown[trial] for _, _, trial in cards] == [int(picture) for _, picture, _ in cards]
    assert all(re.fullmatch(r"−?\d\.\d{3}", score) for score, _, _ in cards)


@pytest.mark.parametrize("averaged", [False, True])
def test_every_column_of_a_sheet_names_its_trial_and_its_score(config, tmp_path, monkeypatch, averaged):
    sheets = []

    def contact_sheet(columns, rows, title, simulated):
        sheets.append((columns, title))
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr("braind.models.sheets.contact_sheet", contact_sheet)
    paths = {"data": config.paths.data, "nsd": config.paths.nsd}
    settings = load_config(None, {"paths": paths, "decode": {"preset": "live-1", "engine": "torch"}})
    written = decode_trials(settings, 1, "0:3", "zc", tmp_path, averaged=averaged)
    ((columns, title),) = sheets
    sidecars = [json.loads(path.with_suffix(".json").read_text()) for path in written[:-1]]
    for column, path, sidecar in zip(columns, written[:-1], sidecars, strict=True):
        label = column.label.replace("\n", " ")
        if averaged:
            assert re.fullmatch(rf"nsd-{sidecar['nsd_id']:05d} \d+ trials?", label)
        else:
            assert pictures_by_trial(config)[label] == sidecar["nsd_id"]
            assert label.replace(" ", "_") in path.name
        seen, decoded = measured_pixels(column.pictures[0][None]), measured_pixels(np.array(Image.open(path))[None])
        assert column.score == f"PixCorr {number(pixcorr(seen, decoded)[0], '.2f')}"
    assert "PixCorr of seen and zc" in title


def test_no_number_of_the_page_has_a_hyphen_for_a_minus_sign(report):
    assert "−0.250" in report.words
    assert "[−0.300, −0.100]" in report.words
    # Dates, names and hashes join words by hyphens; a minus sign follows a space, a bracket or a tag.
    text = report.words.split("The same references as BibTeX")[0]
    assert re.findall(r"(?<!\w)-[\d.]+", text) == []
    assert re.findall(r"\w+ - \w+", text) == []


def test_p_values_at_the_floor_are_bounds_and_stand_beside_their_correction(report):
    # four tests of a table, all at the floor of 10,000 permutations
    assert report.text.count("<small>p ≤ 0.0001</small><small>Holm ≤ 0.0003</small>") == 3
    assert report.text.count("<small>p = 0.0100</small><small>Holm = 0.0300</small>") == 3
    assert "p = 0.0000" not in report.words
    assert "Holm’s method for all tests of the same table (Holm, 1979)" in report.words


def test_an_encoding_figure_that_is_not_known_still_has_a_caption():
    assert encoding_caption("new") == "Encoding analysis: new."
    assert encoding_caption("noise-surface").endswith("by strength. On the cortical surfaces.")


@pytest.fixture
def empty_config(tmp_path):
    (tmp_path / "journals").mkdir()
    return load_config(None, {"paths": {"data": str(tmp_path)}})


def test_the_page_states_the_rule_that_chose_its_session(report):
    assert report.words.count("The session is the only readable session of subject 1 in the data folder.") == 2


def test_a_session_of_the_reports_weights_is_chosen_before_newer_sessions_of_others(empty_config):
    journal_of(empty_config, "older", 1, made=2, weights="mine")
    journal_of(empty_config, "old", 1, made=2, weights="mine")
    journal_of(empty_config, "newer", 1, made=2, weights="others")
    found = read_session(empty_config, 1, "mine")
    assert found.session.name == "old"
    assert found.rule == (
        "The session is the newest of the 3 readable sessions of subject 1 that has a decode and whose last run was "
        "decoded with this report’s weights."
    )
    found = read_session(empty_config, 1, "refitted")
    assert found.session.name == "newer"
    assert "none was decoded with this report’s weights" in found.rule


def test_a_session_that_was_opened_and_broken_off_does_not_hide_the_session_before_it(empty_config):
    journal_of(empty_config, "whole", 1, made=2, weights="others")
    journal_of(empty_config, "broken-off", 1, weights="mine")
    found = read_session(empty_config, 1, "mine")
    assert found.session.name == "whole"
    assert found.rule.endswith("that has a decode; none was decoded with this report’s weights.")


def test_sessions_without_any_decode_say_so(empty_config):
    journal_of(empty_config, "first", 1)
    journal_of(empty_config, "second", 1)
    found = read_session(empty_config, 1, "mine")
    assert found.session.name == "second"
    assert (
        found.rule == "The session is the newest of the 2 readable sessions of subject 1, none of which has a decode."
    )
