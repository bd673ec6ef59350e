// Tasks: what a bug is for one target. The rules of who may set what, the dates that a status leaves behind, and the
// current series' task that is one with the package's general task.
import type { Transaction } from "kysely";
import { ConflictError, ForbiddenError, InvalidError, MissingRecordError } from "../errors.ts";
import type { BugTask, Milestone, Person, Schema } from "../store/schema.ts";
import { insertTask } from "./bugs.ts";
import type { Change } from "./change.ts";
import { type Actor, type Db, isOneOf, personById } from "./people.ts";
import { type Roles, rolesFor, type Target, targetName, targetsOf } from "./targets.ts";
import { importanceTitle, isIncomplete, isOpen, parseImportance, parseStatus, STATUS, statusTitle } from "./words.ts";

/** In Launchpad's order: a pillar's general task before its series', packages by name. */
export async function tasksOf(db: Db, bugId: number): Promise<BugTask[]> {
  return db.selectFrom("bug_task").selectAll().where("bug_id", "=", bugId).orderBy("id").execute();
}

export async function addTask(change: Change, target: Target): Promise<number> {
  const tasks = await tasksOf(change.db, change.bug.id);
  if (tasks.some((task) => isTaskOf(task, target))) {
    throw new InvalidError("target", `A fix for this bug has already been requested for ${targetName(target)}`);
  }
  const id = await insertTask(change.db, change.bug.id, target, change.actor.person.id, change.now);
  change.log("bug task added", null, targetName(target));
  const general = target.series && tasks.find((task) => isTaskOf(task, { ...target, series: undefined }));
  if (general && target.pillar.current_series_id === target.series?.id) await copyState(change.db, general, id);
  return id;
}

export function isTaskOf(task: BugTask, { pillar, series, package: name }: Target): boolean {
  return (
    task.pillar_id === pillar.id && (task.series_id ?? undefined) === series?.id && (task.package ?? undefined) === name
  );
}

async function copyState(db: Transaction<Schema>, from: BugTask, to: number): Promise<void> {
  const { id: _id, bug_id: _bug, series_id: _series, owner_id: _owner, date_created: _created, ...state } = from;
  await db.updateTable("bug_task").set(state).where("id", "=", to).execute();
}

/** The other task of a conjoined pair; a current-series task that won't be fixed stands alone. */
export function conjoined(task: BugTask, tasks: readonly BugTask[], target: Target): BugTask | undefined {
  const current = target.pillar.current_series_id;
  if (current === null) return undefined;
  const wanted = task.series_id === null ? current : task.series_id === current ? null : undefined;
  if (wanted === undefined) return undefined;
  const other = tasks.find(
    (each) => each.pillar_id === task.pillar_id && each.package === task.package && each.series_id === wanted,
  );
  const inSeries = task.series_id === null ? other : task;
  return inSeries?.status === STATUS.WontFix ? undefined : other;
}

export interface TaskEdit {
  readonly status?: string;
  readonly importance?: string;
  readonly assignee?: Person | null;
  readonly milestone?: Milestone | null;
  readonly target?: Target;
}

/**
 * @throws ForbiddenError "Only Bug Supervisors may change status to Triaged."
 * @throws InvalidError for words that are no status
 */
export async function editTask(change: Change, taskId: number, edit: TaskEdit): Promise<void> {
  const { db, bug, actor, now } = change;
  const tasks = await tasksOf(db, bug.id);
  const task = tasks.find((each) => each.id === taskId);
  if (task === undefined) throw new MissingRecordError(`task ${taskId} of bug ${bug.id}`);
  const targets = await targetsOf(db, tasks);
  const target = targets.get(task.id)!;
  const roles = await rolesFor(db, actor, target);
  const pair = conjoined(task, tasks, target);
  const name = targetName(pair !== undefined && task.series_id === null ? targets.get(pair.id)! : target);
  const values: Partial<BugTask> = {};
  if (edit.status !== undefined) {
    const status = parseStatus(edit.status);
    const same = status === task.status || (isIncomplete(status) && isIncomplete(task.status));
    if (!same) {
      checkTransition(actor, roles, bug.owner_id, task.status, status);
      Object.assign(values, { status, ...statusDates(task, status, now) });
      change.log(`${name}: status`, statusTitle(task.status), statusTitle(status));
    }
  }
  if (edit.assignee !== undefined && (edit.assignee?.id ?? null) !== task.assignee_id) {
    checkAssignee(actor, roles, edit.assignee);
    values.assignee_id = edit.assignee?.id ?? null;
    values.date_assigned = edit.assignee === null ? null : now;
    const before = task.assignee_id === null ? null : personName(await personById(db, task.assignee_id));
    change.log(`${name}: assignee`, before, edit.assignee && personName(edit.assignee));
  }
  if (edit.importance !== undefined) {
    const importance = parseImportance(edit.importance);
    if (importance !== task.importance) {
      if (!roles.isSupervisor && roles.hasSupervisor)
        throw new ForbiddenError("Only Bug Supervisors may change importance.");
      values.importance = importance;
      change.log(`${name}: importance`, importanceTitle(task.importance), importanceTitle(importance));
    }
  }
  if (edit.milestone !== undefined && (edit.milestone?.id ?? null) !== task.milestone_id) {
    await setMilestone(change, values, name, task, target, roles, edit.milestone);
  }
  if (edit.target !== undefined && !isTaskOf(task, edit.target)) {
    if (tasks.some((each) => isTaskOf(each, edit.target!))) {
      throw new InvalidError("target", `A fix for this bug has already been requested for ${targetName(edit.target)}`);
    }
    if (task.series_id !== null || edit.target.series) {
      throw new InvalidError("target", "Series tasks may only be created by approving nominations.");
    }
    values.pillar_id = edit.target.pillar.id;
    values.package = edit.target.package ?? null;
    values.milestone_id = edit.target.pillar.id === task.pillar_id ? task.milestone_id : null;
    change.log("affects", targetName(target), targetName(edit.target));
  }
  if (Object.keys(values).length === 0) return;
  await db.updateTable("bug_task").set(values).where("id", "=", task.id).execute();
  if (pair !== undefined && edit.target === undefined) {
    const { target: _target, ...shared } = { ...values, target: undefined };
    // Won't Fix is said of the series alone: the general task goes on by itself.
    if (shared.status === STATUS.WontFix) delete shared.status;
    if (Object.keys(shared).length > 0)
      await db.updateTable("bug_task").set(shared).where("id", "=", pair.id).execute();
  }
}

