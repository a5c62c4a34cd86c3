"""The executor of runs: Dagster's in one process, which gives signs of life for as long as it is at work, whoever launched it."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor

from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANE_TAG
from tasks_pipeline.storage.state.beating import run_at_work


class LivingExecutor(InProcessExecutor):
    """Steps one after the other; a fresh interpreter for each would cost seconds."""

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Carry out all steps."""
        run = plan_context.dagster_run
        with run_at_work(Home.resolve(), run.run_id, run.tags.get(LANE_TAG, "")):
            yield from super().execute(plan_context, execution_plan)


@dg.executor(name="in_process")
def living_executor(_context: dg.InitExecutorContext) -> LivingExecutor:
    """What `definitions.py` has all jobs carried out by."""
    return LivingExecutor(retries=RetryMode.ENABLED)
