"""A page in headless Chromium, inside a frame of any width, looked at by a script from outside the page."""

import json
import re
import shutil
import subprocess
import threading
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is installed")

FRAME = """<!DOCTYPE html><link rel="icon" href="data:,"><body style="margin: 0"><pre id="found">nothing</pre>
<iframe src="/{page}" style="border: 0; width: {width}px; height: 900px"></iframe>
<script>
document.querySelector("iframe").addEventListener("load", (event) => {{
  const view = event.target.contentWindow, page = view.document;
  let found;
  try {{ found = (() => {{ {script} }})(); }} catch (error) {{ found = {{error: String(error)}}; }}
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""


class Server(SimpleHTTPRequestHandler):
    """Serves a folder and the frame, and notes what was asked for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path != "/frame":
            return super().do_GET()
        body = self.server.frame.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def look(page: Path, width: int, script: str, profile: Path, dark: bool = False) -> tuple[Any, list[str]]:
    """Open a page and run a script on it.

    Args:
        page: The file; its folder is served on loopback.
        width: Of the frame, in CSS pixels; a window of its own would never be narrower than 500.
        script: Body of a function that sees `page` (its document) and `view` (its window).
        profile: An empty folder for the browser.
        dark: Prefer the dark scheme.

    Returns:
        What the script returned, and the paths that were asked for besides the frame.
    """
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(page.parent)))
    server.asked, server.frame = [], FRAME.format(page=page.name, width=width, script=script)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000", f"--user-data-dir={profile}"]
    flags += ["--virtual-time-budget=10000", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command = [str(BROWSER), *flags, "--dump-dom", f"http://127.0.0.1:{server.server_port}/frame"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    finally:
        server.shutdown()
        server.server_close()
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[:2000] + done.stderr[-2000:]
    return json.loads(unescape(found[1])), [path for path in server.asked if path != "/frame"]
