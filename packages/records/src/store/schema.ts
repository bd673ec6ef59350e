// The tables as Kysely sees them: the only place that pairs column names with TypeScript types.
import type { ColumnType, Generated, Insertable, Selectable } from "kysely";

type Time = ColumnType<Date, Date, Date>;
type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;
type Maybe<T> = ColumnType<T | null, T | null | undefined, T | null>;
/** Given as text, read as the value. */
type Json = ColumnType<unknown, string | null | undefined, string | null>;

interface PersonTable {
  id: Generated<number>;
  name: string;
  display_name: string;
  email: Maybe<string>;
  is_team: Generated<boolean>;
  owner_id: Maybe<number>;
  password: Maybe<string>;
  is_admin: Generated<boolean>;
  date_created: Time;
}

interface PillarTable {
  id: Generated<number>;
  kind: "distribution" | "project";
  name: string;
  display_name: string;
  summary: Generated<string>;
  owner_id: number;
  supervisor_id: Maybe<number>;
  driver_id: Maybe<number>;
  expires: Generated<boolean>;
  current_series_id: Maybe<number>;
  official_tags: Generated<string[]>;
  date_created: Time;
}

interface SeriesTable {
  id: Generated<number>;
  pillar_id: number;
  name: string;
  display_name: string;
  version: Generated<string>;
  status: string;
  driver_id: Maybe<number>;
  date_created: Time;
}

interface MilestoneTable {
  id: Generated<number>;
  pillar_id: number;
  series_id: Maybe<number>;
  name: string;
  date_targeted: MaybeTime;
  is_active: Generated<boolean>;
  summary: Generated<string>;
}

interface BugTable {
  id: Generated<number>;
  title: string;
  description: string;
  original_description: string;
  information_type: string;
  owner_id: number;
  duplicate_of: Maybe<number>;
  date_created: Time;
  date_last_updated: Time;
  date_last_message: Time;
  date_made_private: MaybeTime;
  who_made_private: Maybe<number>;
  latest_patch_uploaded: MaybeTime;
  heat: Generated<number>;
  message_count: Generated<number>;
  users_affected_count: Generated<number>;
  users_unaffected_count: Generated<number>;
  number_of_duplicates: Generated<number>;
  tags: Generated<string[]>;
  lock_status: Generated<string>;
  lock_reason: Maybe<string>;
  /** counts every change: what a cached page was made from */
  revision: Generated<number>;
  signature: Maybe<string>;
  cause: Json;
  words: Generated<string>;
}

interface BugTaskTable {
  id: Generated<number>;
  bug_id: number;
  pillar_id: number;
  series_id: Maybe<number>;
  package: Maybe<string>;
  status: number;
  importance: number;
  assignee_id: Maybe<number>;
  milestone_id: Maybe<number>;
  owner_id: number;
  watch_id: Maybe<number>;
  date_created: Time;
  date_assigned: MaybeTime;
  date_left_new: MaybeTime;
  date_confirmed: MaybeTime;
  date_triaged: MaybeTime;
  date_in_progress: MaybeTime;
  date_incomplete: MaybeTime;
  date_fix_committed: MaybeTime;
  date_fix_released: MaybeTime;
  date_closed: MaybeTime;
  date_left_closed: MaybeTime;
}

interface MessageTable {
  id: Generated<number>;
  bug_id: number;
  index: number;
  owner_id: number;
  subject: Generated<string>;
  content: string;
  date_created: Time;
  date_last_edited: MaybeTime;
  date_deleted: MaybeTime;
  visible: Generated<boolean>;
  /** the Message-ID of an imported one: it is imported once */
  source: Maybe<string>;
}

interface AttachmentTable {
  id: Generated<number>;
  bug_id: number;
  message_id: number;
  title: string;
  is_patch: boolean;
  file_name: string;
  content_type: string;
  /** SHA-256, which is its name in the blob store */
  digest: string;
  size: number;
}

interface SubscriptionTable {
  id: Generated<number>;
  bug_id: number;
  person_id: number;
  subscribed_by: number;
  level: string;
  muted: Generated<boolean>;
  date_created: Time;
}

