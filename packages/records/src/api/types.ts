// Launchpad's resource types as far as bug records go. The field lists are complete for what they name: every declared
// field is in every representation, since the client takes a missing one for a programming error.
import { IMPORTANCE_NAMES, INFORMATION_TYPES, STATUS_NAMES, SUBSCRIPTION_LEVELS } from "../model/words.ts";
import {
  BOOL,
  choice,
  collection,
  DATE,
  field,
  get,
  INT,
  LIST,
  link,
  may,
  need,
  type Operation,
  type Parameter,
  post,
  type ResourceType,
  resource,
  TEXT,
  writable,
  writableLink,
} from "./definition.ts";

/** A person or a team; the client asks by the one name. */
const PERSON = resource("person");

const SEARCH: readonly Parameter[] = [
  may("search_text"),
  may("status", LIST),
  may("importance", LIST),
  may("information_type", LIST),
  may("tags", LIST),
  may("tags_combinator", choice(["Any", "All"])),
  may("assignee", PERSON),
  may("bug_reporter", PERSON),
  may("bug_supervisor", PERSON),
  may("bug_commenter", PERSON),
  may("bug_subscriber", PERSON),
  may("structural_subscriber", PERSON),
  may("owner", PERSON),
  may("affected_user", PERSON),
  may("milestone", resource("milestone")),
  may("nominated_for", resource("bug_target")),
  may("omit_duplicates", BOOL),
  may("omit_targeted", BOOL),
  may("has_patch", BOOL),
  may("has_cve", BOOL),
  may("has_no_package", BOOL),
  may("status_upstream", LIST),
  may("linked_branches", TEXT),
  may("component", LIST),
  may("created_since", DATE),
  may("created_before", DATE),
  may("modified_since", DATE),
  may("order_by", LIST),
];
const searchTasks: Operation = get("searchTasks", { page: "bug_task" }, ...SEARCH);

const subscriptions: readonly Operation[] = [
  post("addBugSubscription", "value", may("subscriber", PERSON)),
  post("removeBugSubscription", "value", may("subscriber", PERSON)),
  get("userHasBugSubscriptions", "value"),
];

const bug: ResourceType = {
  name: "bug",
  fields: [
    field("id", INT),
    field("name", TEXT),
    writable("title", TEXT),
    writable("description", TEXT),
    writable("tags", LIST),
    writable("information_type", choice(INFORMATION_TYPES)),
    writable("private", BOOL),
    writable("security_related", BOOL),
    writableLink("duplicate_of", "bug"),
    link("owner", "person"),
    field("date_created", DATE),
    field("date_last_updated", DATE),
    field("date_last_message", DATE),
    field("date_made_private", DATE),
    link("who_made_private", "person"),
    field("latest_patch_uploaded", DATE),
    field("heat", INT),
    field("message_count", INT),
    field("number_of_duplicates", INT),
    field("can_expire", BOOL),
    field("users_affected_count", INT),
    field("users_unaffected_count", INT),
    field("users_affected_count_with_dupes", INT),
    field("other_users_affected_count_with_dupes", INT),
    field("lock_status", TEXT),
    field("lock_reason", TEXT),
    collection("bug_tasks", "bug_task"),
    collection("messages", "message"),
    collection("attachments", "bug_attachment"),
    collection("activity", "bug_activity"),
    collection("subscriptions", "bug_subscription"),
    collection("bug_watches", "bug_watch"),
    collection("cves", "cve"),
    collection("duplicates", "bug"),
    collection("linked_branches", "bug_branch"),
    collection("users_affected", "person"),
    collection("users_affected_with_dupes", "person"),
    collection("users_unaffected", "person"),
  ],
  operations: [
    post("newMessage", { creates: "message" }, need("content"), may("subject")),
    post(
      "addAttachment",
      { creates: "bug_attachment" },
      need("data", { is: "binary" }),
      need("comment"),
      need("filename"),
      may("is_patch", BOOL),
      may("content_type"),
      may("description"),
    ),
    post("addTask", { creates: "bug_task" }, need("target", resource("bug_target"))),
    post("subscribe", { entry: "bug_subscription" }, need("person", PERSON), may("level", choice(SUBSCRIPTION_LEVELS))),
    post("unsubscribe", "value", may("person", PERSON)),
    post("unsubscribeFromDupes", "value", may("person", PERSON)),
    post("markUserAffected", "value", may("affected", BOOL)),
    post("isUserAffected", "value"),
    post("setCommentVisibility", "value", need("comment_number", INT), need("visible", BOOL)),
    post("addWatch", { creates: "bug_watch" }, need("bug_tracker", resource("bug_tracker")), need("remote_bug")),
    post("linkCVE", "value", need("cve", resource("cve"))),
    post("unlinkCVE", "value", need("cve", resource("cve"))),
    post("addNomination", { creates: "bug_nomination" }, need("target", resource("bug_target"))),
    post("lock", "value", need("status", choice(["Comment-only"])), may("reason")),
    post("unlock", "value"),
    get("canBeNominatedFor", "value", need("target", resource("bug_target"))),
    get("getNominations", { page: "bug_nomination" }, may("target", resource("bug_target")), may("nominations", LIST)),
    get("getNominationFor", { entry: "bug_nomination" }, need("target", resource("bug_target"))),
    get("isExpirable", "value", may("days_old", INT)),
    get("getVisibleLinkedBranches", { page: "bug_branch" }),
  ],
};

