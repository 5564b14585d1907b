"""What is shown of an address holds no password, wherever it stands."""

from __future__ import annotations

import pytest

from search.masking import mask, masked, masked_within, secrets_of, without_secrets
from search.spec import parse_spec
from tests.search.specs import SMALLEST

CASES = [
    ("postgresql://sweep:secret@head:5432/optuna", "postgresql://sweep:***@head:5432/optuna"),
    ("http://:secret@head:5000", "http://:***@head:5000"),
    ("postgresql://sweep:se/cret@head/optuna", "postgresql://sweep:***@head/optuna"),
    ("postgresql://sweep:se@cret@head/optuna", "postgresql://sweep:***@head/optuna"),
    ("postgresql://sweep:se:cr'et@head/optuna", "postgresql://sweep:***@head/optuna"),
    ("postgresql:///optuna?password=secret&user=a", "postgresql:///optuna?password=***&user=a"),
    ("mysql://head/a?x=1&ssl_key_password=secret", "mysql://head/a?x=1&ssl_key_password=***"),
    ("http://head/?Api-Token=secret#a", "http://head/?Api-Token=***#a"),
    ("postgresql+psycopg://u:p%40ss@h:1/d", "postgresql+psycopg://u:***@h:1/d"),
    ("postgresql://sweep:se cret@head/optuna", "postgresql://sweep:***@head/optuna"),
    ("postgresql://sweep:se cr@et:1@head/optuna", "postgresql://sweep:***@head/optuna"),
    ("https://a.blob/x?se=1&sig=secret%3D", "https://a.blob/x?se=1&sig=***"),
    ("https://a.s3/x?X-Amz-Signature=secret", "https://a.s3/x?X-Amz-Signature=***"),
    ("cannot open 'http://a:secret@b' here", "cannot open 'http://a:***@b' here"),
]


@pytest.mark.parametrize(("text", "shown"), CASES)
def test_a_password_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


def test_within_a_text_an_address_ends_where_a_space_is() -> None:
    text = (
        "http://a:5000 is down, not http://u:secret@b; ask me@home\nor http://u:secret@c?key=secret"
    )
    shown = text.replace("secret", "***")
    assert masked_within(text) == shown
    assert masked_within(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://head:5432/optuna",
        "not an address: pass",
        "sqlite:////tmp/a@b.db",
        "http://[::1]:5000",
        "a@b: c",
        "",
    ],
)
def test_what_holds_none_stays(text: str) -> None:
    assert masked(text) == text
    assert secrets_of(text) == set()


def test_a_password_is_found_as_written_and_as_meant() -> None:
    url = "postgresql+psycopg://sweep:se%40cret@head/optuna?sslpassword=a%20b"
    assert secrets_of(url) == {"se%40cret", "se@cret", "a%20b", "a b"}


@pytest.mark.parametrize("where", ["study_url", "description", "space", "name"])
def test_an_error_about_a_value_does_not_tell_the_password_in_it(where: str) -> None:
    value = ["postgresql://sweep:secret@head/optuna"]
    with pytest.raises(ValueError, match=where) as error:
        parse_spec(SMALLEST | {where: value})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["password", "passwd", "pwd", "secret", "token", "credential", "key", "signature", "sig"],
)
def test_every_parameter_that_names_a_secret_is_masked(name: str) -> None:
    assert masked(f"http://head/?a=1&my_{name}=hidden&b=2") == f"http://head/?a=1&my_{name}=***&b=2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host=head password=hidden port=5432", "host=head password=*** port=5432"),
        ("connect(user='a', password='hid den')", "connect(user='a', password=***)"),
        ('{"user": "a", "password": "hidden", "n": 1}', '{"user": "a", "password": ***, "n": 1}'),
        ("DB_PASSWORD=hidden; PGPASSWORD=hidden", "DB_PASSWORD=***; PGPASSWORD=***"),
        ("connect(token='hidden', n=2)", "connect(token=***, n=2)"),
        ("unexpected token: hidden", "unexpected token: hidden"),
        ("if password == other: pass", "if password == other: pass"),
        ("Authorization: abcdefghij", "Authorization: ***"),
        ("it is 0123456789 as set", "it is *** as set"),
        ("Authorization: Bearer abcdefgh.hidden==", "Authorization: Bearer ***"),
        ("the token is 0123456789abcdef, they say", "the token is ***, they say"),
        ("http://u:hidden@h: no", "http://u:***@h: no"),
        ("sorted(found, key=len) of token", "sorted(found, key=len) of token"),
        ("{'authorization': 'Basic abcdefgh'}", "{'authorization': 'Basic ***'}"),
        ("Basic authentication failed", "Basic authentication failed"),
        ("a bearer of news", "a bearer of news"),
        ("/home/somebody/work: no such file", "/home/somebody/work: no such file"),
    ],
)
def test_an_error_of_any_origin_tells_no_secret(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "RAY_AUTH_TOKEN": "0123456789abcdef",
        "RAY_AUTH_TOKEN_PATH": "/home/somebody",
        "PWD": "/home/somebody/work",
        "OTHER_SECRET": "news",
        "S3_SECRET_KEY": "0123456789",
    }.items():
        monkeypatch.setenv(name, value)
    assert without_secrets(text) == shown


def test_a_password_of_few_letters_does_not_shred_a_text() -> None:
    assert mask("a b ab at x://u:ab@h", "x://u:ab@h") == "a b ab at x://u:***@h"
    assert mask("abcd is it", "x://u:abcd@h") == "*** is it"
