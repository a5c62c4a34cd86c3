"""Errors that extensions and other programs within the browser raise on somebody's page."""

from __future__ import annotations

import re
from typing import Any

from tasks_pipeline.recurring import SharedFrames

# The schemes of what browsers run beside the page. webkit-masked-url hides an extension; the short ones name a browser's own code
# as well, and are words that a page may use for something else when no address follows.
_EXTENSION = "(?:chrome|moz|safari|safari-web|ms-browser|edge|opera|opr|brave|vivaldi|firefox)-extension|webkit-masked-url"
_SHORT = "chrome|resource|opera|edge|extension"
# Where the code comes from that raised it. An SDK that splits a frame of Safari's at the wrong place leaves `scheme:` alone.
_SOURCES = re.compile(
    rf"(?:{_EXTENSION})(?::|$)|(?:{_SHORT})://|extensions/|/?~?chrome/content/", re.IGNORECASE
)
# The same at the end of a function's name, where the wrong split leaves it: `emit@webkit-masked-url:`.
_AFTER_FUNCTION = re.compile(
    rf"(?:^|@)(?:(?:{_EXTENSION})(?::\S{{0,1024}})?|(?:{_SHORT}):(?://\S{{0,1024}})?)$", re.IGNORECASE
)
# What the page itself cannot have caused: the messaging of extensions, and what toolbars, translators, password managers,
# mail scanners and mobile apps with a browser inside are known for.
_MESSAGES = re.compile(
    r"Extension context invalidated|Could not establish connection\. Receiving end does not exist"
    r"|message (?:port|channel) (?:is )?closed before a response was received|chrome\.runtime|browser\.runtime"
    r"|Attempting to use a disconnected port object|Object Not Found Matching Id:\d+"
    r"|__gCrWeb|__firefox__|instantSearchSDKJSBridgeClearHighlight|_AutofillCallbackHandler|zaloJSV2|WeixinJSBridge"
    r"|window\.webkit\.messageHandlers\.\w+|ucbrowser|MyApp_RemoveAllHighlights|top\.GLOBALS|originalCreateNotification"
    r"|canvas\.contentDocument|ZiteReader|fb_xd_fragment|bmi_SafeAddOnload|EBCallBackMessageReceived|conduitPage"
    r"|jigsaw is not defined|ComboSearch is not defined|atomicFindClose|plugin\.setSuspendState|Blocked a frame with origin"
    r" \"\w+-extension:"
)
_NATIVE = frozenset({"[native code]", "<anonymous>", "native"})
_LONGEST = 1024


def is_from_extension(exception: dict[str, Any]) -> bool:
    """Whether an exception was raised by an extension: by its message, or by the frame it happened in."""
    value = exception.get("value")
    if isinstance(value, str) and _MESSAGES.search(value[:_LONGEST]):
        return True
    stack = exception.get("stacktrace")
    frames = stack.get("frames") if isinstance(stack, dict) else None
    if not isinstance(frames, list | SharedFrames):
        return False
    for frame in reversed(frames):
        if isinstance(frame, dict):
            if _is_foreign(frame):
                return True
            if not _is_native(frame):
                break
    return False


def _is_native(frame: dict[str, Any]) -> bool:
    """Whether a frame is a function of the browser itself, which nobody's file has: the one that called it counts."""
    return (frame.get("filename") or frame.get("abs_path")) in _NATIVE


def _is_foreign(frame: dict[str, Any]) -> bool:
    """Whether a frame lies in an extension: its file does, its module, or the address that was left in its function's name."""
    places = (frame.get("abs_path"), frame.get("filename"), frame.get("module"))
    if any(isinstance(place, str) and _SOURCES.match(place) for place in places):
        return True
    function = frame.get("function")
    return isinstance(function, str) and bool(_AFTER_FUNCTION.search(function[-_LONGEST:]))
