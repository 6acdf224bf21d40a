"""The runner: every study with a stand-in for the tools, and some runs with the tools themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# A process that holds a file, says so, and then does something else.
HOLD = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); "
FAKE = Path(__file__).parent / "fake_tool.py"
Script = Callable[[str], ModuleType]
Main = Callable[..., dict[str, dict[str, object]]]


@pytest.fixture
def main(script: Script, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Main:
    """``run.py`` on LA with stand-ins for the tools; returns the records by study and key."""
    commands, run, outcomes, nnunet = script("commands"), script("run"), script("outcomes"), script("nnunet")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("unet.py", "nnunet.py", "self_training.py"):
        (tools / name).write_text(FAKE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(commands, "HERE", tools)
    for module in (commands, outcomes):
        monkeypatch.setattr(module, "MASG_SAM", [sys.executable, str(FAKE)])
    monkeypatch.setattr(run, "commit", lambda: os.environ.get("COMMIT", "abc"))
    monkeypatch.setattr(nnunet, "install", lambda place: place.mkdir(parents=True, exist_ok=True))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def call(*arguments: str) -> dict[str, dict[str, object]]:
        folders = ["--data", str(data), "--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
        monkeypatch.setattr(sys, "argv", ["run.py", *folders, "--datasets", "la4", *arguments])
        run.main()
        paths = (tmp_path / "results").glob("*/*.json")
        return {f"{path.parent.name}/{path.stem}": json.loads(path.read_text(encoding="utf-8")) for path in paths}

    return call


@pytest.mark.parametrize(
    ("given", "work", "results"),
    [
        ([], "runs/benchmarks", BENCHMARKS / "results"),
        (["--quick"], "runs/quick", "runs/quick/results"),  # never taken for runs in full, nor continued as such
        (["--quick", "--work", "w", "--results", "r"], "w", "r"),
    ],
)
def test_quick_runs_keep_apart(
    script: Script, monkeypatch: pytest.MonkeyPatch, given: list[str], work: str, results: str | Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--data", "DATA", "--study", "terms", *given])
    found = script("run").parse()
    assert (found.work, found.results) == (Path(work).resolve(), Path(results).resolve())


def calls(tmp_path: Path, verb: str) -> list[list[str]]:
    lines = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    return [words for words in map(json.loads, lines) if words[0] == verb]


def test_every_study_runs_quickly(main: Main, script: Script, tmp_path: Path) -> None:
    names = list(script("studies").STUDIES)
    records = main("--quick", "--study", *names)
    assert {name.split("/")[0] for name in records} == set(names) - {"clip", "published"}  # which have no LA
    record = records["modules/la4-masg-sam-0"]
    assert record["diagnostics"] == {"hae/attention_1": 0.2, "hae/drift": 0.2}
    assert record["train"].keys() == {"minutes", "cpu_minutes", "peak_gb", "commit"}
    assert "--training.steps 2" in record["command"] and record["quick"]
    assert records["peers/la4-nnU-Net-0"]["confidence"] is None
    assert {"prepare", "train", "predict"} <= records["peers/la4-nnU-Net-2d-0"].keys()
    before = len(calls(tmp_path, "evaluate"))
    main("--quick", "--study", *names)
    assert len(calls(tmp_path, "evaluate")) == before

    out = tmp_path / "RESULTS.md"
    script("tables").write(tmp_path / "results", out)
    text = out.read_text(encoding="utf-8")
    assert "| LA, 4 scans | nnU-Net 2d | 1 | 0.500 |" in text and "every 20th slice" in text and "cut down" in text
    assert "| LA, 4 scans | without drift term | 1 | 0.500 | 0.20 |" in text
    assert "**Self-training uses more images" in text
    assert "CPU min" in text and (tmp_path / "shots.svg").stat().st_size > 1000


def test_a_longer_training_is_of_the_same_budget_otherwise(script: Script) -> None:
    """250 steps and 425; seed and all else are the same."""
    run = script("studies").Run
    short, longer = (run("modules", "la4", name, 1).flags() for name in ("plain decoder", "longer plain decoder"))
    assert [pair for pair in zip(short, longer, strict=True) if pair[0] != pair[1]] == [("250", "425")]
    quick = run("modules", "la4", "longer plain decoder", 1).flags(quick=True)
    assert quick == run("modules", "la4", "plain decoder", 1).flags(quick=True)


def test_the_same_command_is_not_run_twice(main: Main, tmp_path: Path) -> None:
    """The reference of `modules` is the reference of `terms` and `controls`, under another name."""
    records = main("--study", "modules", "terms", "controls", "--methods", "masg-sam", "without drift term")
    assert len(calls(tmp_path, "train")) == 2 and len(records) == 4
    one, other = records["modules/la4-masg-sam-0"], records["terms/la4-masg-sam-0"]
    assert other["study"] == "terms" and one | {"study": "terms"} == other


def test_all_labelled_cases_are_those_of_the_comparison(main: Main, tmp_path: Path) -> None:
    """The last point of the curve is what `modules` has trained already; fewer cases are trained by themselves."""
    records = main("--study", "modules", "shots", "--methods", "masg-sam")
    assert {name for name in records if name.startswith("shots")} == {
        "shots/la4-masg-sam-1-shots-0", "shots/la4-masg-sam-2-shots-0", "shots/la4-masg-sam-0",
    }  # fmt: skip
    assert len(calls(tmp_path, "train")) == 3
    assert records["modules/la4-masg-sam-0"] | {"study": "shots"} == records["shots/la4-masg-sam-0"]


def test_two_processes_share_the_runs(main: Main, script: Script, tmp_path: Path) -> None:
    """A run that another process has in hand is left to it; when that one dies, it is free again."""
    folder = tmp_path / "work/modules/la4-masg-sam-0"
    folder.mkdir(parents=True)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD + "input()", str(folder / "in-hand")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    other.stdout.readline()
    arguments = ("--study", "modules", "--methods", "masg-sam", "plain decoder")
    assert main(*arguments).keys() == {"modules/la4-plain-decoder-0"}
    other.kill()
    other.wait()
    assert main(*arguments).keys() == {"modules/la4-plain-decoder-0", "modules/la4-masg-sam-0"}
    assert len(calls(tmp_path, "train")) == 2


def test_what_all_runs_share_is_made_by_one_process(script: Script, tmp_path: Path) -> None:
    """The others wait until it is there: an environment, a converted download."""
    held, path = script("processes").held, tmp_path / "work/in-hand"
    path.parent.mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLD + "time.sleep(1)", str(path)], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with held(path) as free:
            assert not free
        with held(path, wait=True) as free:
            assert free and other.wait(10) == 0


def test_the_machine_says_how_many_threads(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "thread" not in script("run").machine()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert " cores, 1 thread a run, " in script("run").machine()


def test_a_step_that_is_done_is_not_repeated(main: Main, tmp_path: Path) -> None:
    main("--study", "defaults", "--methods", "masg-sam")
    (tmp_path / "results/defaults/la4-masg-sam-0.json").unlink()
    (tmp_path / "work/defaults/la4-masg-sam-0/predict.json").unlink()
    main("--study", "defaults", "--methods", "masg-sam")
    assert len(calls(tmp_path, "train")) == 1 and len(calls(tmp_path, "predict")) == 2


def test_a_record_names_the_commit_that_ran(main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of one commit, its prediction of the next, and a record written at a third."""
    asked = ("--study", "defaults", "--methods", "masg-sam")
    monkeypatch.setenv("COMMIT", "first")
    assert main(*asked)["defaults/la4-masg-sam-0"]["commit"] == "first"
    (tmp_path / "results/defaults/la4-masg-sam-0.json").unlink()
    monkeypatch.setenv("COMMIT", "third")
    assert main(*asked)["defaults/la4-masg-sam-0"]["commit"] == "first"
    (tmp_path / "results/defaults/la4-masg-sam-0.json").unlink()
    (tmp_path / "work/defaults/la4-masg-sam-0/predict.json").unlink()
    assert main(*asked)["defaults/la4-masg-sam-0"]["commit"] == "first, third"


