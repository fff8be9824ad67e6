"""What a fit says of captions that the text encoder cannot tell apart."""

import logging

import pytest

from braind.offline.fit.targets import warn_of_captions

PLAIN = ("a small cat at the left , red above blue", "a large cat at the left , red above blue", "a dog")
LONG = "a cat on a bed or in a box on a car by a house or "


def said(ldm, caplog, *captions):
    of_pictures = [[caption] for caption in captions]
    with caplog.at_level(logging.WARNING):
        warn_of_captions(ldm, of_pictures, ldm.encode_captions(of_pictures))
    return [record.getMessage() for record in caplog.records if record.name.startswith("braind")]


def test_captions_that_are_told_apart_are_no_warning(ldm, caplog):
    assert said(ldm, caplog, *PLAIN) == []


def test_pictures_of_the_same_captions_are_no_warning(ldm, caplog):
    assert said(ldm, caplog, "a dog", "a dog", *PLAIN) == []


def test_the_order_of_captions_is_no_difference(ldm, caplog):
    of_pictures = [[*PLAIN], [*PLAIN[::-1]], ["a whale"]]
    with caplog.at_level(logging.WARNING):
        warn_of_captions(ldm, of_pictures, ldm.encode_captions(of_pictures))
    assert not caplog.records


@pytest.mark.parametrize(
    ("captions", "words"),
    [
        (("猫", "犬"), "2 of 5 have words that its tokenizer does not know ('犬', '猫')"),
        (("猫", "犬"), "1 pairs of pictures with different captions have nearly the same c ('"),
        ((LONG + "white", "a cat"), f"1 of 5 are cut after 14 tokens ('{LONG}white')"),
        ((LONG + "white", LONG + "grey"), "have nearly the same c ('"),
        ((LONG + "9" * 60, LONG + "\x1b"), f"('{LONG} ', '{LONG}999999999…')"),
    ],
)
def test_what_the_encoder_loses_is_one_warning_with_examples(ldm, caplog, captions, words):
    (message,) = said(ldm, caplog, *captions, *PLAIN)
    assert words in message
    assert "\n" not in message
    assert "\x1b" not in message


def test_at_most_three_examples_are_given(ldm, caplog):
    (message,) = said(ldm, caplog, *(chr(0x732B + n) for n in range(9)))
    assert "9 of 9 have words" in message
    assert message.partition(";")[0].count("'") == 6
