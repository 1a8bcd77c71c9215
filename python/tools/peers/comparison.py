"""One shape: every contender in its own process, checked against the library's bf16 result, then timed round by round."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from peers import bench_file
from peers.case import Case
from peers.check import worst_against, worst_against_exact
from peers.contenders import Contender
from peers.problems import Shape
from peers.rounds import Worker, WorkerFailed, interleave

WriteCase = Callable[[str, Path], None]
PRODUCT = "peers.contenders.ragdot_library:product"


class WrongProduct(Exception):
    """The library's own product was wrong, so nothing can be held against it."""


@dataclass
class Settings:
    """`write_case` writes the operands of a problem string; `folder` holds cases and results of one shape at a time."""

    write_case: WriteCase
    folder: Path
    threads: int
    rounds: int
    machine: dict
    progress: Callable[[str], None] = print


@dataclass
class Outcome:
    """Rows that were timed, and refusals of what was not."""

    rows: list[dict] = field(default_factory=list)
    refused: list[dict] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        self.rows += other.rows
        self.refused += other.refused

    def any(self, outcome: str) -> bool:
        """Was something "wrong", or "impossible"?"""
        return any(r["outcome"] == outcome for r in self.refused)


class Comparison:
    """The contenders on one shape."""

    def __init__(self, shape: Shape, settings: Settings):
        self.shape, self.settings, self.outcome = shape, settings, Outcome()
        self.cases: dict[str, Case] = {}
        self.wanted: dict[str, np.ndarray] = {}

    def path(self, name: str) -> Path:
        return self.settings.folder / name

    def case(self, operands: str) -> Case:
        """The shape's numbers on these operands; the same numbers before quantisation for all of them."""
        if operands not in self.cases:
            path = self.path(f"{operands}.safetensors")
            self.settings.write_case(str(self.shape.problem.with_operands(operands)), path)
            self.cases[operands] = Case.load(path)
        return self.cases[operands]

    def start(self, entry: str, operands: str) -> tuple[Worker, dict]:
        """A worker, and what it said once it was prepared."""
        self.case(operands)
        worker = Worker(entry, self.path(f"{operands}.safetensors"), self.settings.threads, self.shape.copies)
        return worker, worker.start()

    def result(self, worker: Worker) -> np.ndarray:
        path = self.path("out.npy")
        worker.save(path)
        return np.load(path)

    def library_result(self, operands: str) -> np.ndarray:
        """This library's result on these operands, held against float64 first."""
        if operands not in self.wanted:
            worker, about = self.start(PRODUCT, operands)
            with worker:
                if "impossible" in about:
                    raise WorkerFailed(about["impossible"])
                out = self.result(worker)
            worst = worst_against_exact(self.case(operands), out)
            if not worst <= 1:
                raise WrongProduct(f"the library's own product is {worst:.3g} times its bound away from float64")
            self.wanted[operands] = out
        return self.wanted[operands]

    def fault(self, contender: Contender, out: np.ndarray) -> str:
        """A sentence about a wrong product; empty for a right one."""
        case = self.case(contender.operands)
        if out.shape != case.out_shape():
            return f"its result is {list(out.shape)} and must be {list(case.out_shape())}"
        if contender.is_library:
            worst, rival = worst_against_exact(case, out), "float64"
        else:
            worst, rival = worst_against(case, out, self.library_result(contender.operands), contender.rounded_weights), "ragdot's"
        return "" if worst <= 1 else f"its product is {worst:.3g} times the bound away from {rival}"

    def refuse(self, contender: Contender, outcome: str, sentence: str) -> None:
        self.outcome.refused.append(bench_file.refusal(self.case(contender.operands), self.shape, contender, outcome, sentence))

    def admit(self, contender: Contender) -> tuple[Worker, dict] | None:
        """A worker whose product is right, or None with the reason noted."""
        self.settings.progress(f"{self.shape.op} {self.shape.name}: check {contender.label}")
        worker = None
        try:
            worker, about = self.start(contender.entry, contender.operands)
            if "impossible" in about:
                self.refuse(contender, "impossible", about["impossible"])
            elif sentence := self.fault(contender, self.result(worker)):
                self.refuse(contender, "wrong", sentence)
            else:
                return worker, about
        except WrongProduct as wrong:
            self.refuse(contender, "wrong", str(wrong))
        except WorkerFailed as failure:
            self.refuse(contender, "impossible", str(failure))
        if worker is not None:
            worker.__exit__()
        return None

    def run(self, contenders: tuple[Contender, ...]) -> Outcome:
        """Checks all, then times those that are right."""
        with ExitStack() as stack:
            admitted = []
            for contender in contenders:
                if self.shape.op in contender.ops and (found := self.admit(contender)):
                    stack.enter_context(found[0])
                    admitted.append((contender, *found))
            self.settings.progress(f"{self.shape.op} {self.shape.name}: {self.settings.rounds} rounds")
            try:
                seconds = interleave([worker for _, worker, _ in admitted], self.settings.rounds) if admitted else []
            except WorkerFailed as failure:
                raise RuntimeError(f"{self.shape.op} {self.shape.name}: a contender failed while it was timed: {failure}") from failure
            for (contender, _, about), times in zip(admitted, seconds):
                self.outcome.rows.append(bench_file.row(self.case(contender.operands), self.shape, contender, about, times,
                                                        self.settings.threads, self.settings.machine))  # fmt: skip
        return self.outcome