const TASK_DATES = [
  "date_assigned",
  "date_closed",
  "date_confirmed",
  "date_created",
  "date_fix_committed",
  "date_fix_released",
  "date_in_progress",
  "date_incomplete",
  "date_left_closed",
  "date_left_new",
  "date_triaged",
] as const;

const bugTask: ResourceType = {
  name: "bug_task",
  fields: [
    writable("status", choice(STATUS_NAMES)),
    writable("importance", choice(IMPORTANCE_NAMES)),
    writableLink("assignee", "person"),
    writableLink("milestone", "milestone"),
    writableLink("target", "bug_target"),
    writableLink("bug_watch", "bug_watch"),
    link("bug", "bug"),
    link("owner", "person"),
    field("title", TEXT),
    field("bug_target_display_name", TEXT),
    field("bug_target_name", TEXT),
    field("is_complete", BOOL),
    collection("related_tasks", "bug_task"),
    ...TASK_DATES.map((name) => field(name, DATE)),
  ],
  operations: [get("findSimilarBugs", { page: "bug" })],
  canDelete: true,
};

const message: ResourceType = {
  name: "message",
  fields: [
    field("subject", TEXT),
    field("content", TEXT),
    link("owner", "person"),
    link("parent", "message"),
    field("date_created", DATE),
    field("date_last_edited", DATE),
    field("date_deleted", DATE),
    collection("bug_attachments", "bug_attachment"),
    collection("revisions", "message_revision"),
  ],
  operations: [
    post("editContent", "value", need("new_content")),
    post("deleteContent", "value"),
    get("getAPIParent", "value"),
  ],
};

const messageRevision: ResourceType = {
  name: "message_revision",
  fields: [field("revision", INT), field("content", TEXT), field("date_created", DATE), link("message", "message")],
  operations: [],
};

const bugAttachment: ResourceType = {
  name: "bug_attachment",
  fields: [
    writable("title", TEXT),
    writable("type", choice(["Patch", "Unspecified"])),
    link("bug", "bug"),
    link("message", "message"),
    field("data_link", { is: "hosted" }),
  ],
  operations: [post("removeFromBug", "value")],
};

const bugActivity: ResourceType = {
  name: "bug_activity",
  fields: [
    link("bug", "bug"),
    link("person", "person"),
    field("datechanged", DATE),
    field("whatchanged", TEXT),
    field("oldvalue", TEXT),
    field("newvalue", TEXT),
    field("message", TEXT),
  ],
  operations: [],
};

const bugSubscription: ResourceType = {
  name: "bug_subscription",
  fields: [link("bug", "bug"), link("person", "person"), link("subscribed_by", "person"), field("date_created", DATE)],
  operations: [get("canBeUnsubscribedByUser", "value")],
};

const bugWatch: ResourceType = {
  name: "bug_watch",
  fields: [
    link("bug", "bug"),
    link("bug_tracker", "bug_tracker"),
    link("owner", "person"),
    field("remote_bug", TEXT),
    field("remote_status", TEXT),
    field("remote_importance", TEXT),
    field("title", TEXT),
    field("url", TEXT),
    field("date_created", DATE),
    field("date_last_changed", DATE),
    field("date_last_checked", DATE),
    field("date_next_checked", DATE),
    field("last_error_type", TEXT),
    collection("bug_tasks", "bug_task"),
  ],
  operations: [],
};

const bugTracker: ResourceType = {
  name: "bug_tracker",
  fields: [
    field("name", TEXT),
    field("title", TEXT),
    field("summary", TEXT),
    field("base_url", TEXT),
    field("bug_tracker_type", TEXT),
    field("active", BOOL),
    link("registrant", "person"),
  ],
  operations: [],
};

