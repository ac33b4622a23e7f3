"""The program, its exit codes, and the options that verbs share."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..errors import InputError, RunError, WorkbenchError

TRACK = click.option(
    "--track", type=click.Choice(["research", "governed"]), default="research", show_default=True,
    help="Research is free; only governed records can lead to a release.",
)  # fmt: skip
USECASE = click.option(
    "--usecase", "-u", type=click.Path(path_type=Path), default=Path("."), show_default=True,
    help="Folder of the use case.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


class Group(click.Group):
    """Every error of ours leaves with its words and its exit code; wrong usage is wrong input."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            super().main(*args, **kwargs)
            code = 0
        except WorkbenchError as error:
            click.echo(f"{click.style('✗', fg='red')} {error}", err=True)
            code = error.exit_code
        except click.ClickException as error:
            error.show()
            code = InputError.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("✗ Interrupted. What had been sealed stays; run again to go on.", err=True)
            code = RunError.exit_code
        except OSError as error:
            click.echo(f"✗ {error}", err=True)
            code = RunError.exit_code
        except Exception:  # a fault of ours: not the reader's input, which is what exit 1 says
            traceback.print_exc()
            code = RunError.exit_code
        sys.exit(code)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="workbench")
def main() -> None:
    """Retrain an open model in a regulated field, and prove what you did.

    Exit codes: 0 done · 1 wrong input · 2 the run broke · 3 a gate did not pass ·
    4 waiting for a person · 6 something does not verify.
    """


def stored(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb its store: `--track` and `--usecase` become the argument `store`."""

    @TRACK
    @USECASE
    @wraps(function)
    def wrapper(track: str, usecase: Path, **rest: Any) -> Any:
        from ..execution.project import open_store, runs_folder

        return function(open_store(runs_folder(usecase.resolve()), track, create=False), **rest)

    return wrapper
