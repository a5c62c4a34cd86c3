"""Errors that extensions and other programs within the browser raise on somebody's page."""

from __future__ import annotations

import re
from typing import Any

# Where the code comes from that raised it. The schemes are those of the browsers; webkit-masked-url hides an extension.
_SOURCES = re.compile(
    r"(?:chrome-extension|moz-extension|safari-extension|safari-web-extension|ms-browser-extension|webkit-masked-url|chrome"
    r"|resource|opera|edge|extension)://|extensions/|/?~?chrome/content/",
    re.IGNORECASE,
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
_LONGEST = 1024


def is_from_extension(exception: dict[str, Any]) -> bool:
    """Whether an exception was raised by an extension: by its message, or by the frame it happened in."""
    value = exception.get("value")
    if isinstance(value, str) and _MESSAGES.search(value[:_LONGEST]):
        return True
    stack = exception.get("stacktrace")
    frames = stack.get("frames") if isinstance(stack, dict) else None
    if not isinstance(frames, list) or not frames or not isinstance(frames[-1], dict):
        return False
    places = (frames[-1].get("abs_path"), frames[-1].get("filename"))
    return any(isinstance(place, str) and _SOURCES.match(place) for place in places)