const cve: ResourceType = {
  name: "cve",
  fields: [
    field("sequence", TEXT),
    field("title", TEXT),
    field("display_name", TEXT),
    field("description", TEXT),
    field("status", TEXT),
    field("url", TEXT),
    field("date_created", DATE),
    field("date_modified", DATE),
    collection("bugs", "bug"),
  ],
  operations: [],
};

const bugBranch: ResourceType = { name: "bug_branch", fields: [], operations: [] };

const bugNomination: ResourceType = {
  name: "bug_nomination",
  fields: [
    link("bug", "bug"),
    link("target", "bug_target"),
    link("distroseries", "distro_series"),
    link("productseries", "project_series"),
    link("owner", "person"),
    link("decider", "person"),
    field("status", choice(["Nominated", "Approved", "Declined"])),
    field("date_created", DATE),
    field("date_decided", DATE),
  ],
  operations: [get("canApprove", "value"), post("approve", "value"), post("decline", "value")],
};

const person: ResourceType = {
  name: "person",
  fields: [
    field("name", TEXT),
    writable("display_name", TEXT),
    field("is_team", BOOL),
    field("is_valid", BOOL),
    field("private", BOOL),
    field("karma", INT),
    field("date_created", DATE),
    field("description", TEXT),
    field("hide_email_addresses", BOOL),
    link("team_owner", "person"),
    collection("members", "person"),
    collection("participants", "person"),
    collection("super_teams", "person"),
    collection("sub_teams", "person"),
  ],
  operations: [searchTasks, post("addMember", "value", need("person", PERSON), may("status"), may("comment"))],
};

const milestone: ResourceType = {
  name: "milestone",
  fields: [
    field("name", TEXT),
    field("title", TEXT),
    field("summary", TEXT),
    field("code_name", TEXT),
    field("is_active", BOOL),
    field("date_targeted", TEXT),
    link("target", "bug_target"),
    link("series_target", "bug_target"),
  ],
  operations: [searchTasks],
};

const TARGET_FIELDS = [
  field("bug_reporting_guidelines", TEXT),
  field("bug_reported_acknowledgement", TEXT),
  field("official_bug_tags", LIST),
];
const PILLAR_FIELDS = [
  field("name", TEXT),
  field("display_name", TEXT),
  field("title", TEXT),
  field("summary", TEXT),
  field("description", TEXT),
  field("active", BOOL),
  field("date_created", DATE),
  link("owner", "person"),
  link("driver", "person"),
  link("registrant", "person"),
  writableLink("bug_supervisor", "person"),
  ...TARGET_FIELDS,
  collection("active_milestones", "milestone"),
  collection("all_milestones", "milestone"),
];

const distribution: ResourceType = {
  name: "distribution",
  fields: [
    ...PILLAR_FIELDS,
    link("current_series", "distro_series"),
    collection("series", "distro_series"),
    field("official_bugs", BOOL),
    field("domain_name", TEXT),
  ],
  operations: [
    searchTasks,
    get("getSourcePackage", { entry: "distribution_source_package" }, need("name")),
    get("searchSourcePackages", { page: "distribution_source_package" }, need("source_match")),
    get("getSeries", { entry: "distro_series" }, need("name_or_version")),
    get("getDevelopmentSeries", { page: "distro_series" }),
    get("getMilestone", { entry: "milestone" }, need("name")),
    ...subscriptions,
  ],
};

const project: ResourceType = {
  name: "project",
  fields: [
    ...PILLAR_FIELDS,
    link("development_focus", "project_series"),
    collection("series", "project_series"),
    link("bug_tracker", "bug_tracker"),
    field("official_bugs", BOOL),
  ],
  operations: [
    searchTasks,
    get("getSeries", { entry: "project_series" }, need("name")),
    get("getMilestone", { entry: "milestone" }, need("name")),
    post("newSeries", { creates: "project_series" }, need("name"), need("summary"), may("branch")),
    ...subscriptions,
  ],
};

const SERIES_FIELDS = [
  field("name", TEXT),
  field("title", TEXT),
  field("summary", TEXT),
  field("status", TEXT),
  field("active", BOOL),
  field("date_created", DATE),
  link("owner", "person"),
  link("driver", "person"),
  ...TARGET_FIELDS,
  collection("active_milestones", "milestone"),
  collection("all_milestones", "milestone"),
];

