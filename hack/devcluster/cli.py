"""The command line: up, down, status, shell, exec, kubeconfig, svc, build-tools, image."""

import os
import signal
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from devcluster.clusters import present as _present
from devcluster.clusters import provider as make_provider
from devcluster.errors import ClusterError
from devcluster.images import Build
from devcluster.locking import hold
from devcluster.paths import Cache
from devcluster.progress import Progress
from devcluster.provider import Provider, ProviderName, choose, remember, remembered
from devcluster.services import NAMES
from devcluster.tools import GoTools

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
image = typer.Typer(no_args_is_help=True, help="Images of the cluster's own.")
app.add_typer(image, name="image")

NOT_RUNNING = 3
"""Exit status of `status` when there is no cluster or a part of it is not well."""

Name = Annotated[str, typer.Option("--name", envvar="WEIR_CLUSTER", help="Which cluster; several can run at once.")]
Wanted = Annotated[ProviderName, typer.Option("--provider", envvar="WEIR_PROVIDER", help="Where it comes from.")]
_DEFAULT = "weir"


class Action(StrEnum):
    """What can be done to a process of the embedded cluster."""

    START = "start"
    KILL = "kill"
    TERM = "term"
    STOP = "stop"
    CONT = "cont"


@app.command()
def up(
    name: Name = _DEFAULT,
    provider: Wanted = ProviderName.AUTO,
    resume: Annotated[bool, typer.Option(help="Keep the objects of the last run (embedded only).")] = False,
) -> None:
    """Start the cluster and its add-ons; quick when it runs already."""
    cache, progress = Cache.default(), Progress()
    paths = cache.cluster(name)
    with hold(paths.lock):
        before = remembered(paths)
        chosen = choose(provider if before is None or provider is not ProviderName.AUTO else before)
        if before not in {None, chosen}:
            raise ClusterError(f"cluster {name!r} is of provider {before}", "Run `devcluster down` first.")
        progress.step(f"cluster {name}: provider {chosen.value}")
        remember(paths, chosen)
        make_provider(paths, cache, progress, chosen).up(resume)
        progress.step(f"cluster {name} is up; KUBECONFIG={paths.kubeconfig}")


@app.command()
def down(
    name: Name = _DEFAULT,
    wipe: Annotated[bool, typer.Option("--wipe", help="Also remove its files: images, logs, certificates.")] = False,
) -> None:
    """End the cluster: no process, mount, interface, firewall rule or cgroup of it is left."""
    cache, progress = Cache.default(), Progress()
    paths = cache.cluster(name)
    with hold(paths.lock):
        chosen = remembered(paths) or ProviderName.EMBEDDED
        make_provider(paths, cache, progress, chosen).down(wipe)
    progress.step(f"cluster {name} is down")


@app.command()
def status(name: Name = _DEFAULT) -> None:
    """Show every part of the cluster; status 0 when all are well, 3 when not."""
    cache = Cache.default()
    chosen = remembered(cache.cluster(name))
    lines = make_provider(cache.cluster(name), cache, Progress(), chosen).status() if chosen else []
    for line in lines:
        print(f"{line.part:28} {'ok' if line.healthy else 'NOT OK':7} {line.detail}".rstrip())
    if not lines:
        print(f"cluster {name} is not running")
    if not lines or not all(line.healthy for line in lines):
        raise typer.Exit(NOT_RUNNING)


@app.command()
def kubeconfig(name: Name = _DEFAULT) -> None:
    """Print the path of the administrator's kubeconfig."""
    print(_present(name).entrance().environment["KUBECONFIG"])


@app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def exec_command(command: Annotated[list[str], typer.Argument(metavar="-- CMD...")], name: Name = _DEFAULT) -> None:
    """Run a command in the cluster's network, with KUBECONFIG set and kubectl, helm ... on PATH."""
    _replace_process(_present(name), command)


@app.command()
def shell(name: Name = _DEFAULT) -> None:
    """A shell in the cluster's network, with KUBECONFIG set and kubectl, helm ... on PATH."""
    os.environ["PS1"] = f"({name}) \\w \\$ "
    _replace_process(_present(name), [os.environ.get("SHELL", "/bin/bash")])


@app.command()
def svc(
    action: Action,
    service: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    name: Name = _DEFAULT,
) -> None:
    """Inject a fault: start, kill, term, stop (pause) or cont(inue) a process of the embedded cluster."""
    _present(name).service(action.value, service)


@app.command("build-tools")
def build_tools() -> None:
    """Build all programs of the cluster from their Go modules; a no-op when they are up to date."""
    progress = Progress()
    GoTools(Cache.default(), progress).ensure()
    progress.step(f"all programs are in {Cache.default().bin}")


@image.command("build")
def image_build(
    context: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    tag: Annotated[str, typer.Option(help="For instance localhost/weir-operator:dev.")],
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Default: Dockerfile.")] = None,
    build_arg: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be given several times.")] = None,
    name: Name = _DEFAULT,
) -> None:
    """Build an image from a Dockerfile, once for every state of its inputs, and load it if the cluster runs."""
    cache = Cache.default()
    paths = cache.cluster(name)
    pairs = [argument.partition("=") for argument in build_arg or []]
    if bad := [key for key, separator, _ in pairs if not separator]:
        raise ClusterError(f"--build-arg {bad[0]} has no value", "Write it as NAME=VALUE.")
    build = Build((file or context / "Dockerfile").resolve(), context.resolve(), tag, {k: v for k, _, v in pairs})
    chosen = remembered(paths) or choose(ProviderName.AUTO)
    with hold(paths.lock):
        make_provider(paths, cache, Progress(), chosen).build_image(build)


@image.command("load")
def image_load(tag: str, name: Name = _DEFAULT) -> None:
    """Load an image that was built before into the running cluster."""
    with hold(Cache.default().cluster(name).lock):
        _present(name, quiet=False).load_image(tag)


def _replace_process(provider: Provider, command: list[str]) -> NoReturn:
    entrance = provider.entrance()
    words = [*entrance.prefix, *command]
    environment = {**os.environ, **entrance.environment}
    sys.stdout.flush()
    try:
        os.execvpe(words[0], words, environment)
    except FileNotFoundError as error:
        raise ClusterError(f"program not found: {words[0]}") from error


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # Once only: an impatient second Ctrl-C must not end the cleaning up after the first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(*arguments: Any, **options: Any) -> None:
    """Run the command line; an error that the user can act on is a message, not a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app(*arguments, **options)
    except ClusterError as error:
        print(f"devcluster: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except (KeyboardInterrupt, subprocess.CalledProcessError) as error:
        raise SystemExit(130) from error
