"""The seal on its schedule: by a real worker, through Temporal."""

from temporalio.client import ScheduleActionExecutionStartWorkflow

from domain.seal import Head, SealReport
from runtime.runs import schedule_id
from tests.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from workers.schedules import ensure_schedules


async def sealed_by_schedule(paysaga: Deployment) -> SealReport:
    """Trigger the schedule, and what its run says."""
    handle = paysaga.temporal.get_schedule_handle(schedule_id(paysaga.name, "seal"))
    before = len((await handle.describe()).info.recent_actions)
    await handle.trigger()

    async def started() -> ScheduleActionExecutionStartWorkflow | None:
        actions = (await handle.describe()).info.recent_actions
        action = actions[-1].action if len(actions) > before else None
        return action if isinstance(action, ScheduleActionExecutionStartWorkflow) else None

    action = await eventually(started, what="a run of the seal")
    run = paysaga.temporal.get_workflow_handle(
        action.workflow_id, run_id=action.first_execution_run_id, result_type=SealReport
    )
    report: SealReport = await run.result()
    return report


async def test_the_schedule_seals_what_was_posted(deploy: Deploy) -> None:
    paysaga = await deploy(worker_schedules=True)
    shop = await paysaga.shop("acme")
    assert (await sealed_by_schedule(paysaga)).head is None
    for _ in range(3):
        await shop.until((await shop.paid(shop.checkout()))["id"], "SUCCESS")
    (posted,) = await paysaga.sql("SELECT count(*) AS n FROM ledger_transaction")
    report = await sealed_by_schedule(paysaga)
    assert (report.transactions, report.blocks, report.held_up) == (posted["n"], 1, 0)
    assert report.head is not None
    (block,) = await paysaga.sql("SELECT no, hash, at FROM ledger_seal")
    assert Head.parse(report.head) == Head(no=block["no"], hash=block["hash"].hex())
    again = await sealed_by_schedule(paysaga)
    assert (again.transactions, again.head) == (0, report.head)
    await shop.until((await shop.paid(shop.checkout()))["id"], "SUCCESS")
    assert (await sealed_by_schedule(paysaga)).blocks == 1
    assert [row["no"] for row in await paysaga.sql("SELECT no FROM ledger_seal ORDER BY no")] == [1, 2]


async def test_an_operators_pause_of_the_seal_is_kept(deploy: Deploy) -> None:
    paysaga = await deploy(worker_schedules=True)
    handle = paysaga.temporal.get_schedule_handle(schedule_id(paysaga.name, "seal"))
    await handle.pause(note="the auditors are here")
    await ensure_schedules(paysaga.temporal, paysaga.settings.model_copy(update={"seal_every_s": 60.0}))
    schedule = (await handle.describe()).schedule
    assert (schedule.state.paused, schedule.state.note) == (True, "the auditors are here")
    assert schedule.spec.intervals[0].every.total_seconds() == 60
