"""``kk completion``."""

from __future__ import annotations

import click

from kaggle_kit.cli.completion import SHELLS, script
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk completion bash > ~/.local/share/bash-completion/completions/kk",
        'kk completion zsh > "${fpath[1]}/_kk"',
        "kk completion fish > ~/.config/fish/completions/kk.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
@pass_session
def command(session: Session, context: click.Context, shell: str) -> None:
    """Print what a shell needs to complete kk's commands.

    Options, ids of runs and submissions, configurations and translators are completed too.

    To try it in the shell that is open: eval "$(kk completion bash)", and the same for zsh; for fish: kk completion fish | source.
    """
    session.screen.write(script(context.find_root().command, shell))
