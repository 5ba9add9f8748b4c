"""Small pages for people who come with a browser: without scripts, and they load nothing."""

import base64
import hashlib
from html import escape

from fastapi.responses import HTMLResponse

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
dt { font-weight: 600; margin-top: 1rem; }
dd { margin: 0; }
label { display: block; font-weight: 600; margin-top: 1rem; }
input, button { font: inherit; box-sizing: border-box; width: 100%; max-width: 24rem; padding: .6rem .75rem; }
input { border: 1px solid; border-radius: .3rem; }
button { margin-top: 1.5rem; border-radius: .3rem; cursor: pointer; }
ul.codes { list-style: none; padding: 0; font-size: 1.1rem; }
p.alert { border-left: .3rem solid #c22; padding-left: .75rem; }
code { font-size: .95em; overflow-wrap: anywhere; }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action {{forms}}; frame-ancestors 'none'"
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, body: str, status: int = 200, *, forms: bool = False) -> HTMLResponse:
    """`title`: text; `body`: HTML; `forms`: whether it has some, which are sent to this server alone and with the
    origin, which a browser leaves out where no referrer is sent."""
    headers = {"Content-Security-Policy": _POLICY.format(forms="'self'" if forms else "'none'")}
    if forms:
        headers["Referrer-Policy"] = "same-origin"
    return HTMLResponse(_PAGE.format(title=escape(title), style=_STYLE, body=body), status, headers)
