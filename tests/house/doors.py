"""What the one-door guards look for. Each guard returns how much it examined and what it found, as `path:line: why`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.house.source import Source

WRITER = "storage"

# Names that change the disk, wherever they are mentioned: calling, passing on and renaming them are all the same.
DISK_NAMES = re.compile(
    r"os\.(open|fdopen|write|pwrite|rename|renames|replace|remove|unlink|rmdir|removedirs|mkdir|makedirs|link|symlink"
    r"|truncate|ftruncate|chmod|chown|utime|mkfifo|mknod|sendfile|copy_file_range)"
    r"|shutil\.(copy|copy2|copyfile|copymode|copystat|copytree|move|rmtree|chown|make_archive|unpack_archive)"
    r"|tempfile\..+|numpy\.lib\.format\.open_memmap|numpy\.DataSource"
    r"|logging\.FileHandler|logging\.handlers\..*FileHandler"
)
# Methods that change the disk, whatever they are called on.
DISK_METHODS = {
    "chmod", "extractall", "hardlink_to", "lchmod", "mkdir", "rename", "rmdir", "save_to_disk", "symlink_to", "to_csv",
    "to_feather", "to_file", "to_hdf", "to_json", "to_parquet", "to_pickle", "tofile", "touch", "unlink", "write_bytes",
    "write_text",
}  # fmt: skip
# Writers of libraries: fine if they are given an open file, or a path in a stage, which storage commits. An open file
# is known by how its name is bound, and a stage by its name: `stage`, or `staging` for the folder of one.
LIBRARY_WRITERS = {
    "OSFile", "ParquetWriter", "imsave", "new_file", "new_stream", "output_stream", "save", "save_file", "save_model",
    "save_pretrained", "save_vocabulary", "savefig", "savetxt", "savez", "savez_compressed", "write_feather",
    "write_table",
}  # fmt: skip
OPENERS = {"BZ2File", "FileIO", "GzipFile", "LZMAFile", "TarFile", "ZipFile", "memory_map", "open"}
PLAIN_OPENERS = {"open", *(f"{name}.open" for name in ("bz2", "codecs", "gzip", "io", "lzma", "tarfile", "zstandard"))}
MODE = re.compile(r"(?=.*[wax+])[rwaxbtU+]{1,4}([:|]\w*)?")
OPEN_FILES = re.compile(r"\b(IO|BinaryIO|TextIO|BufferedWriter|BytesIO|StringIO|Stage)\b")

# Foreign modules and the only modules of mpr that may import them.
IMPORT_DOORS = {
    "faiss": {"mining.clusters", "search.faiss_index"},
    "ir_measures": {"metrics.trec_eval"},
    "pytrec_eval": {"metrics.trec_eval"},
    "datasets": {"formats.hub", "metrics.answer_hit", "metrics.judged_ranking", "metrics.pool_ranks"},
    "subprocess": {"runtime.environment", "runtime.command", "rows._side_by_side"},
    "bm25s": {"search.bm25"},
    "Stemmer": {"search.bm25"},
}
UPLOADER = "publishing.hub"
UPLOADS = {
    "create_branch", "create_commit", "create_pull_request", "create_repo", "create_tag", "delete_file",
    "delete_folder", "delete_repo", "preupload_lfs_files", "push_to_hub", "super_squash_history",
    "update_repo_settings", "update_repo_visibility", "upload_file", "upload_folder", "upload_large_folder",
}  # fmt: skip

UNSAFE_IMPORTS = {
    "_pickle", "cloudpickle", "dbm", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve", "sqlite3", "yaml",
}  # fmt: skip
UNSAFE_BUILTINS = {"eval", "exec", "compile", "__import__"}
UNSAFE_NAMES = re.compile(
    r"torch\.load|torch\.hub\..+|os\.(system|popen|exec\w+|spawn\w+|posix_spawnp?)|builtins\.(eval|exec|compile)"
    r"|pandas\.(read_pickle|eval)|importlib\.machinery\..+|importlib\.util\.spec_from_file_location|runpy\..+"
)
TENSORS = "models.weight_files"  # reads old checkpoints by torch's weights-only reader
IMPORTER = "catalogue"  # turns a name of a recipe into a module, after looking it up in the folder


@dataclass
class Found:
    """What a guard examined and what it objects to."""

    examined: int = 0
    violations: list[str] = field(default_factory=list)

    def add_names(self, sources: tuple[Source, ...], forbidden: Callable[[Source, str], object]) -> Found:
        """Looks at every imported name too, used or not."""
        for source in sources:
            for line, name in source.imports():
                self.examined += 1
                if forbidden(source, name):
                    self.violations.append(f"{source.path}:{line}: {name} must not be imported here")
        return self


def writers(sources: tuple[Source, ...]) -> Found:
    """Only storage opens files for writing, creates, renames and removes."""
    found = _each(sources, lambda source: source.module == WRITER, _writes)
    return found.add_names(sources, lambda source, name: source.module != WRITER and DISK_NAMES.fullmatch(name))


def imports(sources: tuple[Source, ...]) -> Found:
    """Each foreign thing has one door."""
    found = Found()
    for source in sources:
        for line, name in source.imports():
            found.examined += 1
            top = name.split(".")[0]
            if top in IMPORT_DOORS and source.module not in IMPORT_DOORS[top]:
                doors = " and ".join(sorted(f"mpr/{door.replace('.', '/')}.py" for door in IMPORT_DOORS[top]))
                found.violations.append(f"{source.path}:{line}: {top} is imported only by {doors}")
    return found


def uploads(sources: tuple[Source, ...]) -> Found:
    """Only hub sends anything away."""

    def check(source: Source, node: ast.AST) -> str:
        name = node.attr if isinstance(node, ast.Attribute) else source.dotted(node).rpartition(".")[2]
        return f"{name} is called only by mpr/{UPLOADER.replace('.', '/')}.py" if name in UPLOADS else ""

    return _each(sources, lambda source: source.module == UPLOADER, check)


def unsafe(sources: tuple[Source, ...]) -> Found:
    """Models and data are read as data: nothing that runs what it reads, anywhere."""
    found = _each(sources, lambda source: False, _runs_what_it_reads)
    return found.add_names(
        sources, lambda source, name: name.split(".")[0] in UNSAFE_IMPORTS or UNSAFE_NAMES.fullmatch(name)
    )


def _each(
    sources: tuple[Source, ...], exempt: Callable[[Source], bool], check: Callable[[Source, ast.AST], str]
) -> Found:
    """`check` on every name, attribute and call of every file that is not exempt."""
    found = Found()
    for source in sources:
        if not exempt(source):
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Name | ast.Attribute | ast.Call):
                    found.examined += 1
                    if why := check(source, node):
                        found.violations.append(f"{source.place(node)}: {why}")
    return found


def _writes(source: Source, node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        name = source.dotted(node)
        return f"{name} belongs to mpr/{WRITER}/__init__.py" if DISK_NAMES.fullmatch(name) else ""
    name = source.dotted(node.func)
    last = node.func.attr if isinstance(node.func, ast.Attribute) else name.rpartition(".")[2]
    if last in DISK_METHODS:
        return f".{last}() belongs to mpr/{WRITER}/__init__.py"
    if last == "replace" and isinstance(node.func, ast.Attribute) and len(node.args) == 1 and not node.keywords:
        return f".replace(path) belongs to mpr/{WRITER}/__init__.py"  # text takes two arguments
    if last in OPENERS:
        return _opens(node, name, takes_path=name in PLAIN_OPENERS or last != "open")  # `path.open(mode)` has it
    if name in ("numpy.memmap", "numpy.load"):
        return _maps(node, name)
    if last in LIBRARY_WRITERS and not any(_is_open(source, argument) for argument in node.args):
        return f".{last}() writes to something that is not an open file or a stage"
    return ""


def _opens(node: ast.Call, name: str, takes_path: bool) -> str:
    modes = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
    for argument in [*node.args[1 if takes_path else 0 :], *modes]:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and MODE.fullmatch(argument.value):
            return f"opens with mode {argument.value!r}; only mpr/{WRITER}/__init__.py opens for writing"
    if any(not isinstance(mode, ast.Constant) for mode in [*(node.args[1:2] if name in PLAIN_OPENERS else []), *modes]):
        return "opens with a mode that is not written out"
    return ""


def _maps(node: ast.Call, name: str) -> str:
    key, default = ("mode", "r+") if name == "numpy.memmap" else ("mmap_mode", None)
    modes = [keyword.value for keyword in node.keywords if keyword.arg == key] or [ast.Constant(default)]
    harmless = all(isinstance(mode, ast.Constant) and mode.value in ("r", "c", None) for mode in modes)
    return "" if harmless else f"{name} without {key}='r' writes"


def _is_open(source: Source, node: ast.AST) -> bool:
    """Whether an expression is an open file or leads into a stage: by its name, as the file binds that name."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "Path"):
            node = node.args[0]
        elif isinstance(node, ast.BinOp):
            node = node.left
        elif isinstance(node, ast.Attribute):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return False
    return node.id in ("stage", "staging") or node.id in set(_open_names(source))


