"""From executed sections to the book and to class: ledger, data page, colophon, html, learner copies."""

from lowdose_utils.publish.branch import write_published
from lowdose_utils.publish.build import build_html, keep_record, write_pages
from lowdose_utils.publish.checkout import head_commit
from lowdose_utils.publish.claims import ledger_page
from lowdose_utils.publish.installing import package_at
from lowdose_utils.publish.learner import learner_notebook, write_learner
from lowdose_utils.publish.links import check_links
from lowdose_utils.publish.tables import sections_table

__all__ = [
    "build_html",
    "check_links",
    "head_commit",
    "keep_record",
    "learner_notebook",
    "ledger_page",
    "package_at",
    "sections_table",
    "write_learner",
    "write_pages",
    "write_published",
]
