"""Function, module and file names as they count for grouping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.grouping.functions import normalise_function, trim_function
from tasks_pipeline.grouping.modules import normalise_filename, normalise_module


@pytest.mark.parametrize(
    ("raw", "trimmed"),
    [
        ("-[Cart checkout:]", "-[Cart checkout:]"),
        ("__41+[Cart setUp]_block_invoke_2", "__41+[Cart setUp]_block_invoke_2"),
        ("void shop::Cart<int>::add(std::function<void (int)>) const &", "shop::Cart<T>::add"),
        ("(anonymous namespace)::load<std::vector<int>>(int)", "(anonymous namespace)::load<T>"),
        ("`anonymous namespace'::load", "(anonymous namespace)::load"),
        ("bool Cart::operator<(Cart const&) const", "Cart::operator<"),
        ("Cart::operator()(int) const", "Cart::operator()"),
        ("Cart::operator->() const", "Cart::operator->"),
        ("std::ostream& std::operator<< <char>(std::ostream&, char)", "std::operator<< <T>"),
        ("Cart::operator bool() const", "Cart::operator bool"),
        ("<shop::Cart<'a, T> as core::ops::Drop>::drop", "shop::Cart<T>::drop"),
        ("<T as core::convert::Into<U>>::into", "core::convert::Into<T>::into"),
        ("shop::run::h0123456789abcdef", "shop::run"),
        ("memcpy@@GLIBC_2.14", "memcpy"),
        ("OnTimer@8", "OnTimer"),
        ("main::$_3", "main::lambda"),
        ("main::{lambda(int)#2}::operator()(int) const", "main::lambda::operator()"),
        ("<lambda_7156c3ceaa11256748687ab67e3ef4cd>::operator()", "lambda::operator()"),
        ("crash(int*) [clone .constprop.0] [clone .cold]", "crash"),
        ("@objc Checkout.pay(Any, A -> B) -> Receipt", "Checkout.pay"),
        ("closure #1 (Swift.Int) -> () in Checkout.pay(Int) -> ()", "closure in Checkout.pay"),
        ("partial apply for thunk for @escaping @callee_guaranteed (Int) -> ()", "thunk for closure"),
        ("@objc", "closure"),
        ("broken<name(", "broken<name("),
    ],
)
def test_native_names_lose_arguments_generics_and_decorations(raw: str, trimmed: str) -> None:
    assert trim_function("native", raw) == trimmed
    assert trim_function("native", trimmed) == trimmed


@given(st.text(alphabet="ab<>()[]{}:, *&@#$'`-~operat\x01\x02", max_size=60))
def test_trimming_native_names_never_fails_and_never_empties(name: str) -> None:
    assert trim_function("native", name) or not name


@pytest.mark.parametrize(
    "name", ["<" * 4_000, "<" * 2_000 + ">" * 2_000, "<a>::" * 800, " " * 4_000 + "x", "operator" * 500]
)
def test_hostile_native_names_are_survived(name: str) -> None:
    assert trim_function("native", name)


@pytest.mark.parametrize(
    ("platform", "function", "expected"),
    [
        ("javascript", "Object.onClick", "onClick"),
        ("node", "Cart.<anonymous>", ""),
        ("javascript", "?", ""),
        ("javascript", "submit/<", ""),
        ("ruby", "block (2 levels) in render", "block"),
        ("ruby", "_app_views_cart_erb__3507123_47810", "_app_views_cart_erb"),
        ("ruby", "retry__12_34", "retry__12_34"),
        ("php", "class@anonymous\0/srv/app/Cart.php:12$0::pay", "pay"),
        ("php", "class@anonymous\0/srv/app/Cart.php:12$0", ""),
        ("php", "[Anonymous class]", ""),
        ("java", "lambda$pay$0", ""),
        ("native", "<redacted>", ""),
        ("python", "<module>", "<module>"),
    ],
)
def test_function_names_by_platform(platform: str, function: str, expected: str) -> None:
    name, reason = normalise_function(platform, function)
    assert name == expected
    assert (reason is None) == bool(expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sun.reflect.GeneratedMethodAccessor7", "sun.reflect.GeneratedMethodAccessor4711"),
        (
            "jdk.internal.reflect.GeneratedSerializationConstructorAccessor1",
            "jdk.internal.reflect.GeneratedSerializationConstructorAccessor22",
        ),
        (
            "shop.Cart$$EnhancerBySpringCGLIB$$1a2b$$FastClassByGuice$$9",
            "shop.Cart$$EnhancerBySpringCGLIB$$ff$$FastClassByGuice$$0",
        ),
        ("shop.Cart$$SpringCGLIB$$0", "shop.Cart$$SpringCGLIB$$1"),
        ("shop.Cart_$$_javassist_seam_3", "shop.Cart_$$_javassist_12"),
        ("shop.Cart$HibernateProxy$a8Xk", "shop.Cart$HibernateProxy$Zz19"),
        ("shop.core$pay$fn__1234", "shop.core$pay$fn__99"),
    ],
)
def test_generated_java_classes_of_one_kind_are_equal(one: str, other: str) -> None:
    assert normalise_module("java", one) == normalise_module("java", other)
    assert normalise_module("java", one) != normalise_module(
        "java",
        one.replace("Cart", "Basket").replace("sun.", "moon.").replace("jdk.", "jre.").replace("pay", "buy"),
    )


def test_java_lambda_classes_do_not_count() -> None:
    assert normalise_module("java", "shop.Cart$$Lambda$14/0x8000")[0] == ""


def test_javascript_modules_that_repeat_the_path_do_not_count() -> None:
    assert normalise_module("javascript", "assets/app", "https://shop.example/assets/app")[0] == ""
    assert (
        normalise_module("javascript", "cart/checkout", "https://shop.example/app.js")[0] == "cart/checkout"
    )


@pytest.mark.parametrize(
    ("platform", "filename", "expected"),
    [
        ("python", "/srv/releases/42/shop/Cart.py", "cart.py"),
        ("csharp", "C:\\build\\Shop\\Cart.cs", "cart.cs"),
        ("javascript", "./src/app.js?v=1234", "app.js"),
        ("java", "Cart_$$_javassist_17.java", "cart_$$_javassist.java"),
    ],
)
def test_file_names(platform: str, filename: str, expected: str) -> None:
    assert normalise_filename(platform, filename) == expected
