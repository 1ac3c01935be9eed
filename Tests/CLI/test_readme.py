"""The tour of README.md, run line by line as a reader would."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from conftest import Server
from processes import REPOSITORY, clean_environment

TOUR_SECONDS_MAX = 60

# Records the outcome of each curl, in whichever subshell it runs, and stops the tour at the first that fails.
PRELUDE = r"""
set -eu -o pipefail
curl() {
    local answer status=0
    answer=$(command curl --silent --show-error --fail-with-body --max-time 20 "$@") || status=$?
    printf '%s\n' "$answer" | tee "$(mktemp "$TOUR_ANSWERS/XXXXXX")"
    return $status
}
"""


def tour() -> str:
    """The fenced blocks after the comments `<!-- tour -->`, one after the other."""
    readme = (REPOSITORY / "README.md").read_text()
    blocks = re.findall(r"<!-- tour -->\s*```[a-z]*\n(.*?)\n```", readme, re.DOTALL)
    assert len(blocks) == readme.count("<!-- tour -->") > 0, "README.md has no fenced block after <!-- tour -->"
    return "\n".join(blocks)


def test_every_line_of_the_readme_tour_works(launch: Callable[..., Server], tmp_path: Path) -> None:
    server, answers = launch(), tmp_path / "answers"
    answers.mkdir()
    script = re.sub(r"(127\.0\.0\.1|localhost):8090", f"127.0.0.1:{server.port}", tour())
    assert str(server.port) in script

    variables = {"SETUP_TOKEN": server.setup_token(), "TOUR_ANSWERS": str(answers), "no_proxy": "127.0.0.1"}
    ran = subprocess.run(
        ["bash", "-c", PRELUDE + script],
        cwd=tmp_path,
        env=clean_environment(variables),
        capture_output=True,
        text=True,
        timeout=TOUR_SECONDS_MAX,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr

    received = [path.read_text() for path in answers.iterdir()]
    assert len(received) == len(re.findall(r"\bcurl\s", script)), "a curl of the tour did not run"
    assert [text for text in received if '"data"' not in text] == []
