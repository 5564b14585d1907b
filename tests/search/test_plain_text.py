"""What is shown of a text from elsewhere."""

from __future__ import annotations

from search.plain_text import cut, visible


def test_control_characters_are_shown_as_escapes() -> None:
    assert visible("a\x1b[31mb\r\x00\x9b\u202e\ud800") == r"a\x1b[31mb\r\x00\x9b\u202e\ud800"
    plain = "née 日本 [bold] <b>\n\tindented"
    assert visible(plain) == plain


def test_a_long_text_is_cut() -> None:
    assert cut("abcde", 5) == "abcde"
    assert cut("abcdef", 5) == "ab..."
