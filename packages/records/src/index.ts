// What the command line uses of the records; loaded only when one of their commands runs.
export { credentialsFile, issueAccess } from "./api/oauth.ts";
export { describe, type Report } from "./cause/describe.ts";
export { type Diagnosis, readDiagnosis } from "./cause/diagnosis.ts";
export { findDuplicates, type Proposal } from "./cause/duplicates.ts";
export { signatureOf } from "./cause/signature.ts";
export { deliverForever } from "./delivery/worker.ts";
export { ForbiddenError, InvalidError, MissingRecordError, RecordsError, StoreError } from "./errors.ts";
export { parseRecords, plainRecord, recordMbox, recordsJson } from "./exchange/export.ts";
export { importRecord, type PlainRecord, parseMbox, parseText } from "./exchange/import.ts";
export { bugText } from "./exchange/text.ts";
export { type ChangelogEntry, parseChangelog } from "./janitor/changelog.ts";
export { type Closing, closeFromEntries } from "./janitor/close.ts";
export { confirm, expire } from "./janitor/jobs.ts";
export { changelogFiles, entriesOf } from "./janitor/sources.ts";
export { readBug } from "./model/access.ts";
export { createBug, editBug, markAffected } from "./model/bugs.ts";
export { changeBug } from "./model/change.ts";
export { subscribe, unsubscribe } from "./model/links.ts";
export { addAttachment, addMessage } from "./model/messages.ts";
export { type Actor, actorFor, addMember, ensurePerson, findPerson, setPassword } from "./model/people.ts";
export { countTasks, searchTasks } from "./model/search.ts";
export {
  ensurePillar,
  ensureSeries,
  ensureTarget,
  findPillar,
  setSupervisor,
  targetAt,
  targetName,
  targetPath,
  targetsOf,
} from "./model/targets.ts";
export { addTask, editTask, isTaskOf, tasksOf } from "./model/tasks.ts";
export { markVersion, versionStates } from "./model/versions.ts";
export { importanceTitle, statusTitle } from "./model/words.ts";
export { buildServer } from "./service/server.ts";
export { openStore, type Store } from "./store/open.ts";
export { readBugData } from "./web/bug-data.ts";
export { timeline } from "./web/timeline.ts";
