"""Names and looks of secrets, and what becomes of texts with them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.config.scrubbing import Scrubbing
from tasks_pipeline.scrubbing.addresses import find_addresses, truncated
from tasks_pipeline.scrubbing.engine import check_pattern, spans
from tasks_pipeline.scrubbing.names import Names
from tasks_pipeline.scrubbing.scrubber import Scrubber

SCRUBBER = Scrubber(Scrubbing())
STRICT = Scrubber(Scrubbing(ip_addresses="truncate", email_addresses="remove"))
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA-x\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    "password Password PASSWORD db_password2 passwordHash user[pwd] user%5Btoken%5D passwd X-Auth-Token csrfmiddlewaretoken"
    " HTTP_AUTHORIZATION proxy-authorization Set-Cookie sessionid PHPSESSID connect.sid userSSN api_key X-Api-Key apiKeys"
    " stripeToken SECRET_KEY_BASE AWS_SECRET_ACCESS_KEY mysql_pwd private_key cardNumber card[number] credentials iban"
    " X-Amz-Signature X-Goog-Signature access_token_value passphrase Passwort kennwort client-secret".split(),
)
def test_names_of_secrets(name: str) -> None:
    assert Names().rule(name) == "password"


@pytest.mark.parametrize(
    "name",
    "author authority authenticated token_count max_tokens token_type tokens next_page_token cookie_domain session_length"
    " secretary classname keyboard monkey shipping bypass passenger tokenizer key id user assessment mission spin".split(),
)
def test_names_that_only_resemble_them(name: str) -> None:
    assert Names().rule(name) == ""


def test_names_of_a_project() -> None:
    names = Names(fields=("customer_number", "größe"), safe_fields=("card_token",))
    assert names.rule("oldCustomerNumber") == "field"
    assert names.rule("größe") == "field"
    assert names.rule("customer") == ""
    assert names.rule("cardToken") == ""
    assert names.is_safe("CARD_TOKEN")
    assert Names(defaults=False).rule("password") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("login password=hunter2 failed", "login password=[Filtered] failed"),
        ("https://x.example/?token=abc&b=1", "https://x.example/?token=[Filtered]&b=1"),
        (
            "https://s3.example/x?X-Amz-Expires=9&X-Amz-Signature=ab12",
            "https://s3.example/x?X-Amz-Expires=9&X-Amz-Signature=[Filtered]",
        ),
        ("a=b&password=x%20y&c=d", "a=b&password=[Filtered]&c=d"),
        ("user%5Btoken%5D=abc&x=1", "user%5Btoken%5D=[Filtered]&x=1"),
        ('{"user": {"password": "a\\"b"}, "n": 1}', '{"user":{"password":"[Filtered]"},"n":1}'),
        ('{"auth": ["me", "hunter2"], "n"', '{"auth": [Filtered], "n"'),
        ("{'password': 'x', 'n': 1}", "{'password': '[Filtered]', 'n': 1}"),
        ("User(id=1, password='x', name='y')", "User(id=1, password='[Filtered]', name='y')"),
        ('{\\"password\\": \\"x\\"}', '{\\"password\\": \\"[Filtered]\\"}'),
        ("password=[hunter2]", "password=[Filtered]"),
        ("password => 'x'", "password => '[Filtered]'"),
        ("Authorization: Bearer abc", "Authorization: [Filtered]"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: [Filtered]\nHost: x"),
        ("token: abc123def", "token: [Filtered]"),
        (f"sent {JWT} away", "sent [Filtered] away"),
        (f"key {PEM}", "key -----BEGIN RSA PRIVATE KEY-----[Filtered]-----END RSA PRIVATE KEY-----"),
        ("postgresql://me:p4ss@db/x", "postgresql://me:[Filtered]@db/x"),
        ("with Bearer ab12cd34", "with Bearer [Filtered]"),
        ("with Basic dXNlcjpwYXNz", "with Basic [Filtered]"),
        ("AKIAIOSFODNN7EXAMPLE", "[Filtered]"),
        ("ghp_" + "a1" * 18, "[Filtered]"),
        ("paid with 4111 1111 1111 1111.", "paid with [Filtered]."),
        ("paid with 4111-1111-1111-1111", "paid with [Filtered]"),
        ("amex 3782 822463 10005", "amex [Filtered]"),
        ("card:5500000000000004", "card:[Filtered]"),
        ("to DE89 3704 0044 0532 0130 00", "to [Filtered]"),
        ("to GB82WEST12345698765432 NOT VALID", "to [Filtered] NOT VALID"),
        ("ssn 123-45-6789", "ssn [Filtered]"),
        ("sin 130-692-544", "sin [Filtered]"),
        ("cpf 529.982.247-25", "cpf [Filtered]"),
        ("nir 1 84 12 76 451 089 46", "nir [Filtered]"),
        ("RSSMRA85T10A562S", "[Filtered]"),
        ("11010519491231002X", "[Filtered]"),
        ("QQ123456C", "QQ123456C"),
        ("AB 12 34 56 C", "[Filtered]"),
    ],
)
def test_secrets_in_texts(text: str, expected: str) -> None:
    assert SCRUBBER.text(text) == expected
    assert SCRUBBER.text(expected) == expected  # once is enough


@pytest.mark.parametrize(
    "text",
    [
        "Unexpected token: end of file",
        "password: None",
        "WHERE password = %s",
        "author=me",
        "basic authentication failed",
        "bearer authentication",
        "4111111111111112",  # a wrong check digit
        "1795347543720",  # milliseconds
        "0x4111111111111111",
        "3.4111111111111111",
        "d7b8f161794999f4015542b3e8f07d54",
        "2026-11-22T11:42:47.381536Z",
        "DE89370400440532013001",
        "000-12-3456",
        "https://user@example.com:8080/a:b@c",
        "http://key@127.0.0.1:9000/1",
        "password=[Filtered]",
        "token=<function token at 0x7f>",
        "",
    ],
)
def test_texts_that_stay(text: str) -> None:
    assert SCRUBBER.text(text) == text


def test_own_patterns() -> None:
    scrubber = Scrubber(Scrubbing(defaults=False, patterns=(r"(?i)order-\d+", r"^abc$")))
    assert scrubber.text("of Order-12 and order-7é password=x") == "of [Filtered] and [Filtered]é password=x"
    assert scrubber.text("abc") == "[Filtered]"
    assert scrubber.text("abcd") == "abcd"


@pytest.mark.parametrize("pattern", ["(a", "a*", "(?=a)b", r"(a)\1", "\0", "((a{100}){100}){100}"])
def test_patterns_that_cannot_be_used(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_pattern(pattern)


@given(st.text(max_size=200), st.sampled_from([r"\d+", "a|b", "x.y", r"\bz"]))
def test_spans_are_what_the_pattern_matches(text: str, pattern: str) -> None:
    text = text.replace("\0", "")
    if text and re.search(pattern, text, re.ASCII):
        for start, end in spans(pattern, text):
            assert 0 <= start < end <= len(text)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("truncate", "203.0.113.0 http://[2001:db8::]:80/ Chrome/131.0.0.0 12:30:45 std::vector 1.2.3.4.5"),
        ("remove", "[Filtered] http://[[Filtered]]:80/ Chrome/131.0.0.0 12:30:45 std::vector 1.2.3.4.5"),
        ("keep", "203.0.113.77 http://[2001:db8::1]:80/ Chrome/131.0.0.0 12:30:45 std::vector 1.2.3.4.5"),
    ],
)
def test_ip_addresses(mode: str, expected: str) -> None:
    text = "203.0.113.77 http://[2001:db8::1]:80/ Chrome/131.0.0.0 12:30:45 std::vector 1.2.3.4.5"
    scrubber = Scrubber(Scrubbing.model_validate({"ip_addresses": mode}))
    assert scrubber.text(text) == expected
    assert scrubber.text(expected) == expected


def test_addresses_are_cut_to_their_network() -> None:
    found = [
        truncated(address) for _, _, address in find_addresses("1.2.3.4, ::ffff:1.2.3.4, 2001:db8:1:2::3")
    ]
    assert found == ["1.2.3.0", "::ffff:1.2.3.0", "2001:db8:1::"]


def test_email_addresses_go_only_if_asked() -> None:
    text = "mail to jane.doe+x@mail.example.com now"
    assert SCRUBBER.text(text) == text
    scrubber = Scrubber(Scrubbing(email_addresses="remove"))
    assert scrubber.text(text) == "mail to [Filtered] now"


PIECES = [
    *"=:\"'\\{}[]()@/. -019aZ\n,;&%é_",
    "password",
    "Token",
    "auth",
    "4111",
    "://",
    "Bearer ",
    "key",
    "api",
    "eyJab.",
]
ANYTHING = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@given(ANYTHING)
def test_scrubbing_a_text_twice_changes_nothing_more(text: str) -> None:
    for scrubber in (SCRUBBER, STRICT):
        once = scrubber.text(text)
        assert scrubber.text(once) == once


@given(ANYTHING)
def test_the_quick_look_misses_nothing(text: str) -> None:
    rules = SCRUBBER._rules
    if rules.is_clean(text):
        assert rules.find(text) == []
