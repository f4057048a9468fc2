"""The command `lowdose`: run a section, look after the data, publish."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowdose_utils.errors import LowdoseError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lowdose", description="The book on low-dose tomography, from a terminal."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute one section")
    run.add_argument("section", help="name of the section, such as 00_scan_to_slice")
    run.add_argument("--preset", default="quick", help="smoke, quick (default), long or paper")
    run.add_argument(
        "-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="own parameter"
    )
    run.add_argument("--output", type=Path, help="where to write the executed notebook")

    sweep = commands.add_parser("sweep", help="execute one section at many values, and compare")
    sweep.add_argument("section", help="name of the section")
    sweep.add_argument("--preset", default="quick", help="smoke, quick (default), long or paper")
    sweep.add_argument(
        "-p", dest="pairs", action="append", default=[], metavar="NAME=VALUE,...", help="values to combine"
    )
    sweep.add_argument("--jobs", type=int, help="runs at the same time (default: 1)")
    sweep.add_argument("--profile", help="Snakemake's profile for a cluster, such as profiles/slurm")
    sweep.add_argument("--dry-run", action="store_true", help="check everything, run nothing")
    sweep.add_argument("--results", default="", metavar="NAME,...", help="results to draw")
    sweep.add_argument("--name", help="of the folder for all that the runs leave")

    sources = commands.add_parser("notebooks", help="write the sections as plain notebooks")
    sources.add_argument("--folder", type=Path, default=Path("_build/notebooks"))

    learner = commands.add_parser("learner", help="write copies for a class, and the answers")
    learner.add_argument("--preset", default="quick")
    learner.add_argument("--folder", type=Path, default=Path("_build/learner"))

    held = commands.add_parser("data", help="list, fetch or verify the registered data")
    actions = held.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="what is registered, and what of it is here")
    fetch = actions.add_parser("fetch", help="download and verify")
    fetch.add_argument("datasets", nargs="*", metavar="DATASET")
    fetch.add_argument("--all", action="store_true", help="every pinned dataset: an offline kit")
    verify = actions.add_parser("verify", help="hold the files that are here against their hashes")
    verify.add_argument("dataset", nargs="?")

    pages = commands.add_parser("pages", help="write ledger, data page and colophon (make book does this)")
    pages.add_argument("--preset", default="quick")
    commands.add_parser("html", help="build the book from the pages (make book does this)")
    commands.add_parser("links", help="ask whether the links of the built book lead somewhere")
    kit = commands.add_parser("kit", help="pack all that the book needs on a machine without a network")
    kit.add_argument("folder", type=Path)
    kit.add_argument("--no-data", action="store_true", help="leave the registered data out")
    kit.add_argument("--torch", metavar="REQUIREMENT", help="another build of torch than requirements.lock's")
    published = commands.add_parser("published", help="write what goes on the branch `published`")
    published.add_argument("folder", type=Path)
    record = commands.add_parser("record", help="keep a run's record in the repository")
    record.add_argument("section")
    record.add_argument("--preset", default="quick")
    return parser


def _named_values(pairs: Sequence[str]) -> dict[str, Any]:
    from lowdose_utils.parameters import parse_value

    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise LowdoseError(
                "-p", found=repr(pair), expected="NAME=VALUE", way_out="For instance -p repeats=8"
            )
        values[name] = parse_value(text)
    return values


def _data(options: argparse.Namespace) -> int:
    from lowdose_utils import data

    if options.action == "list":
        print(data.format_list())
        return 0
    if options.action == "fetch":
        if not options.all and not options.datasets:
            raise LowdoseError(
                "data fetch",
                found="no dataset named",
                expected="names of datasets, or --all",
                way_out="`lowdose data list` shows the names.",
            )
        if options.all:
            data.fetch_all(progress=True)
        for name in options.datasets:
            print(data.fetch_dataset(name, progress=True))
        return 0
    checks = data.verify(options.dataset)
    for check in checks:
        print(f"{check.state:8} {check.name}")
    return int(any(check.state == "wrong" for check in checks))


def _run(options: argparse.Namespace) -> int:
    # Imported here: papermill and torch take seconds that `lowdose data list` need not spend.
    from lowdose_utils import notebook

    root = notebook.find_root()
    if options.command == "run":
        # Slurm ends a job that has used up its time with this signal; it is then treated as Ctrl-C is.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        overrides = _named_values(options.parameters)
        output = notebook.run(
            options.section, preset=options.preset, overrides=overrides, output=options.output, root=root
        )
        print(f"{options.section}: done, preset {options.preset}, {_shown(output, root)}")
    elif options.command == "sweep":
        return _sweep(options, root)
    elif options.command == "notebooks":
        for path in notebook.write_sources(root, options.folder):
            print(path)
    elif options.command == "kit":
        return _kit(options, root)
    else:
        from lowdose_utils import publish

        if options.command == "learner":
            package = _package(root)
            for path in publish.write_learner(root, options.folder, options.preset, package=package):
                print(path)
        elif options.command == "pages":
            publish.write_pages(root, options.preset)
        elif options.command == "html":
            print(f"book: {_shown(publish.build_html(root), root)}")
        elif options.command == "links":
            broken = publish.check_links(root)
            print("\n".join(broken) or "links: every one answers")
            return int(bool(broken))
        elif options.command == "published":
            for path in publish.write_published(root, options.folder):
                print(path)
        else:
            print(_shown(publish.keep_record(root, options.section, options.preset), root))
    return 0


def _package(root: Path) -> str | None:
    """What learner copies install where the package is missing: this commit's, if the checkout is one."""
    from lowdose_utils import publish

    try:
        return publish.package_at(root, publish.head_commit(root))
    except LowdoseError as error:
        print(f"learner: no cell that installs the package (for Colab). {error}", file=sys.stderr)
        return None


def _kit(options: argparse.Namespace, root: Path) -> int:
    from lowdose_utils.kit import pack

    packed = pack(root, options.folder, with_data=not options.no_data, torch=options.torch)
    print(f"kit: {len(packed.files)} files in {packed.folder}; there: sh install.sh FOLDER")
    lacking: dict[str, list[str]] = {}
    for name, why in packed.missing.items():
        lacking.setdefault(why, []).append(name)
    for why, names in lacking.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"kit: not in it: {names[0]}{more}: {why}", file=sys.stderr)
    return int(bool(packed.missing))


def _sweep(options: argparse.Namespace, root: Path) -> int:
    from lowdose_utils.sweep import run_sweep

    return run_sweep(
        options.section,
        options.pairs,
        root=root,
        preset=options.preset,
        jobs=options.jobs,
        profile=options.profile,
        dry_run=options.dry_run,
        results=[name for name in options.results.split(",") if name],
        name=options.name,
    )


def _shown(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; errors of use are one line on standard error and exit status 1."""
    options = _parser().parse_args(arguments)
    try:
        return _data(options) if options.command == "data" else _run(options)
    except LowdoseError as error:
        print(f"lowdose: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lowdose: interrupted; what was finished is kept, run it again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
