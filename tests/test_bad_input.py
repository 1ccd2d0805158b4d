"""The table of bad input is whole: no kind twice, none without a sentence."""

from bad_input import TABLE


def test_the_table_names_each_kind_once_with_its_sentence():
    rows = [(area, kind, *row) for area, kinds in TABLE.items() for kind, row in kinds.items()]
    assert len(rows) >= 160
    for area, kind, made, sentence in rows:
        assert callable(made) or isinstance(made, (bytes, list)) or area == "an image in memory", kind
        assert isinstance(sentence, str) and len(sentence) > 5, kind