def test_masks_are_scored_anew(main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--study", "defaults", "--methods", "masg-sam")
    assert main(*asked, "--rescore") == {}
    before = main(*asked)["defaults/la4-masg-sam-0"]
    path = tmp_path / "results/defaults/la4-masg-sam-0.json"
    path.write_text(json.dumps(before | {"mean": {"dice": 0.1}, "train": {"minutes": 7}}), encoding="utf-8")
    after = main(*asked, "--rescore")["defaults/la4-masg-sam-0"]
    assert after == before | {"train": {"minutes": 7}} and after["tolerance"] == 2.0
    assert len(calls(tmp_path, "train")) == len(calls(tmp_path, "predict")) == 1
    words = calls(tmp_path, "evaluate")[-1]
    assert words[words.index("--tolerance") + 1] == "2.0"
    (tmp_path / "work/defaults/la4-masg-sam-0/predict.json").unlink()
    assert main(*asked, "--rescore")["defaults/la4-masg-sam-0"] == after
    assert "no longer there" in capsys.readouterr().err


def test_what_is_not_there_is_said(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main("--study", "modules", "--methods", "plain")
    assert "invalid choice: 'plain'" in capsys.readouterr().err
    assert main("--study", "modules", "--methods", "nnU-Net") == {}
    assert "nothing to do" in capsys.readouterr().err


def test_cost_of_a_process_and_its_children(script: Script, tmp_path: Path) -> None:
    """Three seconds of CPU, two of them in a child, are 0.05 minutes; a note that is there is believed."""
    burn = "import time\nwhile time.process_time() < {}: sum(range(100000))\n"  # user time, and little of the system
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn.format(2)!r}])\n"
    once = script("processes").once
    cost = once(tmp_path / "a/note.json", [sys.executable, "-c", child + burn.format(1)], "abc")
    assert cost["cpu_minutes"] == pytest.approx(0.05, abs=0.015) and cost["minutes"] >= 0.03 and cost["peak_gb"] > 0
    assert once(tmp_path / "a/note.json", ["false"], "def") == cost and cost["commit"] == "abc"
    with pytest.raises(SystemExit, match="failed with status 1"):
        once(tmp_path / "b.json", ["false"], "abc")
    assert not (tmp_path / "b.json").exists()


