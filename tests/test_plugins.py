"""Each fault of a plugin is found, named and kept to itself. Plugins are real distributions in a temporary folder."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from idemcore.cli.group import explain
from idemcore.errors import MissingError, UsageError
from idemcore.hookspecs import API_VERSION
from idemcore.plugins.blame import as_failure, origin
from idemcore.plugins.catalogue import Plugin, import_target, load_catalogue

Install = Callable[..., None]

GOOD = """
from idemcore.hookspecs import EncoderSpec, SolverSpec, hookimpl

@hookimpl
def idem_encoders():
    return [EncoderSpec("{name}", "{module}:Codec", "one line", api=1, offers=frozenset({{"project"}}))]
"""


def good(name: str) -> str:
    return GOOD.format(name=name, module="{module}")


def encoders(returns: str, signature: str = "()", extra: str = "") -> str:
    return (
        "from idemcore.hookspecs import *\nfrom idemcore.hookspecs import hookimpl\n"
        f"{extra}\n@hookimpl\ndef idem_encoders{signature}:\n    {returns}\n"
    )


def spec(**fields: object) -> str:
    fields = {"name": "demo", "target": "m:C", "summary": "s", "api": API_VERSION, **fields}
    return f"EncoderSpec({', '.join(f'{k}={v!r}' for k, v in fields.items())})"


def made_by(hook: str, kind: str, **fields: object) -> str:
    return encoders(f"return [{spec(**fields)}]").replace("idem_encoders", hook).replace("EncoderSpec", kind)


def generators(**fields: object) -> str:
    return made_by("idem_generators", "GeneratorSpec", **fields)


def state(name: str) -> Plugin:
    return next(p for p in load_catalogue().plugins if p.name == name)


def test_a_good_plugin_is_listed_and_resolved(install: Install) -> None:
    install("demo-a", good("demo"))
    catalogue = load_catalogue(strict=True)
    (plugin,) = catalogue.plugins
    assert (plugin.name, plugin.version, plugin.state, plugin.reason) == ("demo-a", "1.2", "ok", "")
    assert catalogue.resolve("codec", "demo") is plugin.specs[0][1]
    assert catalogue.specs("codec") == [("demo-a", plugin.specs[0][1])]
    assert catalogue.specs("solver") == []


FAULTS = {
    "import error": ("import no_such_module", "needs the package 'no_such_module', which is not installed"),
    "syntax error": ("def (", "SyntaxError"),
    "exception on import": ("raise RuntimeError('on\\nimport')", "RuntimeError: on import, at line 1 of "),
    "exit on import": ("raise SystemExit(3)", "SystemExit"),
    "exception in a hook": (
        encoders("return 1 / 0"),
        "idem_encoders of demo-bad failed: ZeroDivisionError: division by zero, at line 6 of ",
    ),
    "wrong signature": (encoders("return []", "(config)"), "config"),
    "wrong signature beside a good hook": (good("x") + "\n@hookimpl\ndef idem_solvers(a): return []", "idem_solvers"),
    "unknown hook": (good("x") + "\n@hookimpl\ndef idem_solver(): return []", "Did you mean 'idem_solvers'"),
    "hook without its prefix": ("def idm_solvers(): return []", "Did you mean 'idem_solvers'"),
    "hook without marker": (good("x") + "\ndef idem_solvers(): return []", "idem_solvers lacks @hookimpl"),
    "no hooks": ("x = 1", "implements no hook"),
    "returns None": (encoders("pass"), "returned NoneType, not a list of EncoderSpec"),
    "returns a Spec": (encoders(f"return {spec()}"), "returned EncoderSpec, not a list"),
    "yields": (encoders(f"yield {spec()}"), "returned generator, not a list"),
    "returns strings": (encoders("return ['jpeg']"), "returned a str among its EncoderSpecs"),
    "another kind": (
        encoders("return [SolverSpec('a', 'm:C', 's', api=1)]"),
        "returned a SolverSpec among its EncoderSpecs",
    ),
    "unknown capability": (
        encoders(f"return [{spec(offers={'projekt'})}]"),
        "'projekt' is not a capability. Did you mean 'project'?",
    ),
    "capability that is like none": (
        encoders(f"return [{spec(offers={'sharpness'})}]"),
        "'sharpness' is not a capability. A codec may offer: estimate, excess, gradient, measure, position, project",
    ),
    "codec with a generator's capability": (
        encoders(f"return [{spec(offers={'diffusion'})}]"),
        "codec 'demo' of demo-bad offers 'diffusion', which only generators have",
    ),
    "offers is a word": (
        encoders(f"return [{spec(offers='measure')}]"),
        "codec 'demo' of demo-bad: offers must be a set of words, such as frozenset({'measure'})",
    ),
    "offers is a list": (encoders(f"return [{spec(offers=['measure'])}]"), "such as frozenset({'project'})"),
    "generator with a cell's capability": (
        generators(offers={"diffusion", "project"}),
        "generator 'demo' of demo-bad offers 'project', which only codecs have",
    ),
    "generator with an unknown capability": (
        generators(offers={"sharpness"}),
        "A generator may offer: diffusion, diffusion-gradient, latent, restorer",
    ),
    "generator of no family": (
        generators(offers={"diffusion-gradient"}),
        "generator 'demo' of demo-bad offers no family: add diffusion, latent or restorer to its offers",
    ),
    "generator that offers nothing": (generators(), "offers no family"),
    "solver with an unknown need": (
        made_by("idem_solvers", "SolverSpec", needs={"sharpness"}),
        "A solver may need: diffusion,",
    ),
    "bad name": (encoders(f"return [{spec(name='a:b')}]"), "codec 'a:b' of demo-bad"),
    "bad target": (encoders(f"return [{spec(target='m.C')}]"), "target is 'm.C'"),
    "bad config": (encoders(f"return [{spec(config='m.C')}]"), "config is 'm.C'"),
    "one name twice": (encoders(f"return [{spec()}, {spec()}]"), "codec 'demo' of demo-bad is there twice"),
    "name of another type": (encoders(f"return [{spec(name=None)}]"), "of demo-bad: name is None, not str"),
    "magic of another type": (encoders(f"return [{spec(magic='JPEG')}]"), "magic is 'JPEG', not bytes"),
    "suffix of another type": (encoders(f"return [{spec(suffix=None)}]"), "suffix is None, not str"),
    "weights of another type": (encoders(f"return [{spec(weights='a')}]"), "weights is 'a', not tuple[str, ...]"),
    "API not stated": (encoders(f"return [{spec(api=None)}]"), "add api=1 to its Spec"),
    "API of another type": (encoders(f"return [{spec(api='1')}]"), "demo-bad describes itself wrongly: TypeError"),
}


@pytest.mark.parametrize(("source", "reason"), FAULTS.values(), ids=list(FAULTS))
def test_a_broken_plugin_is_told_in_one_line_and_stops_no_other(install: Install, source: str, reason: str) -> None:
    install("demo-a", good("first"))
    install("demo-bad", source)
    install("demo-z", good("last"))
    catalogue = load_catalogue()
    broken = state("demo-bad")
    assert broken.state == "broken"
    assert reason in broken.reason
    assert "\n" not in broken.reason
    assert "demo" in broken.reason or "demo_bad" in broken.reason
    assert [s.name for _, s in catalogue.specs("codec")] == ["first", "last"]
    assert catalogue.specs("solver") == []
    with pytest.raises(MissingError, match="demo-bad is broken"):
        load_catalogue(strict=True)


@pytest.mark.parametrize(
    ("api", "older"), [(API_VERSION + 1, "upgrade idemcore"), (API_VERSION - 1, "upgrade demo-old")]
)
def test_another_api_version_is_incompatible(install: Install, api: int, older: str) -> None:
    install("demo-old", encoders(f"return [{spec(api=api)}]"))
    plugin = state("demo-old")
    assert plugin.state == "incompatible"
    assert older in plugin.reason
    with pytest.raises(MissingError, match="incompatible"):
        load_catalogue(strict=True)


@pytest.mark.parametrize("fields", [{"offers": {"projekt"}}, {"target": "m.C"}, {"magic": "JPEG"}, {"api": 99}])
def test_who_asks_for_what_a_faulty_plugin_provides_is_told_its_fault(
    install: Install, fields: dict[str, object]
) -> None:
    install("demo-bad", encoders(f"return [{spec(**fields)}]"))
    with pytest.raises(
        MissingError, match="The codec 'demo' is not available: demo-bad is (broken|incompatible) "
    ) as told:
        load_catalogue().resolve("codec", "demo")
    assert state("demo-bad").reason in str(told.value)
    assert "idem plugins info demo-bad" in told.value.hint


def test_ctrl_c_during_loading_is_not_swallowed(install: Install) -> None:
    install("demo-a", "import _thread, time\n_thread.interrupt_main()\ntime.sleep(5)")
    with pytest.raises(KeyboardInterrupt):
        load_catalogue()


def test_an_interrupt_that_a_plugin_raises_makes_it_broken(install: Install) -> None:
    install("demo-a", "raise KeyboardInterrupt")
    (plugin,) = load_catalogue().plugins
    assert (plugin.state, "KeyboardInterrupt" in plugin.reason) == ("broken", True)


@pytest.mark.parametrize(
    ("variable", "value", "states"),
    [
        ("IDEM_PLUGINS", "demo-a", ["ok", "disabled"]),
        ("IDEM_PLUGINS", "Demo_A, other", ["ok", "disabled"]),
        ("IDEM_PLUGINS", "", ["ok", "ok"]),
        ("IDEM_DISABLE_PLUGINS", "demo-a,demo-b", ["disabled", "disabled"]),
        ("IDEM_DISABLE_PLUGINS", "demo.b", ["ok", "disabled"]),
        ("IDEM_PLUGINS", "b", ["disabled", "disabled"]),
    ],
)
def test_the_environment_allows_and_denies(
    install: Install, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, states: list[str]
) -> None:
    install("demo-a", good("a"))
    install("demo-b", good("b"))
    monkeypatch.setenv(variable, value)
    found = load_catalogue(strict=True).plugins
    assert [p.state for p in found] == states
    assert all(variable in p.reason for p in found if p.state == "disabled")


def test_an_allow_list_leaves_the_core_there(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("idemcore", good("core"))
    install("demo-a", good("a"))
    monkeypatch.setenv("IDEM_PLUGINS", "demo-b")
    assert [p.state for p in load_catalogue().plugins] == ["disabled", "ok"]
    monkeypatch.setenv("IDEM_DISABLE_PLUGINS", "idemcore")
    assert [p.state for p in load_catalogue().plugins] == ["disabled", "disabled"]


HANGS = "import time\ntime.sleep(30)\n"
HANGS_IN_A_HOOK = encoders("time.sleep(30)", extra="import time")


@pytest.mark.parametrize("source", [HANGS, HANGS_IN_A_HOOK], ids=["import", "hook"])
def test_a_plugin_that_hangs_is_left_to_itself(install: Install, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    install("demo-a", good("first"))
    install("demo-hang", source)
    monkeypatch.setenv("IDEM_PLUGIN_SECONDS", "0.3")
    begin = time.monotonic()
    catalogue = load_catalogue()
    plugin = catalogue.plugin("demo-hang")
    assert plugin.state == "broken"
    assert "demo-hang hangs: after 0.3 s it was at line " in plugin.reason
    assert "plugin_1_demo_hang.py" in plugin.reason
    assert "IDEM_DISABLE_PLUGINS=demo-hang" in plugin.reason
    assert [spec.name for _, spec in catalogue.specs("codec")] == ["first"]
    monkeypatch.setenv("IDEM_PLUGIN_SECONDS", "20")
    assert state("demo-hang").reason == plugin.reason, "a second look does not wait again"
    assert time.monotonic() - begin < 10
    monkeypatch.setenv("IDEM_DISABLE_PLUGINS", "demo-hang")
    assert state("demo-hang").state == "disabled"


def test_the_time_that_a_plugin_may_take_is_a_number(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("demo-a", good("a"))
    for text in ("soon", "0", "nan"):
        monkeypatch.setenv("IDEM_PLUGIN_SECONDS", text)
        with pytest.raises(UsageError, match="IDEM_PLUGIN_SECONDS"):
            load_catalogue()


def test_strict_is_asked_for_by_the_environment_too(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("demo-bad", "x = 1")
    monkeypatch.setenv("IDEM_STRICT", "0")
    assert state("demo-bad").state == "broken"
    monkeypatch.setenv("IDEM_STRICT", "1")
    with pytest.raises(MissingError, match="demo-bad is broken"):
        load_catalogue()
    assert [p.state for p in load_catalogue(strict=False).plugins] == ["broken"]


def test_a_name_that_the_registry_knows_stays_its_owner_s(install: Install) -> None:
    install("demo-a", good("jpeg"))
    install("idemcore-jpeg", good("jpeg"))
    catalogue = load_catalogue()
    assert catalogue.resolve("codec", "jpeg") is catalogue.resolve("codec", "idemcore-jpeg:jpeg")
    assert catalogue.resolve("codec", "demo-a:jpeg") is not catalogue.resolve("codec", "jpeg")
    (clash,) = catalogue.clashes(catalogue.plugin("demo-a"))
    assert clash == "codec 'jpeg' is idemcore-jpeg's too: type demo-a:jpeg to mean this one"


def test_a_disabled_plugin_is_not_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("demo-a", "raise KeyboardInterrupt")
    monkeypatch.setenv("IDEM_DISABLE_PLUGINS", "demo-a")
    assert state("demo-a").specs == ()


def test_an_unknown_name_offers_the_nearest(install: Install) -> None:
    install("demo-a", good("wavelet"))
    install("demo-bad", "x = 1")
    with pytest.raises(UsageError) as error:
        load_catalogue().resolve("codec", "wavlet")
    assert error.value.exit_code == 2
    assert "no codec named 'wavlet'" in error.value.message
    assert "Did you mean 'wavelet'?" in error.value.hint
    assert "Not loaded: demo-bad" in error.value.hint


def test_the_name_of_a_broken_plugin_gives_its_reason(install: Install) -> None:
    install("idemcore-jpeg", "import no_such_module")
    with pytest.raises(MissingError, match="idemcore-jpeg is broken .*no_such_module"):
        load_catalogue().resolve("codec", "jpeg")


def test_the_name_of_an_incompatible_plugin_gives_its_reason(install: Install) -> None:
    install("demo-old", encoders(f"return [{spec(api=API_VERSION + 1)}]"))
    install("demo-caps", encoders(f"return [{spec(name='good')}, {spec(name='caps', offers={'x'})}]"))
    with pytest.raises(MissingError, match="demo-old is incompatible"):
        load_catalogue().resolve("codec", "demo")
    with pytest.raises(MissingError, match="demo-caps is broken"):
        load_catalogue().resolve("codec", "good")


def test_the_name_of_a_disabled_plugin_gives_its_reason(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("idemcore-jpeg", good("jpeg"))
    monkeypatch.setenv("IDEM_DISABLE_PLUGINS", "idemcore-jpeg")
    with pytest.raises(MissingError, match="idemcore-jpeg is disabled .*IDEM_DISABLE_PLUGINS"):
        load_catalogue().resolve("codec", "jpeg")


def test_two_plugins_with_one_name_are_told_apart_by_distribution(install: Install) -> None:
    install("demo-a", good("same"))
    install("demo-b", good("same"))
    catalogue = load_catalogue()
    with pytest.raises(UsageError, match="`demo-a:same` or `demo-b:same`"):
        catalogue.resolve("codec", "same")
    first, second = (catalogue.resolve("codec", f"demo-{x}:same") for x in "ab")
    assert first.target != second.target
    assert catalogue.resolve("codec", "Demo_B:same") is second
    with pytest.raises(UsageError, match="no codec named 'demo-c:same'"):
        catalogue.resolve("codec", "demo-c:same")


def test_import_target_gives_the_object_or_the_reason(install: Install) -> None:
    install("demo-a", "class Codec:\n    class Inner: pass")
    load_catalogue()
    module = next(name for name in sys.modules if name.endswith("_demo_a"))
    assert import_target(f"{module}:Codec").__name__ == "Codec"
    assert import_target(f"{module}:Codec.Inner").__name__ == "Inner"
    for target, reason in [(f"{module}:Kodec", "Kodec"), ("no_such_module:X", "no_such_module")]:
        with pytest.raises(MissingError, match=reason):
            import_target(target)


def test_an_installed_distribution_is_found(tmp_path: Path, install: Install) -> None:
    install("demo-real", good("real"))
    code = "from idemcore.plugins.catalogue import load_catalogue as l; print(l().resolve('codec', 'real').summary)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout == "one line\n", ran.stderr


WRONG_TARGETS = {
    "codec:Codec": "there is no module codec",
    "{module}.codec:Codec": "there is no module {module}.codec",
    "{module}:Codek": "{module} has no Codek. Did you mean 'Codec'?",
}


@pytest.mark.parametrize(("target", "words"), WRONG_TARGETS.items(), ids=list(WRONG_TARGETS))
def test_a_target_that_is_not_there_is_seen_without_importing_it(install: Install, target: str, words: str) -> None:
    source = good("demo").replace("{module}:Codec", target) + "\nclass Codec: pass\n"
    install("demo-a", source)
    module = "plugin_0_demo_a"
    assert state("demo-a").state == "ok"
    (found,) = load_catalogue().examined().plugins
    assert found.state == "broken"
    assert words.replace("{module}", module) in found.reason
    with pytest.raises(MissingError, match="cannot be imported"):
        import_target(target.replace("{module}", module))


def test_a_target_in_a_package_is_found_or_its_likes_are_told(install: Install, tmp_path: Path) -> None:
    (tmp_path / "demo_pack").mkdir()
    (tmp_path / "demo_pack" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "demo_pack" / "codec.py").write_text("from x import Thing as Codec\n")
    (tmp_path / "demo_pack" / "lazy.py").write_text("def __getattr__(name): ...\n")
    for distribution, target in (("demo-a", "codec:Codec"), ("demo-b", "lazy:Whatever"), ("demo-c", "codecs:Codec")):
        install(distribution, good(distribution).replace("{module}:Codec", f"demo_pack.{target}"))
    states = {plugin.name: plugin for plugin in load_catalogue().examined().plugins}
    assert [states[name].state for name in sorted(states)] == ["ok", "ok", "broken"]
    assert "Did you mean 'codec'?" in states["demo-c"].reason


def test_an_error_inside_a_plugin_names_plugin_file_and_line(install: Install) -> None:
    install("demo-a", good("demo") + "\ndef encode():\n    return 1 / 0\n")
    load_catalogue()
    with pytest.raises(ZeroDivisionError) as error:
        sys.modules["plugin_0_demo_a"].encode()
    place = origin(error.value)
    assert place.startswith("line ")
    assert place.endswith("plugin_0_demo_a.py, in the plugin demo-a")
    assert place in explain(error.value)[0]
    assert f"({place})" in str(as_failure(error.value))
    with pytest.raises(ZeroDivisionError) as elsewhere:
        1 / 0  # noqa: B018
    assert origin(elsewhere.value) == ""


def test_the_environment_knows_our_plugins_by_their_short_names(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("idemcore-demo", good("a"))
    monkeypatch.setenv("IDEM_PLUGINS", "demo")
    assert state("idemcore-demo").state == "ok"
    monkeypatch.setenv("IDEM_DISABLE_PLUGINS", "demo")
    assert state("idemcore-demo").state == "disabled"
