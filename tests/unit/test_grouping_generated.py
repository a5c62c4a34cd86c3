"""Names that compilers, bundlers and generators made: what a person wrote counts, the rest does not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.grouping import group_event
from tasks_pipeline.grouping.functions import normalise_function
from tasks_pipeline.grouping.generated import written_filename, written_function, written_module

MSVC = "`Door::Open'::`5'::<lambda_3>::operator()"


def function(platform: str, name: str) -> str:
    return normalise_function(platform, written_function(platform, name))[0]


@pytest.mark.parametrize(
    ("platform", "name", "same", "other"),
    [
        ("java", "lambda$pay$0", "lambda$pay$7", "lambda$refund$0"),
        ("java", "lambda$pay$0$Cart", "lambda$pay$1$com-acme-Cart", "lambda$pay2$0$Cart"),
        ("java", "pay$lambda$0", "pay$lambda-1$lambda-0", "refund$lambda$0"),  # Kotlin
        ("java", "$anonfun$pay$1", "$anonfun$pay$2$adapted", "$anonfun$refund$1"),  # Scala
        ("java", "access$1600", "access$000", "access$getTotal"),
        ("java", "$r8$lambda$3TxA", "$r8$lambda$kJ_9", "r8"),
        ("csharp", "<Pay>b__3_0", "<Pay>b__12_1", "<Refund>b__3_0"),
        ("csharp", "<Run>d__12.MoveNext", "<Run>d__9.MoveNext", "<Stop>d__12.MoveNext"),
        ("csharp", "<Pay>g__Charge|4_0", "<Pay>g__Charge|5_1", "<Pay>g__Refund|4_0"),
        ("csharp", "<Pay>g__Charge2|4_0", "<Pay>g__Charge2|5_1", "<Pay>g__Charge|4_0"),
        ("csharp", "<Pay>g__Pay_2nd3_0", "<Pay>g__Pay_2nd5_1", "<Pay>g__Pay3_0"),
        ("csharp", "pay@57-1", "pay@61", "refund@57-1"),  # F#
        ("csharp", "Cart_Pay_m0A1B2C3D4E5F", "Cart_Pay_mFFFF2C3D4E5F", "Cart_Refund_m0A1B2C3D4E5F"),
        ("go", "(*Cart).Pay.func1", "(*Cart).Pay.func2.1", "(*Cart).Refund.func1"),
        ("go", "pay.func1.deferwrap1", "pay.func3.deferwrap2", "pay.func1"),
        ("ruby", "Shop::Cart#total", "total", "Shop::Cart#lines"),
        ("ruby", "Shop::Price.of", "of", "Shop::Price.for"),
        ("ruby", "rescue in Shop::Cart#total", "rescue in total", "ensure in total"),
        ("ruby", "Money#[]", "[]", "[]="),
        (
            "php",
            "{closure:Shop\\Cart::pay():41}",
            "{closure:Shop\\Cart::pay():57}",
            "{closure:Shop\\Cart::refund():41}",
        ),
        (
            "php",
            "{closure:/srv/20261120/web.php:17}",
            "{closure:/srv/20261127/web.php:31}",
            "{closure:/srv/20261120/api.php:17}",
        ),
        (
            "php",
            "{closure:{closure:Cart::pay():3}:5}",
            "{closure:{closure:Cart::pay():4}:9}",
            "{closure:Cart::pay():3}",
        ),
        ("elixir", "-pay/2-fun-0-", "-pay/2-fun-3-", "-refund/2-fun-0-"),
        (
            "elixir",
            "fn/2 in :elixir_compiler_3.run/1",
            "fn/2 in :elixir_compiler_12.run/1",
            "fn/1 in :elixir_compiler_3.run/1",
        ),
        ("lua", "function <cart.lua:12>", "function <cart.lua:99>", "function <shop.lua:12>"),
        ("perl", "main::__ANON__[/srv/1/cart.pl:12]", "main::__ANON__[/srv/2/cart.pl:14]", "main::pay"),
        ("node", "async addLine", "addLine", "async removeLine"),
        ("javascript", "render$1", "render", "renders"),
        ("javascript", "Cart.add [as onClick]", "Cart.add", "Cart.remove [as onClick]"),
        ("javascript", "wasm-function[12]", "wasm-function[13]", "wasm"),
        ("native", MSVC, "`Door::Open'::`2'::<lambda_1>::operator()", MSVC.replace("Open", "Close")),
        (
            "native",
            MSVC,
            "Door::Open(float)::{lambda(int)#1}::operator()(int) const",
            "Door::{lambda(int)#1}::operator()",
        ),
        (
            "native",
            MSVC,
            "Door::Open::<lambda_7156c3ceaa01de3d1c2b3a4f5e6d7c8b>::operator()",
            "Door::operator()",
        ),
        ("native", MSVC, "Door::Open::__l2::<lambda_1>::operator()", "Door::Open::operator()"),
        (
            "native",
            MSVC,
            "public: void __cdecl `Door::Open(float)'::`2'::<lambda_1>::operator()(void)const",
            "Open",
        ),
        ("native", MSVC, "Door::Open(int)::'lambda0'(int)::operator()(int) const", "Door::Open"),
        ("native", MSVC, "Door::Open()::$_0::operator()() const", "Door::$_0::operator()() const"),
        ("native", MSVC, "Door::Open()::<lambda(int)>::operator()(int) const", "Door::Open"),
        ("native", "shop::pay::{closure#0}", "shop::pay::{closure#3}", "shop::refund::{closure#0}"),
        (
            "native",
            "__46-[Cart pay]_block_invoke_2",
            "___46-[Cart pay]_block_invoke.12",
            "__49-[Cart refund]_block_invoke_2",
        ),
        (
            "swift",
            "closure #1 <A>(A) -> () in Shop.map<A>(_:)",
            "closure #2 in Shop.map<B>(_:)",
            "closure #1 in Shop.all<A>(_:)",
        ),
        (
            "swift",
            "(2) suspend resume partial function for Shop.load() async throws -> ()",
            "Shop.load() async throws -> ()",
            "Shop.save() async -> ()",
        ),
        (
            "swift",
            "generic specialization <Swift.Int> of Shop.pay<A>(_: A) -> ()",
            "Shop.pay<A>(_: A) -> ()",
            "Shop.pay()",
        ),
        (
            "swift",
            "Shop.total.getter : Swift.Int",
            "merged Shop.total.getter : Swift.Int",
            "Shop.total.setter : Swift.Int",
        ),
        ("native", "_OnTimer@8", "OnTimer@4", "_OnTime@8"),
        ("native", "@OnTimer@8", "OnTimer@@16", "OnTime@@16"),
        ("native", "pay.cold.1", "pay", "play.cold.1"),
        ("native", "pay.constprop.0.isra.2", "pay + 42", "play"),
        (
            "native",
            "Cart::`scalar deleting destructor'(unsigned int)",
            "Cart::`vector deleting destructor'",
            "Shop::`scalar deleting destructor'",
        ),
    ],
)
def test_functions(platform: str, name: str, same: str, other: str) -> None:
    assert function(platform, name) == function(platform, same)
    assert function(platform, name)
    assert function(platform, name) != function(platform, other)


@pytest.mark.parametrize(
    ("platform", "name", "same", "other"),
    [
        ("java", "jdk.proxy3.$Proxy118", "com.sun.proxy.$Proxy15555", "com.acme.$Proxy3"),
        ("java", "com.acme.$Proxy3", "com.acme.$Proxy12", "com.other.$Proxy3"),
        ("java", "Cart$$ExternalSyntheticLambda2", "Cart$$ExternalSyntheticLambda5", "Shop$$ExternalSyntheticLambda2"),
        ("java", "Cart$$InternalSyntheticLambda$1$0a1b2c3d4e$0", "Cart$$InternalSyntheticLambda$2$ffff2c3d4e$1", "Cart$1"),
        ("java", "Cart$pay$1", "Cart$pay$2", "Cart$refund$1"),  # Kotlin
        ("java", "Cart$pay$1$invokeSuspend$$inlined$map$1", "Cart$pay$2$invokeSuspend$$inlined$map$3", "Cart$pay$1"),
        ("java", "Cart$$anonfun$pay$1", "Cart$$anonfun$pay$3", "Cart$$anonfun$refund$1"),
        ("java", "Cart$_pay_closure1", "Cart$_pay_closure12", "Cart$_refund_closure1"),  # Groovy
        ("java", "Cart$ByteBuddy$aB12cD34", "Cart$ByteBuddy$Zz99yY88", "Shop$ByteBuddy$aB12cD34"),
        ("java", "Cart$MockitoMock$123", "Cart$MockitoMock$99", "Cart$Mock"),
        ("java", "java.lang.invoke.LambdaForm$DMH/0x00007f01", "java.lang.invoke.LambdaForm$DMH/0x00007fff", "java.lang.invoke.LambdaForm$MH/0x00007f01"),
        ("java", "ComposableSingletons$CartKt$lambda-1$1", "ComposableSingletons$CartKt$lambda-3$1", "ComposableSingletons$ShopKt$lambda-1$1"),
        ("csharp", "Shop.Cart+<Pay>d__12", "Shop.Cart+<Pay>d__7", "Shop.Cart+<Refund>d__12"),
        ("csharp", "Shop.Cart+<>c__DisplayClass5_0", "Shop.Cart+<>c__DisplayClass6_1", "Shop.Shop+<>c__DisplayClass5_0"),
        ("csharp", "Castle.Proxies.ICartProxy_3", "Castle.Proxies.ICartProxy", "Castle.Proxies.IShopProxy_3"),
        ("php", "ContainerAb12XyZ\\getCartService", "ContainerQq98WwE\\getCartService", "ContainerAb12XyZ\\getShopService"),
        ("node", ".output.server.chunks:cart-DkX93kPq", ".output.server.chunks:cart-B7zQ01xw", ".output.server.chunks:shop-DkX93kPq"),
        ("node", "server.chunks:812", "server.chunks:47", "server.chunks:cart"),
    ],
)  # fmt: skip
def test_modules(platform: str, name: str, same: str, other: str) -> None:
    assert written_module(platform, name) == written_module(platform, same)
    assert written_module(platform, name) != written_module(platform, other)


@pytest.mark.parametrize(
    ("platform", "name", "expected"),
    [
        ("node", "/srv/chunks/cart-DkX93kPq.mjs", "/srv/chunks/cart.mjs"),
        ("node", "cart-D-X93kPq.js", "cart.js"),
        ("node", "main.5f1c9b2e.chunk.js", "main.chunk.js"),
        ("node", "812.5f1c9b2e.js", ".js"),
        ("node", "chunk-5F2KQ3XJ.js", "chunk.js"),
        ("node", "src_app_page_tsx_5a6b7c8d._.js", "src_app_page_tsx.js"),
        ("javascript", "app:///_next/page-1a2b3c4d5e6f7a8b.js?v=1", "app:///_next/page.js"),
        ("javascript", "app.3f2a1b.js", "app.js"),
        ("php", "/srv/views/da39a3ee5e6b4b0d3255bfef95601890afd80709.php", "/srv/views/.php"),
        ("python", "<ipython-input-12-a1b2c3>", "<ipython-input>"),
        ("python", "/tmp/ipykernel_1234/123456.py", "/tmp/ipykernel.py"),
        ("native", "processing.rs:143", "processing.rs"),
        ("ruby", "(eval at /srv/cart.rb:12)", "(eval)"),
        ("python", "<command-1234567>", "<command>"),
    ],
)
def test_file_names(platform: str, name: str, expected: str) -> None:
    assert written_filename(platform, name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "cart-checkout.js", "Shop-Checkout.mjs", "cart-version2.mjs", "shop-LineItem.js", "cart-ItemRow2.js", "base64url.js",
        "es2015-polyfills.js", "jquery-3.6.0.min.js", "my-component.test.js", "node-v20.js", "user-profile.js", "a.b.c.js",
        "DateTimePicker.js", "utf8-decoder.js", "index-legacy.js", "20261127-migration.js",
    ],
)  # fmt: skip
def test_words_in_file_names_stay(name: str) -> None:
    assert written_filename("node", name) == name


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ("java", "onCreate"), ("java", "<init>"), ("java", "access$getTotal$p"), ("python", "<module>"), ("python", "<lambda>"),
        ("go", "(*Cart).Pay"), ("ruby", "<class:Cart>"), ("php", "Shop\\Cart::pay"), ("csharp", "Shop.Cart.Pay"),
        ("native", "operator+"), ("native", "Cart::operator+(int)"), ("native", "-[Cart pay:]"), ("native", "std::string::~string"),
    ],
)  # fmt: skip
def test_what_people_wrote_stays(platform: str, name: str) -> None:
    assert written_function(platform, name) == name


@pytest.mark.parametrize(
    "name",
    [
        "<disabled>", "<unsupported>", "disabled backtrace", "<unknown>", "<no backtrace>", "<unavailable>", "(unknown)", "??",
        "no stack trace available", "<asynchronous suspension>", "--- End of stack trace from previous location ---",
        "... 12 more", "0x7ffabc01", "sub_140001230", "libshop.so+0x1234", "___lldb_unnamed_symbol12$$Shop",
    ],
)  # fmt: skip
def test_where_frames_stand_for_the_lack_of_them_the_message_decides(name: str) -> None:
    def keys(value: str) -> set[str]:
        stack = {"frames": [{"function": name, "in_app": True}]}
        error = {"type": "Error", "value": value, "stacktrace": stack}
        return set(group_event({"platform": "native", "exception": {"values": [error]}}).keys)

    assert keys("order 17 is late") == keys("order 18 is late")
    assert not keys("order 17 is late") & keys("the thumbnail could not be written")


@given(
    st.sampled_from(["java", "csharp", "php", "ruby", "go", "node", "native", "elixir", "python", "dart"]),
    st.text(alphabet="abCD09$_-.:/\\<>()[]{}#'`@+ |lambda", max_size=60),
)
def test_any_name_is_survived(platform: str, name: str) -> None:
    for written in (written_filename, written_module):
        assert isinstance(written(platform, name), str)
    assert isinstance(written_function(platform, name), str)


@pytest.mark.parametrize(
    "unit", ["$lambda$1", "`a'::", "{closure:", "{closure:a:1}", "_block_invoke_1", ".cold.1", "$1", "a$1", "(a) throws", "-1a", "A1", "$a$1", "specialized ", " : "]
)  # fmt: skip
def test_hostile_names_end(unit: str) -> None:
    name = (unit * 4_096)[:4_096]
    for platform in ("java", "csharp", "php", "ruby", "go", "node", "native", "elixir"):
        written_function(platform, name)
        written_module(platform, name)
        written_filename(platform, name)


@pytest.mark.parametrize(
    ("beginning", "unit", "end"),
    [
        (">d__a", "1", "Ā"),
        ("app-a1b2c3d4", "_~", "Ā"),
        ("java.lang.invoke.LambdaForm$a", "1", "!"),
        ("a", "$lambda$1", "!"),
    ],
)
def test_names_that_nearly_match_take_no_longer(beginning: str, unit: str, end: str) -> None:
    name = (beginning + unit * 4_096)[:4_095] + end
    started = time.process_time()
    for platform in ("java", "csharp", "javascript"):
        for _ in range(5):
            written_function(platform, name)
            written_module(platform, name)
            written_filename(platform, name)
    assert time.process_time() - started < 0.5
