"""The search tree that holds a version's entries. No I/O: blocks come from and go to callables."""

from dataver.tree.build import Builder, Save, TreeRoot, build
from dataver.tree.descend import Load
from dataver.tree.diff import Change, diff, find_renames
from dataver.tree.edit import edit
from dataver.tree.merge import MergeConflict, merge
from dataver.tree.naming import new_name_problems
from dataver.tree.read import Listed, Tree
from dataver.tree.select import Selection
from dataver.tree.shape import FORMAT_1, Shape

__all__ = [
    "FORMAT_1",
    "Builder",
    "Change",
    "Listed",
    "Load",
    "MergeConflict",
    "Save",
    "Selection",
    "Shape",
    "Tree",
    "TreeRoot",
    "build",
    "diff",
    "edit",
    "find_renames",
    "merge",
    "new_name_problems",
]