/** "Stefan Bader (smb)" */
export function personName({ display_name, name }: Person): string {
  return `${display_name} (${name})`;
}

const SUPERVISOR_ONLY: readonly number[] = [
  STATUS.WontFix,
  STATUS.Deferred,
  STATUS.Expired,
  STATUS.Triaged,
  STATUS.DoesNotExist,
];
const SUPERVISOR_LEAVES: readonly number[] = [STATUS.WontFix, STATUS.Deferred, STATUS.DoesNotExist];

function checkTransition(actor: Actor, roles: Roles, reporter: number, from: number, to: number): void {
  if (to === STATUS.Unknown) throw new InvalidError("status", "Unknown is only set by a watch.");
  if (roles.isSupervisor) return;
  if (SUPERVISOR_ONLY.includes(to) || SUPERVISOR_LEAVES.includes(from)) {
    throw new ForbiddenError(`Only Bug Supervisors may change status to ${statusTitle(to)}.`);
  }
  if (from === STATUS.FixReleased && !isOneOf(actor, reporter)) {
    throw new ForbiddenError(`Only Bug Supervisors may change status to ${statusTitle(to)}.`);
  }
}

function checkAssignee(actor: Actor, roles: Roles, assignee: Person | null): void {
  if (roles.isSupervisor || !roles.hasSupervisor || assignee === null || isOneOf(actor, assignee.id)) return;
  throw new ForbiddenError(
    `Regular users can assign and unassign only themselves and their teams. Only project owners, bug supervisors, drivers and release managers can assign others.`,
  );
}

async function setMilestone(
  change: Change,
  values: Partial<BugTask>,
  name: string,
  task: BugTask,
  target: Target,
  roles: Roles,
  milestone: Milestone | null,
): Promise<void> {
  if (!roles.isSupervisor && roles.hasSupervisor)
    throw new ForbiddenError("Only Bug Supervisors may change milestone.");
  if (milestone !== null && milestone.pillar_id !== target.pillar.id) {
    throw new InvalidError("milestone", `${milestone.name} is no milestone of ${target.pillar.name}.`);
  }
  const before =
    task.milestone_id === null
      ? null
      : (await change.db.selectFrom("milestone").select("name").where("id", "=", task.milestone_id).executeTakeFirst())
          ?.name;
  values.milestone_id = milestone?.id ?? null;
  change.log(`${name}: milestone`, before ?? null, milestone?.name ?? null);
}

/** The dates that a change of status sets when it passes a threshold upward, and clears when it falls back. */
export function statusDates(task: BugTask, to: number, now: Date): Partial<BugTask> {
  const passed = (threshold: number, date: Date | null): Date | null =>
    to < threshold ? null : task.status < threshold ? now : date;
  return {
    date_left_new: to === STATUS.New ? null : task.status === STATUS.New ? now : task.date_left_new,
    date_incomplete: isIncomplete(to) ? now : null,
    date_confirmed: passed(STATUS.Confirmed, task.date_confirmed),
    date_triaged: passed(STATUS.Triaged, task.date_triaged),
    date_in_progress: passed(STATUS.InProgress, task.date_in_progress),
    date_fix_committed: passed(STATUS.FixCommitted, task.date_fix_committed),
    date_fix_released: passed(STATUS.FixReleased, task.date_fix_released),
    date_closed: isOpen(to) ? null : isOpen(task.status) ? now : task.date_closed,
    date_left_closed: isOpen(to) && !isOpen(task.status) ? now : task.date_left_closed,
  };
}

export async function removeTask(change: Change, taskId: number): Promise<void> {
  const tasks = await tasksOf(change.db, change.bug.id);
  const task = tasks.find((each) => each.id === taskId);
  if (task === undefined) throw new MissingRecordError(`task ${taskId} of bug ${change.bug.id}`);
  if (tasks.length === 1) throw new ConflictError("Cannot delete only bugtask affecting a bug.");
  const target = (await targetsOf(change.db, [task])).get(task.id)!;
  const roles = await rolesFor(change.db, change.actor, target);
  if (!roles.isSupervisor && !isOneOf(change.actor, task.owner_id)) {
    throw new ForbiddenError("Only Bug Supervisors may delete a task.");
  }
  await change.db.deleteFrom("bug_task").where("id", "=", taskId).execute();
  change.log("bug task deleted", targetName(target), null);
}
