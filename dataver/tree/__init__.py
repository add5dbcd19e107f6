"""The search tree that contains a version's entries. No I/O: callables load and save blocks."""

from dataver.tree.build import FORMAT_1, Builder, Save, Shape, TreeRoot, build
from dataver.tree.checked_descent import Load
from dataver.tree.diff import Change, count_renames, diff, find_renames
from dataver.tree.edit import edit
from dataver.tree.many_trees import Forest
from dataver.tree.merge import MergeConflict, merge
from dataver.tree.read import Listed, Totals, Tree, new_name_problems
from dataver.tree.selection import WHOLE, Given, Selection, path_of
from dataver.tree.walk import Clashes, walk

__all__ = [
    "FORMAT_1",
    "WHOLE",
    "Builder",
    "Change",
    "Clashes",
    "Forest",
    "Given",
    "Listed",
    "Load",
    "MergeConflict",
    "Save",
    "Selection",
    "Shape",
    "Totals",
    "Tree",
    "TreeRoot",
    "build",
    "count_renames",
    "diff",
    "edit",
    "find_renames",
    "merge",
    "new_name_problems",
    "path_of",
    "walk",
]