interface NominationTable {
  id: Generated<number>;
  bug_id: number;
  series_id: number;
  status: string;
  owner_id: number;
  decider_id: Maybe<number>;
  date_created: Time;
  date_decided: MaybeTime;
}

interface ActivityTable {
  id: Generated<number>;
  bug_id: number;
  person_id: number;
  date: Time;
  what: string;
  old_value: Maybe<string>;
  new_value: Maybe<string>;
  message: Maybe<string>;
}

interface WatchTable {
  id: Generated<number>;
  bug_id: number;
  tracker_id: number;
  remote_bug: string;
  remote_status: Maybe<string>;
  remote_importance: Maybe<string>;
  owner_id: number;
  date_created: Time;
  date_last_checked: MaybeTime;
}

interface TokenTable {
  id: Generated<number>;
  digest: string;
  secret_digest: string;
  kind: "request" | "access";
  consumer: string;
  person_id: Maybe<number>;
  permission: Maybe<string>;
  state: "waiting" | "granted" | "declined" | "used";
  date_created: Time;
  date_expires: MaybeTime;
}

interface DeliveryTable {
  id: Generated<number>;
  event_id: number;
  kind: "hook" | "mail";
  webhook_id: Maybe<number>;
  person_id: Maybe<number>;
  attempts: Generated<number>;
  date_next: Time;
  date_done: MaybeTime;
  gave_up: Generated<boolean>;
  error: Maybe<string>;
}

export interface Schema {
  migration: { number: number; name: string; applied_at: Generated<Date> };
  person: PersonTable;
  team_member: { team_id: number; person_id: number };
  pillar: PillarTable;
  series: SeriesTable;
  package: { id: Generated<number>; pillar_id: number; name: string; supervisor_id: Maybe<number> };
  milestone: MilestoneTable;
  bug: BugTable;
  bug_task: BugTaskTable;
  message: MessageTable;
  message_revision: { message_id: number; revision: number; content: string; date_created: Time };
  attachment: AttachmentTable;
  subscription: SubscriptionTable;
  structural_subscription: {
    id: Generated<number>;
    pillar_id: number;
    package: Maybe<string>;
    person_id: number;
    level: string;
    date_created: Time;
  };
  affected: { bug_id: number; person_id: number; affected: boolean };
  tracker: { id: Generated<number>; name: string; title: string; base_url: string; kind: string; owner_id: number };
  watch: WatchTable;
  cve: { bug_id: number; sequence: string };
  nomination: NominationTable;
  activity: ActivityTable;
  bug_version: { bug_id: number; pillar_id: number; package: string; version: string; state: "found" | "fixed" };
  package_version: { pillar_id: number; package: string; version: string; parent: Maybe<string> };
  closure: { bug_id: number; pillar_id: number; series: string; package: string; version: string; date: Time };
  token: TokenTable;
  session: { digest: string; person_id: number; date_created: Time; date_expires: Time };
  webhook: {
    id: Generated<number>;
    url: string;
    secret: string;
    pillar_id: Maybe<number>;
    owner_id: number;
    active: Generated<boolean>;
    date_created: Time;
  };
  event: {
    id: Generated<number>;
    bug_id: number;
    person_id: number;
    date: Time;
    kind: string;
    changes: Json;
    expanded: Generated<boolean>;
  };
  delivery: DeliveryTable;
}

export type Person = Selectable<PersonTable>;
export type Pillar = Selectable<PillarTable>;
export type Series = Selectable<SeriesTable>;
export type Milestone = Selectable<MilestoneTable>;
export type Bug = Omit<Selectable<BugTable>, "words">;
export type BugTask = Selectable<BugTaskTable>;
export type NewBugTask = Insertable<BugTaskTable>;
export type Message = Selectable<MessageTable>;
export type Attachment = Selectable<AttachmentTable>;
export type Subscription = Selectable<SubscriptionTable>;
export type Nomination = Selectable<NominationTable>;
export type Activity = Selectable<ActivityTable>;
export type Watch = Selectable<WatchTable>;
export type Tracker = Selectable<Schema["tracker"]>;
export type Token = Selectable<TokenTable>;