const newMilestone = post(
  "newMilestone",
  { creates: "milestone" },
  need("name"),
  may("date_targeted"),
  may("summary"),
  may("code_name"),
);

const distroSeries: ResourceType = {
  name: "distro_series",
  fields: [
    ...SERIES_FIELDS,
    field("displayname", TEXT),
    field("fullseriesname", TEXT),
    field("version", TEXT),
    field("supported", BOOL),
    link("distribution", "distribution"),
  ],
  operations: [searchTasks, get("getSourcePackage", { entry: "source_package" }, need("name")), newMilestone],
};

const projectSeries: ResourceType = {
  name: "project_series",
  fields: [...SERIES_FIELDS, field("display_name", TEXT), link("project", "project")],
  operations: [searchTasks, newMilestone],
};

const distributionSourcePackage: ResourceType = {
  name: "distribution_source_package",
  fields: [
    field("name", TEXT),
    field("display_name", TEXT),
    field("title", TEXT),
    link("distribution", "distribution"),
    link("upstream_product", "project"),
    ...TARGET_FIELDS,
  ],
  operations: [searchTasks, ...subscriptions],
};

const sourcePackage: ResourceType = {
  name: "source_package",
  fields: [
    field("name", TEXT),
    field("displayname", TEXT),
    field("latest_published_component_name", TEXT),
    link("distribution", "distribution"),
    link("distroseries", "distro_series"),
    link("productseries", "project_series"),
    ...TARGET_FIELDS,
  ],
  operations: [searchTasks],
};

/** What an argument may be that takes any kind of target; the client only reads its name. */
const bugTarget: ResourceType = { name: "bug_target", fields: [...TARGET_FIELDS], operations: [searchTasks] };

export const COLLECTIONS: readonly ResourceType[] = [
  {
    name: "bugs",
    collectionOf: "bug",
    fields: [],
    operations: [
      searchTasks,
      post(
        "createBug",
        { creates: "bug" },
        need("title"),
        need("description"),
        need("target", resource("bug_target")),
        may("tags", LIST),
        may("information_type", choice(INFORMATION_TYPES)),
        may("private", BOOL),
        may("security_related", BOOL),
      ),
    ],
  },
  {
    name: "people",
    collectionOf: "person",
    fields: [],
    operations: [
      get("find", { page: "person" }, need("text")),
      get("findPerson", { page: "person" }, need("text"), may("created_after", DATE), may("created_before", DATE)),
      get("findTeam", { page: "person" }, need("text")),
      get("getByEmail", { entry: "person" }, need("email")),
      post(
        "newTeam",
        { creates: "person" },
        need("name"),
        need("display_name"),
        may("team_description"),
        may("membership_policy"),
      ),
    ],
  },
  { name: "distributions", collectionOf: "distribution", fields: [], operations: [] },
  {
    name: "projects",
    collectionOf: "project",
    fields: [],
    operations: [
      get("search", { page: "project" }, may("text")),
      get("latest", { page: "project" }),
      post(
        "new_project",
        { creates: "project" },
        need("name"),
        need("display_name"),
        need("title"),
        need("summary"),
        may("description"),
        may("licenses", LIST),
        may("license_info"),
      ),
    ],
  },
  {
    name: "bug_trackers",
    collectionOf: "bug_tracker",
    fields: [],
    operations: [
      get("getByName", { entry: "bug_tracker" }, need("name")),
      get("queryByBaseURL", { entry: "bug_tracker" }, need("base_url")),
      post(
        "ensureBugTracker",
        { creates: "bug_tracker" },
        need("base_url"),
        need("bug_tracker_type"),
        may("title"),
        may("summary"),
        may("name"),
        may("contact_details"),
      ),
    ],
  },
];

export const TYPES: readonly ResourceType[] = [
  bug,
  bugTask,
  message,
  messageRevision,
  bugAttachment,
  bugActivity,
  bugSubscription,
  bugWatch,
  bugTracker,
  cve,
  bugBranch,
  bugNomination,
  person,
  { ...person, name: "team" },
  milestone,
  distribution,
  project,
  distroSeries,
  projectSeries,
  distributionSourcePackage,
  sourcePackage,
  bugTarget,
];

const BY_NAME: ReadonlyMap<string, ResourceType> = new Map([...TYPES, ...COLLECTIONS].map((type) => [type.name, type]));

export function typeNamed(name: string): ResourceType {
  const type = BY_NAME.get(name);
  if (type === undefined) throw new Error(`no resource type "${name}"`);
  return type;
}
