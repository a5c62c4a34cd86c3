"""What users met: stacks that say nothing, one problem in several spellings, crashes of native code told apart."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tasks_pipeline.grouping import group_event

Event = dict[str, Any]


def error(*frames: Event, platform: str, type: str = "Error", value: str = "", **mechanism: Any) -> Event:
    exception: Event = {"type": type, "value": value, "mechanism": {"type": "generic", **mechanism}}
    if frames:
        exception["stacktrace"] = {"frames": list(frames)}
    return {"platform": platform, "exception": {"values": [exception]}}


def together(one: Event, other: Event) -> bool:
    return bool(set(group_event(copy.deepcopy(one)).keys) & set(group_event(copy.deepcopy(other)).keys))


LOGGERS: dict[str, list[Event]] = {
    "go": [
        {"module": "runtime", "function": "goexit", "abs_path": "/usr/local/go/src/runtime/asm_amd64.s"},
        {"module": "github.com/acme/asynclog", "function": "(*Writer).loop", "abs_path": "/go/pkg/mod/github.com/acme/asynclog@v1.6.0/w.go", "in_app": True},
    ],
    "go, paths trimmed": [
        {"module": "go.uber.org/zap", "function": "(*Logger).Error", "abs_path": "go.uber.org/zap@v1.27.0/logger.go", "in_app": True},
    ],
    "python": [
        {"module": "threading", "function": "_bootstrap_inner", "abs_path": "/usr/lib/python3.12/threading.py"},
        {"module": "threading", "function": "run", "abs_path": "/usr/lib/python3.12/threading.py"},
        {"module": "logging.handlers", "function": "_monitor", "abs_path": "/usr/lib/python3.12/logging/handlers.py"},
        {"module": "loguru._handler", "function": "_queued_writer", "abs_path": "/venv/lib/python3.12/site-packages/loguru/_handler.py"},
    ],
    "java": [
        {"module": "java.lang.Thread", "function": "run"},
        {"module": "ch.qos.logback.core.AsyncAppenderBase$Worker", "function": "run"},
        {"module": "io.sentry.logback.SentryAppender", "function": "append"},
    ],
    "node": [
        {"function": "processTicksAndRejections", "filename": "node:internal/process/task_queues"},
        {"function": "write", "filename": "/srv/node_modules/winston-transport/index.js"},
    ],
    "ruby": [
        {"function": "call", "abs_path": "/bundle/gems/semantic_logger-4.1.0/lib/semantic_logger/appender.rb"},
    ],
    "php": [{"function": "Monolog\\Logger::addRecord", "abs_path": "/srv/vendor/monolog/monolog/src/Logger.php"}],
    "csharp": [
        {"module": "System.Threading.Thread", "function": "StartCallback"},
        {"module": "Serilog.Sinks.PeriodicBatching.PeriodicBatchingSink", "function": "LoopAsync"},
    ],
    "elixir": [
        {"module": "gen_event", "function": "server_update/4", "filename": "gen_event.erl"},
        {"module": "Elixir.Logger.Watcher", "function": "handle/2", "filename": "lib/logger/watcher.ex"},
    ],
}  # fmt: skip


class TestLoggers:
    """A logger with a thread of its own: all errors have its frames and no others."""

    @pytest.mark.parametrize("name", sorted(LOGGERS))
    def test_the_message_decides(self, name: str) -> None:
        platform, frames = name.partition(",")[0], LOGGERS[name]

        def told(value: str) -> Event:
            return error(*frames, platform=platform, type="*errors.errorString", value=value)

        assert together(told("sku 4711 is unknown"), told("sku 9911 is unknown"))
        assert not together(told("sku 4711 is unknown"), told("mail queue: connection refused"))

    def test_frames_of_the_application_beside_a_logger_decide(self) -> None:
        own = {"module": "shop/cart", "function": "Pay", "abs_path": "/src/cart.go", "in_app": True}
        other = own | {"function": "Refund"}
        logger = LOGGERS["go"]
        assert together(*(error(own, *logger, platform="go", value=value) for value in ("a", "b")))
        assert not together(error(own, *logger, platform="go"), error(other, *logger, platform="go"))

    def test_a_panic_in_a_library_is_where_its_stack_says(self) -> None:
        library = {"module": "example.org/pdf", "abs_path": "/go/pkg/mod/example.org/pdf@v1.0.0/pdf.go"}
        one, other = ({**library, "function": name} for name in ("read", "write"))
        panic = {"platform": "go", "type": "runtime.boundsError", "value": "index out of range"}
        assert not together(error(one, **panic), error(other, **panic))


CHUNKS = [
    ("TypeError", "Failed to fetch dynamically imported module: https://shop.test/assets/Cart-BQ3x9aaT.js"),
    ("TypeError", "error loading dynamically imported module: https://shop.test/assets/Cart-BQ3x9aaT.js"),
    ("TypeError", "Importing a module script failed."),
    ("Error", "Unable to preload CSS for /assets/Profile-Zk81Qp0d.css"),
    ("ChunkLoadError", "Loading chunk 812 failed.\n(error: https://shop.test/js/812.5f1c9b2e.js)"),
    ("Error", "Loading CSS chunk 5 failed.\n(/static/css/5.1f2e3d4c.css)"),
    ("Error", "Loading chunk cart failed."),
    ("Error", "Failed to load chunk /_next/static/chunks/0a1b2c3d.js from module 47"),
    ("ScriptExternalLoadError", "Loading script failed.\n(missing: https://cart.test/remoteEntry.js)"),
    ("Error", "Error loading https://shop.test/cart.js (SystemJS Error#3 https://git.io/JvFET#3)"),
    (
        "UnhandledRejection",
        "Uncaught (in promise) TypeError: Failed to fetch dynamically imported module: /a.js",
    ),
    ("TypeError", "'text/html' is not a valid JavaScript MIME type."),
]


@pytest.mark.parametrize(("type", "value"), CHUNKS)
def test_a_chunk_that_did_not_load_is_one_problem_whoever_says_so(type: str, value: str) -> None:
    assert together(
        error(platform="javascript", type=type, value=value),
        error(platform="javascript", type="ChunkLoadError", value="Loading chunk 1 failed."),
    )


@pytest.mark.parametrize(
    "value", ["Failed to fetch", "Load failed", "Importing binding name 'x' is not found."]
)
def test_other_failures_to_load_are_others(value: str) -> None:
    assert not together(
        error(platform="javascript", type="TypeError", value=value),
        error(platform="javascript", type="ChunkLoadError", value="Loading chunk 1 failed."),
    )


SIGNAL: Event = {"platform": "native", "type": "SIGSEGV", "value": "Segfault", "synthetic": True}


class TestNative:
    @pytest.mark.parametrize(
        "package",
        [
            "/apex/com.android.runtime/lib64/bionic/libc.so", "/apex/com.android.art/lib64/libart.so", "/system/lib64/libhwui.so",
            "/system_ext/lib64/libfoo.so", "/product/app/webview/webview.apk", "/vendor/lib64/egl/libGLES_mali.so",
            "/data/dalvik-cache/arm64/system@framework@boot.oat", "/data/misc/apexdata/com.android.art/boot.oat",
            "/memfd:jit-cache (deleted)", "/system/lib64/libhoudini.so", "libndk_translation.so", "/system/lib64/arm64/libc.so",
            "linux-vdso.so.1", "linux-gate.so.1", "/lib/x86_64-linux-gnu/libc.so.6", "libc-2.31.so", "/nix/store/abc-glibc-2.38/lib/libc.so.6",
            "/snap/core22/864/usr/lib/libfoo.so", "/usr/lib/wine/x86_64-unix/ntdll.so", "/usr/lib/system/libsystem_kernel.dylib", "UIKitCore",
            "/System/Library/Frameworks/AppKit.framework/AppKit", "/private/preboot/Cryptexes/OS/System/Library/x", "dyld_shared_cache_arm64e",
            "/Users/ann/Library/Developer/Xcode/iOS DeviceSupport/17.0/Symbols/usr/lib/libfoo.dylib", "/usr/libexec/rosetta/runtime",
            "C:\\Windows\\System32\\ntdll.dll", "c:\\windows\\syswow64\\KERNEL32.DLL", "\\Device\\HarddiskVolume3\\Windows\\System32\\x.dll",
            "\\SystemRoot\\System32\\x.dll", "wow64cpu.dll", "xtajit64.dll", "VCRUNTIME140.dll",
        ],
    )  # fmt: skip
    def test_libraries_of_the_system_are_not_the_application(self, package: str) -> None:
        event = error({"function": "f", "package": package, "in_app": True}, platform="native")
        group_event(event)
        (frame,) = event["exception"]["values"][0]["stacktrace"]["frames"]
        assert frame["in_app"] is False
        assert frame["data"]["category"]

    @pytest.mark.parametrize(
        "package",
        ["/data/app/~~x==/com.acme-y==/lib/arm64/libshop.so", "/data/app/com.acme/oat/arm64/base.odex", "Shop",
         "/private/var/containers/Bundle/Application/X/Shop.app/Shop", "C:\\Games\\Shop\\Shop.exe", "/opt/shop/bin/shop", "/app/lib/libshop.so"],
    )  # fmt: skip
    def test_the_application_is_none_of_them(self, package: str) -> None:
        event = error({"function": "f", "package": package, "in_app": True}, platform="native")
        group_event(event)
        assert event["exception"]["values"][0]["stacktrace"]["frames"][0]["in_app"] is True

    ANDROID = (
        {"function": "__start_thread", "package": "/system/lib64/libc.so"},
        {"function": "__pthread_start", "package": "/system/lib64/libc.so"},
        {"function": "std::__ndk1::__thread_proxy<std::tuple<int> >"},
        {"function": "Shop::pay"},
        {"function": "memcpy", "package": "/system/lib64/libc.so"},
    )

    @pytest.mark.parametrize(
        ("position", "fields"),
        [
            (0, {"package": "/apex/com.android.runtime/lib64/bionic/libc.so"}),
            (1, {"function": None}),
            (2, {"function": "android::Thread::_threadLoop", "package": "/system/lib64/libutils.so"}),
            (3, {"function": "Shop::pay(int)"}),
            (3, {"function": "Shop::pay + 52"}),
            (3, {"function": "void Shop::pay(int) [clone .cold]"}),
            (4, {"function": "__memcpy_aarch64_simd"}),
            (4, {"function": None}),
        ],
    )
    def test_versions_of_the_system_are_the_same_crash(self, position: int, fields: Event) -> None:
        frames = [dict(frame) for frame in self.ANDROID]
        frames[position] |= fields
        assert together(error(*self.ANDROID, **SIGNAL), error(*frames, **SIGNAL))
        frames[3]["function"] = "Shop::refund"
        assert not together(error(*self.ANDROID, **SIGNAL), error(*frames, **SIGNAL))

    def test_what_the_compiler_of_art_was_at_is_told_apart(self) -> None:
        pool = {"function": "art::ThreadPoolWorker::Run", "package": "/apex/com.android.art/lib64/libart.so"}
        jit = {"function": "art::jit::Jit::CompileMethod", "package": "/apex/com.android.art/lib64/libart.so"}
        other = pool | {"function": "art::gc::Heap::Trim"}
        assert not together(error(pool, jit, **SIGNAL), error(pool, other, **SIGNAL))

    def test_handlers_of_a_signal_are_no_part_of_the_crash(self) -> None:
        crash = {"function": "Shop::pay", "package": "/opt/shop/shop"}
        handler = {"function": "__restore_rt", "package": "/lib64/libc.so.6"}
        reporter = {"function": "report", "package": "/opt/shop/shop"}
        assert together(error(crash, **SIGNAL), error(crash, handler, reporter, **SIGNAL))
        abort = {"function": "abort", "package": "/usr/lib/system/libsystem_c.dylib"}
        kill = {"function": "__pthread_kill", "package": "/usr/lib/system/libsystem_kernel.dylib"}
        assert together(error(crash, abort, **SIGNAL), error(crash, abort, reporter, kill, **SIGNAL))

    def test_destructors_made_by_the_compiler_are_places(self) -> None:
        library = {"package": "C:\\Windows\\System32\\d3d11.dll"}
        first, last = library | {"function": "UCDestroy"}, library | {"function": "Begin"}
        made = library | {"function": "destructor'"}
        assert not together(error(first, made, last, **SIGNAL), error(first, last, **SIGNAL))

    @pytest.mark.parametrize("name", ["_OnTimer@8", "OnTimer@8", "@OnTimer@8"])
    def test_decorated_names_are_the_same_function(self, name: str) -> None:
        plain, decorated = ({"function": f, "package": "Shop.exe", "in_app": True} for f in ("OnTimer", name))
        assert together(error(plain, **SIGNAL), error(decorated, **SIGNAL))
        heap = {"function": "_RtlFreeHeap@12", "package": "C:\\Windows\\System32\\ntdll.dll"}
        event = error(heap, **SIGNAL)
        group_event(event)
        assert event["exception"]["values"][0]["stacktrace"]["frames"][0]["data"]["category"] == "free"

    def test_lambdas_of_different_functions_are_told_apart(self) -> None:
        tick = {"function": "FEngineLoop::Tick", "in_app": True}

        def called(name: str) -> Event:
            return error(tick, {"function": name, "in_app": True}, platform="native", type="Ensure failed")

        one = called("Door::Open(float)::{lambda(int)#1}::operator()(int) const")
        assert together(one, called("`Door::Open'::`5'::<lambda_3>::operator()"))
        assert not together(one, called("Door::Close()::{lambda(int)#1}::operator()(int) const"))


class TestJava:
    CLICK = (
        {"module": "android.view.View", "function": "performClick"},
        {"module": "com.acme.Cart$$ExternalSyntheticLambda2", "function": "onClick", "in_app": True},
        {"module": "com.acme.Cart", "function": "lambda$bind$0", "in_app": True},
    )

    def test_numbers_of_a_build_change_nothing_and_methods_do(self) -> None:
        next_build = [dict(frame) for frame in self.CLICK]
        next_build[1]["module"] = "com.acme.Cart$$ExternalSyntheticLambda7"
        next_build[2]["function"] = "lambda$bind$3"
        assert together(error(*self.CLICK, platform="java"), error(*next_build, platform="java"))
        next_build[2]["function"] = "lambda$undo$3"
        assert not together(error(*self.CLICK, platform="java"), error(*next_build, platform="java"))

    def test_proxies_without_an_application_beside_them(self) -> None:
        client = {"module": "org.apache.cxf.jaxws.JaxWsClientProxy", "function": "invoke"}
        one, same = (
            error(client, {"module": name, "function": "fetch"}, platform="java")
            for name in ("com.sun.proxy.$Proxy15555", "jdk.proxy2.$Proxy42")
        )
        assert together(one, same)

    def test_a_cut_stack_of_a_cause_still_counts(self) -> None:
        cause = ({"module": "com.android.internal.os.ZygoteInit", "function": "main"},)
        assert together(*(error(*cause, platform="java", value=value) for value in ("a", "b")))
