"""Source, preset, package and registry -> executed sections -> ledger and colophon -> html."""

import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

PRESET = config.get("preset", "quick")
SECTIONS = sorted(path.stem for path in Path("notebooks").glob("[0-9][0-9]_*.md"))
PRESETS = yaml.safe_load(Path("notebooks/presets.yml").read_text(encoding="utf-8"))
PACKAGE = sorted(path.as_posix() for path in Path("lowdose_utils").rglob("*.py"))
REGISTRY = ["data_registry/registry.txt", "data_registry/datasets.yml"]
BOOK = ["_config.yml", "book/_toc.yml", "book/claims.yml", "book/references.bib"] + sorted(
    path.as_posix()
    for folder in ("book", "book/_static", "book/_extra", "book/recorded_runs")
    for path in Path(folder).rglob("*" if folder == "book/_extra" else "[!.]*.*")
    if path.is_file() and not {"sections", "generated"} & set(path.parts)
)
PAGES = expand("_build/pages/{preset}/{name}.{ending}", preset=PRESET, name=SECTIONS, ending=["ipynb", "json"])

# Snakemake quietly drops a rule whose input is missing while its output exists: say it instead.
for needed in [*REGISTRY, "_config.yml", "book/_toc.yml", "book/claims.yml", "book/references.bib"]:
    if not Path(needed).exists():
        raise WorkflowError(f"{needed} is missing: restore it, for instance with git checkout -- {needed}")
for name in SECTIONS:
    if PRESET not in PRESETS.get(name, {}):
        raise WorkflowError(f"notebooks/presets.yml has no preset {PRESET} for {name}: use smoke, quick, long or paper")


localrules:
    all,
    pages,
    html,


rule all:
    input:
        PAGES,
        expand("book/sections/{name}.ipynb", name=SECTIONS),
        "book/generated/claims.md",
        "_build/html.done",


rule section:
    input:
        source="notebooks/{name}.md",
        package=PACKAGE,
        registry=REGISTRY,
    output:
        page="_build/pages/{preset}/{name}.ipynb",
        record="_build/pages/{preset}/{name}.json",
    params:
        # The values, not the file: a comment or another section's preset must not run this one again.
        values=lambda w: {key: PRESETS[w.name].get(key) for key in (w.preset, "limits")},
        python=sys.executable,
    log:
        "_build/logs/{preset}/{name}.log",
    threads: max(1, workflow.cores // len(SECTIONS))
    shell:
        "export OMP_NUM_THREADS={threads}; "
        "{params.python:q} -m lowdose_utils run {wildcards.name:q} --preset {wildcards.preset:q} > {log:q} 2>&1 "
        "&& tail -n 1 {log:q} || {{ tail -n 20 {log:q}; exit 1; }}"


rule pages:
    input:
        PAGES,
        REGISTRY,
        "book/claims.yml",
        "book/figures.yml",
        [path for path in BOOK if path.startswith("book/recorded_runs")],
    output:
        expand("book/sections/{name}.ipynb", name=SECTIONS),
        "book/generated/claims.md",
        "book/generated/figures.md",
        "book/generated/data.md",
        "book/generated/colophon.md",
        "book/generated/front.md",
        "book/generated/front.png",
    params:
        python=sys.executable,
        preset=PRESET,
    shell:
        "{params.python:q} -m lowdose_utils pages --preset {params.preset:q}"


rule html:
    input:
        rules.pages.output,
        BOOK,
        "lowdose_utils/pages.py",
    output:
        # A stamp, not index.html: Snakemake deletes declared outputs first, and the last good book must stay.
        touch("_build/html.done"),
    params:
        python=sys.executable,
        preset=PRESET,
    shell:
        "{params.python:q} -m lowdose_utils html > /dev/null"
