"""The type stubs name what the native module has, and every public name has a docstring."""

import ast
import inspect
from pathlib import Path

import gatewave as gw
from gatewave import _native

STUB = Path(gw.__file__).with_name("_native.pyi")


def arguments(function):
    return [argument.arg for argument in function.args.args]


def test_the_stubs_are_those_of_the_module():
    tree = ast.parse(STUB.read_text())
    functions = {node.name: arguments(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    there = {name for name in dir(_native) if not name.startswith("_")}
    assert functions.keys() | classes.keys() == there
    for name, names in functions.items():
        assert list(inspect.signature(getattr(_native, name)).parameters) == names, name
    for name, node in classes.items():
        methods = {item.name: arguments(item) for item in node.body if isinstance(item, ast.FunctionDef)}
        own = {method for method in vars(getattr(_native, name)) if not method.startswith("_")}
        assert {method for method in methods if not method.startswith("_")} == own, name
        for method in own:
            parameters = [p for p in inspect.signature(getattr(getattr(_native, name), method)).parameters]
            assert [p for p in parameters if p != "self"] == [p for p in methods[method] if p != "self"], (name, method)


def test_every_public_name_has_a_docstring():
    framework = {"from_torch", "to_torch", "from_keras", "to_keras", "__version__"}
    for name in set(gw.__all__) - framework:
        value = getattr(gw, name)
        assert inspect.getdoc(value), name
        members = vars(value).items() if inspect.isclass(value) else []
        for member, of in members:
            if not member.startswith("_") and (inspect.isfunction(of) or isinstance(of, property)):
                assert inspect.getdoc(of), (name, member)
    assert set(gw.__all__) <= set(dir(gw))
