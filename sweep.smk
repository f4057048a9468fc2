"""A plan of `lowdose sweep` -> an executed section and its record for each combination."""

import json
import sys
from pathlib import Path

PLAN = json.loads(Path(config["plan"]).read_text(encoding="utf-8"))
PAGE = PLAN["folder"] + "/{name}.ipynb"


localrules:
    all,


rule all:
    input:
        expand(PAGE, name=PLAN["runs"]),


rule combination:
    output:
        page=PAGE,
        record=PLAN["folder"] + "/{name}.json",
    params:
        command=lambda w: PLAN["runs"][w.name],
        python=sys.executable,
    log:
        PLAN["folder"] + "/{name}.log",
    shell:
        "export OMP_NUM_THREADS={threads}; "
        "{params.python:q} -m lowdose_utils {params.command} --output {output.page:q} > {log:q} 2>&1 "
        "&& echo {wildcards.name:q}: done || {{ echo {wildcards.name:q}: failed; exit 1; }}"
