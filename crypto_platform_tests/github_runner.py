"""What runs a workflow's job as GitHub's runner does: its scripts, in bash, one after the other.

Read is what these workflows use of the language: contexts, ``==``, ``!=``, ``&&``, ``||``, ``!``,
the functions ``cancelled``, ``failure``, ``format`` and ``fromJSON``; variables of a job and a
step; what a step writes to ``GITHUB_ENV``. Actions are played by functions.
"""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_WORDS = re.compile(r"'(?:[^']|'')*'|[A-Za-z_][\w.-]*|==|!=|&&|\|\||!|\S")
_OPERATORS = {"&&": " and ", "||": " or ", "!": " not "}
_FUNCTIONS = {"cancelled", "failure", "format", "fromJSON"}

Action = Callable[[Path, Mapping[str, str]], None]


@cache
def workflow(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = workflow(path)["jobs"]
    return found


def evaluate(expression: str, contexts: Mapping[str, Any], *, failed: bool = False) -> Any:
    """What an expression gives; what a context does not have is empty."""
    known = {
        "cancelled": lambda: False,
        "failure": lambda: failed,
        "format": lambda text, *values: re.sub(r"\{(\d)\}", lambda one: values[int(one[1])], text),
        "fromJSON": json.loads,
        "of": lambda name: _look_up(contexts, name),
    }
    python = "".join(_in_python(word) for word in _WORDS.findall(expression))
    return eval(python, {"__builtins__": {}}, known)  # noqa: S307 - of this repository's workflows


def _in_python(word: str) -> str:
    if word.startswith("'"):
        return repr(word[1:-1].replace("''", "'"))
    if word in _OPERATORS or word in _FUNCTIONS:
        return _OPERATORS.get(word, word)
    return f"of({word!r})" if re.match(r"[A-Za-z_]", word) else word


def _look_up(contexts: Mapping[str, Any], name: str) -> Any:
    found: Any = contexts
    for part in name.split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return found


def filled_in(text: Any, contexts: Mapping[str, Any]) -> str:
    """A value of a workflow, with its expressions evaluated."""

    def value(found: re.Match[str]) -> str:
        result = evaluate(found[1], contexts)
        return str(result).lower() if isinstance(result, bool) else str(result)

    return _EXPRESSION.sub(value, str(text))


@dataclass
class JobRun:
    """One run of a job.

    Attributes:
        path: The workflow.
        job: The job's name.
        workspace: Where its steps run.
        contexts: Those that GitHub gives: ``vars``, ``secrets``, ``inputs`` and ``matrix``.
        machine: Variables that a runner has from the start.
        actions: What takes the place of each action; it gets the workspace and the inputs.
        instead: What takes the place of a step's script, by the step's name.
        done: The steps that ran.
        failed: The step that failed, if any.
        output: What all steps printed.
    """

    path: Path
    job: str
    workspace: Path
    contexts: Mapping[str, Any]
    machine: Mapping[str, str]
    actions: Mapping[str, Action]
    instead: Mapping[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    failed: str = ""
    output: str = ""

    def run(self) -> "JobRun":
        """Run its steps."""
        definition = jobs(self.path)[self.job]
        held = {
            name: filled_in(text, self.contexts) for name, text in definition.get("env", {}).items()
        }
        for step in definition["steps"]:
            name = step.get("name") or step.get("uses", step.get("run", ""))
            contexts = {**self.contexts, "env": held}
            if self._is_due(str(step.get("if", "")), contexts):
                self.done.append(name)
                self._take(step, name, held, contexts)
        return self

    def _is_due(self, condition: str, contexts: Mapping[str, Any]) -> bool:
        bare = _EXPRESSION.sub(r"\1", condition)
        due = evaluate(bare, contexts, failed=bool(self.failed)) if bare else True
        goes_on_after_failure = "cancelled()" in bare and "failure()" not in bare
        return bool(due) and (goes_on_after_failure or not self.failed)

    def _take(
        self, step: Mapping[str, Any], name: str, held: dict[str, str], contexts: Mapping[str, Any]
    ) -> None:
        if "uses" in step:
            inputs = {key: filled_in(text, contexts) for key, text in step.get("with", {}).items()}
            self.actions[step["uses"].partition("@")[0]](self.workspace, inputs)
            return
        for_next = self.workspace / "github.env"
        for_next.write_text("")
        script = self.workspace / "step.sh"
        script.write_text(self.instead.get(name, step["run"]))
        shell = workflow(self.path)["defaults"]["run"]["shell"]
        assert shell == "bash"
        finished = subprocess.run(
            # As GitHub's documents give the command of this shell.
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],  # noqa: S607
            cwd=self.workspace,
            env={
                **self.machine,
                **held,
                **{key: filled_in(text, contexts) for key, text in step.get("env", {}).items()},
                "GITHUB_ENV": str(for_next),
                "GITHUB_STEP_SUMMARY": str(self.workspace / "summary.md"),
                "RUNNER_TEMP": str(self.workspace),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.output += finished.stdout
        held.update(line.split("=", 1) for line in for_next.read_text().splitlines() if line)
        if finished.returncode:
            self.failed = name