def test_parts_of_a_step_are_added_up(script: Script, tmp_path: Path) -> None:
    """A second of CPU until it fails, and another when it is run again."""
    burn = "import sys, time\nwhile time.process_time() < 1: sum(range(100000))\nsys.exit({})"
    once = script("processes").once
    with pytest.raises(SystemExit, match="status 3"):
        once(tmp_path / "note.json", [sys.executable, "-c", burn.format(3)], "abc")
    cost = once(tmp_path / "note.json", [sys.executable, "-c", burn.format(0)], "def")
    assert cost["cpu_minutes"] == pytest.approx(2 / 60, abs=0.012) and cost["commit"] == "abc, def"
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


def test_a_stopped_benchmark_takes_its_step_along(tmp_path: Path) -> None:
    step = [
        sys.executable,
        "-c",
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(99)",
    ]
    note = str(tmp_path / "note.json")
    start = f"processes.once(pathlib.Path({note!r}), {step!r}, 'abc')"
    code = f"import pathlib, processes; processes.end_with_steps(); {start}"
    benchmark = subprocess.Popen([sys.executable, "-c", code], cwd=BENCHMARKS)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text(encoding="utf-8"):
        assert benchmark.poll() is None
        time.sleep(0.05)
    benchmark.terminate()
    assert benchmark.wait() == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), 0)
    assert json.loads((tmp_path / "note.part").read_text(encoding="utf-8"))["minutes"] >= 0


