"""Options that commands share, and how they get them: a dataclass of options is the first parameter of a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import typer

from weir.cli import completion
from weir.cli.cluster import Where
from weir.cli.failure import CliError
from weir.cli.printing import Output, Printer

_CLUSTER = "Cluster and output"
_PRECONDITIONS = "Preconditions (else it is refused)"


@dataclass(frozen=True)
class Place:
    """Where to look, and how to print."""

    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace; by default the context's.",
            autocompletion=completion.namespaces,
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = ""
    context: Annotated[
        str,
        typer.Option(
            help="Context of the kubeconfig.",
            autocompletion=completion.contexts,
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = ""
    kubeconfig: Annotated[
        str,
        typer.Option(
            help="File that says where the cluster is; by default KUBECONFIG.",
            show_default=False,
            rich_help_panel=_CLUSTER,
        ),
    ] = ""
    output: Annotated[Output, typer.Option("--output", "-o", help="Format.", rich_help_panel=_CLUSTER)] = Output.TEXT
    no_color: Annotated[
        bool,
        typer.Option("--no-color", help="No colour; so does NO_COLOR in the environment.", rich_help_panel=_CLUSTER),
    ] = False

    @property
    def where(self) -> Where:
        """The cluster and the namespace."""
        return Where(self.namespace, self.context, self.kubeconfig)

    @property
    def printer(self) -> Printer:
        """How to print."""
        return Printer(self.output, no_color=self.no_color)


@dataclass(frozen=True)
class One(Place):
    """One Rollout."""

    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of the Rollout; may be left out where the namespace has only one.",
            autocompletion=completion.rollouts,
            show_default=False,
        ),
    ] = ""


@dataclass(frozen=True)
class Pursued(Place):
    """Why something is asked for, and how long to follow it."""

    reason: Annotated[
        str, typer.Option("--reason", "-m", help="Why, for the record; asked for on a terminal.", show_default=False)
    ] = ""
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            help="Wait for the effect too (default on a terminal), or not even for the answer.",
            show_default=False,
        ),
    ] = None
    timeout: Annotated[str, typer.Option(help="How long to wait, such as 90s or 30m; 0s is for ever.")] = "5m"
    expires_after: Annotated[
        str,
        typer.Option(
            help="It is not executed later than that after its creation (default 1h; of `agent ask`, as long as the "
            "permit gives people to consent).",
            show_default=False,
        ),
    ] = ""


@dataclass(frozen=True)
class Asked(Pursued, One):
    """What to ask a Rollout, and how long to follow it."""

    expect_release: Annotated[
        int | None,
        typer.Option(help="Number of the release; by default as just read.", rich_help_panel=_PRECONDITIONS),
    ] = None
    expect_stage: Annotated[
        str,
        typer.Option(
            help="Stage; by default as just read, for promote and skip.",
            show_default=False,
            rich_help_panel=_PRECONDITIONS,
        ),
    ] = ""
    expect_weight: Annotated[
        int | None, typer.Option(help="Percent of requests for the candidate.", rich_help_panel=_PRECONDITIONS)
    ] = None
    expect_candidate: Annotated[
        str,
        typer.Option(help="Digest of the candidate's version.", show_default=False, rich_help_panel=_PRECONDITIONS),
    ] = ""
    no_expect: Annotated[
        bool, typer.Option("--no-expect", help="No precondition but those given.", rich_help_panel=_PRECONDITIONS)
    ] = False


def command(shared: type[Any]) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Makes a command of a function: its first parameter is a ``shared``, whose fields become options of the command.

    What the function returns is the exit code; a CliError is told in one line.
    """

    def made(function: Callable[..., int]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        # A class may come from another module than the one that it extends; its hints know both.
        hints = get_type_hints(shared, include_extras=True)
        common = [p.replace(annotation=hints[p.name]) for p in inspect.signature(shared).parameters.values()]

        @functools.wraps(function)
        def called(**given: Any) -> None:
            mine = {parameter.name: given.pop(parameter.name) for parameter in own}
            try:
                code = function(shared(**given), **mine)
            except CliError as error:
                typer.echo(f"error: {error}" if error.code else str(error), err=True)
                raise typer.Exit(error.code) from error
            raise typer.Exit(code)

        # The name comes first in the usage, what is special to the command before what all have.
        name = [p for p in common if p.name == "name"]
        rest = [p for p in common if p.name != "name"]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*name, *own, *rest)]
        del called.__wrapped__
        called.__annotations__ = {}
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return called

    return made


def length(text: str, option: str) -> float | None:
    """Seconds of a duration given on the command line; None for ever.

    Raises:
        CliError: it is no duration.
    """
    from weir.api.base import seconds

    try:
        return seconds(text) or None
    except ValueError as error:
        raise CliError(f"{option}: {error}") from None