def _open_names(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            if _opens_stage_file(node.context_expr):
                yield node.optional_vars.id
        elif isinstance(node, ast.Assign) and _opens_stage_file(node.value):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.arg) and node.annotation and OPEN_FILES.search(ast.unparse(node.annotation)):
            yield node.arg


def _opens_stage_file(node: ast.AST) -> bool:
    text = ast.unparse(node)
    return "stage.open(" in text or bool(re.search(r"\b(BytesIO|StringIO)\(", text))


def _runs_what_it_reads(source: Source, node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return _unsafe_call(source, node)
    name = source.dotted(node)
    if isinstance(node, ast.Name) and name in UNSAFE_BUILTINS:
        return f"{name} runs text as code"
    if name == "torch.load" and source.module == TENSORS:
        return ""  # its calls are looked at
    return f"{name} runs what it reads" if UNSAFE_NAMES.fullmatch(name) else ""


def _unsafe_call(source: Source, node: ast.Call) -> str:
    name = source.dotted(node.func)
    if name == "torch.load" and "weights_only" not in {keyword.arg for keyword in node.keywords}:
        return "torch.load without weights_only=True runs what it reads"
    if name.endswith("import_module") and source.module != IMPORTER and not isinstance(node.args[0], ast.Constant):
        return f"only mpr/{IMPORTER}.py imports a module by a name that was read"
    for keyword in node.keywords:
        value = ast.unparse(keyword.value)
        if keyword.arg in ("trust_remote_code", "allow_pickle", "shell") and value != "False":
            return f"{keyword.arg}={value} runs what it reads"
        if keyword.arg == "weights_only" and value != "True":
            return "weights_only must be True"
        if keyword.arg == "typ" and value not in ("'safe'", "'rt'"):
            return f"typ={value} may make objects of YAML"
    return ""