def test_peers_get_the_minutes_of_masg_sam(main: Main, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run --study defaults first"):
        main("--study", "peers", "--methods", "nnU-Net")
    assert not (tmp_path / "work/nnunet").exists()
    main("--study", "defaults", "--methods", "masg-sam", "--seeds", "3")
    path = tmp_path / "results/defaults/la4-masg-sam-3.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"train": {"minutes": 21.06, "peak_gb": 1.8}}), encoding="utf-8")  # an old one
    records = main("--study", "peers", "--methods", "nnU-Net", "--seeds", "3", "--nnunet", str(tmp_path / "env"))
    (words,) = (words for words in calls(tmp_path, "train") if "--minutes" in words)
    assert words[words.index("--minutes") + 1] == "21.06" and words[words.index("--seed") + 1] == "3"
    assert words[words.index("--env") + 1] == str(tmp_path / "env")
    assert records["peers/la4-nnU-Net-3"]["command"].endswith("21.06 minutes")


def test_self_training_is_two_trainings(main: Main, script: Script, tmp_path: Path) -> None:
    """The second one on what the first one's masks were joined to; both count."""
    records = main("--study", "unlabelled", "--methods", "self-training", "--seeds", "1")
    record, own = records["unlabelled/la4-self-training-1"], tmp_path / "work/unlabelled/la4-self-training-1"
    first, second = calls(tmp_path, "train")
    assert [first[1], second[1]] == [str(tmp_path / "data/la4"), str(own / "joined/cases.json")]
    assert first[4:] == second[4:] == ["--training.seed", "1"]
    guess, test = calls(tmp_path, "predict")
    teacher = tmp_path / "work/defaults/la4-masg-sam-1/run"
    assert guess[1:] == [str(teacher), str(tmp_path / "data/la4/imagesUn"), "--out", str(own / "guesses")]
    assert test[1:3] == [str(own / "run"), str(tmp_path / "data/la4/imagesTs")]
    assert "self-trained masks" in record["command"]
    both = record["teach"]["minutes"] + record["train"]["minutes"]
    assert script("records").costs([record], "minutes") == pytest.approx(both)
    main("--study", "defaults", "--methods", "masg-sam", "--seeds", "1")
    assert len(calls(tmp_path, "train")) == 2  # the teacher's training is that of the defaults


def test_a_run_of_the_defaults_is_the_teacher(main: Main, tmp_path: Path) -> None:
    main("--study", "defaults", "--methods", "masg-sam")
    record = main("--study", "unlabelled", "--methods", "self-training")["unlabelled/la4-self-training-0"]
    assert len(calls(tmp_path, "train")) == 2
    cost = json.loads((tmp_path / "work/defaults/la4-masg-sam-0/train.json").read_text(encoding="utf-8"))
    assert record["teach"] == cost


def test_vectors_from_a_file_where_they_name_every_class(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", np.eye(2, dtype=np.float32))
    (tmp_path / "n.json").write_text(json.dumps({"rows": [{"name": "Atrium"}, {"name": "liver"}]}), encoding="utf-8")
    asked = ["--study", "controls", "--methods", "CLIP vectors"]
    assert main(*asked) == {} and "left out" in capsys.readouterr().err
    given = ["--clip-vectors", str(tmp_path / "v.npy"), "--clip-names", str(tmp_path / "n.json")]
    records = main(*asked, *given)
    assert records["controls/la4-CLIP-vectors-0"]["command"].count("VECTORS") == 1
    (words,) = calls(tmp_path, "train")
    assert (tmp_path / "work/vectors/vectors.json").exists()
    assert words[words.index("--model.dsf.location") + 1] == str(tmp_path / "work/vectors/vectors.npy")


def test_clip_studies_name_their_models(script: Script) -> None:
    by_method = {run.method: " ".join(run.flags()) for run in script("studies").clip([0])}
    assert "--model.dsf.text clip" in by_method["CLIP texts"]
    assert "--model.dsf.location flaviagiammarino/pubmed-clip-vit-base-patch32" in by_method["PubMedCLIP texts"]


def test_every_study_names_what_exists(script: Script) -> None:
    studies = script("studies")
    keys = [run.key + run.study for make in studies.STUDIES.values() for run in make([0, 1, 2])]
    assert len(set(keys)) == len(keys)
    for make in studies.STUDIES.values():
        for one in make([0, 3]):
            assert one.method in studies.METHODS and one.dataset in studies.DATASETS
            flags = one.flags()
            assert ("--training.seed" in flags) == (one.seed != 0)


def test_the_tools_themselves(data: Path, tmp_path: Path, recipe: Path) -> None:
    """Training, prediction and evaluation as processes, through ours and through the U-Net's."""
    folders = ["--data", str(data), "--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    asked = ["--datasets", "la4", "--quick", "--config", str(recipe), "--study", "terms", "modules", "unlabelled"]
    methods = ["--methods", "without drift term", "U-Net", "self-training"]
    command = [sys.executable, str(BENCHMARKS / "run.py"), *folders, *asked, *methods]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1100)
    assert result.returncode == 0, result.stderr
    ours = json.loads((tmp_path / "results/terms/la4-without-drift-term-0.json").read_text(encoding="utf-8"))
    shares = [ours["diagnostics"][f"hae/attention_{level}"] for level in (1, 2, 3, 4)]
    assert sum(shares) == pytest.approx(1, abs=2e-3)  # of bfloat16
    assert len(ours["cases"]) == 2 and len(ours["trained_on"]) == 4 and "--config tiny.yaml" in ours["command"]
    assert ours["train"]["peak_gb"] > 0.1 and ours["train"]["cpu_minutes"] > 0.01
    unet = json.loads((tmp_path / "results/modules/la4-U-Net-0.json").read_text(encoding="utf-8"))
    assert unet["facts"]["weights"] == "random values" and unet["diagnostics"] == {}
    taught = json.loads((tmp_path / "results/unlabelled/la4-self-training-0.json").read_text(encoding="utf-8"))
    assert taught["trained_on"] == ["s0", "s1", "s2", "s3", "u0", "u1"] and {"teach", "guess", "train"} < taught.keys()
