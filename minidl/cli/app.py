"""The program itself, its start page, and how a command ends that cannot go on."""

from __future__ import annotations

from typing import NoReturn

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="minidl: a deep-learning engine made to be read.")


@app.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """minidl: a deep-learning engine made to be read."""
    if context.invoked_subcommand is None:
        typer.echo(
            "minidl: a deep-learning engine made to be read.\n\n"
            "  minidl train     train on digits, names, text and more, with a report\n"
            "  minidl demo      rerun the experiments behind statements about deep learning\n"
            "  minidl compress  make a trained model smaller, with what each step costs and saves\n"
            "  minidl learn     exercises: write a function, have it checked, see what you believed\n"
            "  minidl quiz      questions of interviews, asked again when they are about to be forgotten\n"
            "  minidl mock      an interview with a report\n"
            "  minidl stats     what was asked, what is due and what is remembered\n"
            "  minidl notebook  the tutorials, to read, run and change\n"
            "  minidl doctor    what this machine has, and what that means\n"
            "  minidl bench     measure against PyTorch, where it is installed\n"
            "  minidl profile   where the time and the memory of a program go\n"
            "  minidl trace     run a CUDA kernel, in Python or C++, without a GPU: races, indices out of bounds, bank conflicts\n"
            "  minidl warmup    compile the CPU kernels now instead of at their first calls\n\n"
            "In Python: `import minidl as torch`, then as you know it. `minidl COMMAND --help` says more."
        )


def fail(message: str, code: int = 2) -> NoReturn:
    """End the command with one line on standard error."""
    typer.echo(f"minidl: {message}", err=True)
    raise typer.Exit(code)
