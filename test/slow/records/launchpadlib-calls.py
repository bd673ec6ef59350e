# Debian's python3-launchpadlib against a running `palimpsest serve`: each line of output is one checked call.
#   launchpadlib-calls.py ROOT CREDENTIALS WORKDIR PERSON PASSWORD
import datetime
import http.cookiejar
import re
import sys
import threading
import traceback
import urllib.parse
import urllib.request

from launchpadlib.credentials import Credentials, RequestTokenAuthorizationEngine
from launchpadlib.launchpad import Launchpad
from lazr.restfulclient.errors import HTTPError, NotFound, PreconditionFailed, Unauthorized

root, credentials_file, workdir, person, password = sys.argv[1:6]
failures = 0


def check(name, call, expected=True):
    """`expected` True: anything that is not nothing."""
    global failures
    try:
        got = call()
    except Exception:
        failures += 1
        print("FAIL %s: %s" % (name, traceback.format_exc().strip().splitlines()[-1]), flush=True)
        traceback.print_exc()
        return None
    fits = bool(got) if expected is True else got == expected
    if not fits:
        failures += 1
        print("FAIL %s: %r is not %r" % (name, got, expected), flush=True)
    else:
        print("ok %s" % name, flush=True)
    return got


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    return None


credentials = Credentials.load_from_path(credentials_file)
lp = Launchpad(credentials, None, None, service_root=root, cache=workdir + "/cache", version="1.0")

# people and places
check("me", lambda: lp.me.name, person)
check("me.display_name", lambda: lp.me.display_name)
check("people[name]", lambda: lp.people[person].name, person)
check("person is no team", lambda: lp.people[person].is_team, False)
check("people.find", lambda: [each.name for each in lp.people.find(text=person)], [person])
check("absent person", lambda: raises(KeyError, lambda: lp.people["nobody-here"]) is not None)
check("distributions", lambda: sorted(each.name for each in lp.distributions), ["debian", "ubuntu"])
ubuntu = check("distributions[ubuntu]", lambda: lp.distributions["ubuntu"])
check("display_name", lambda: ubuntu.display_name, "Ubuntu")
linux = check("getSourcePackage", lambda: ubuntu.getSourcePackage(name="linux"))
check("package name", lambda: linux.name, "linux")
team = check("newTeam", lambda: lp.people.newTeam(name="canonical-kernel", display_name="Kernel Team"))
check("team members", lambda: [each.name for each in lp.people["canonical-kernel"].members], [person])
check("new_project", lambda: lp.projects.new_project(name="xen-tools", display_name="Xen tools", title="Xen tools", summary="tools").name, "xen-tools")
check("projects.search", lambda: [each.name for each in lp.projects.search(text="xen")], ["xen-tools"])

# bugs
TITLE = "Kernel with pvlocks \"hangs\" on boot & more <b>"
bug = check("createBug", lambda: lp.bugs.createBug(title=TITLE, description="It hangs.\nAlways.", target=linux, tags=["xen"]))
number = bug.id
check("title", lambda: lp.bugs[number].title, TITLE)
check("description", lambda: bug.description, "It hangs.\nAlways.")
check("owner", lambda: bug.owner.name, person)
check("tags", lambda: list(bug.tags), ["xen"])
check("web_link", lambda: bug.web_link.endswith("/bugs/%d" % number))
check("date_created", lambda: isinstance(bug.date_created, datetime.datetime))
check("heat", lambda: bug.heat, 6)
check("absent bug", lambda: raises(KeyError, lambda: lp.bugs[99999999]) is not None)


def saved(**values):
    fresh = lp.bugs[number]
    for name, value in values.items():
        setattr(fresh, name, value)
    fresh.lp_save()
    return fresh


check("save title", lambda: saved(title="New title").title, "New title")
check("save tags", lambda: list(saved(tags=["xen", "boot"]).tags), ["boot", "xen"])
check("save description", lambda: saved(description="Other.").description, "Other.")
check("private", lambda: saved(private=True).information_type, "Private")
check("public", lambda: saved(information_type="Public Security").security_related, True)
check("public again", lambda: saved(information_type="Public").private, False)


def stale():
    one, two = lp.load("/bugs/%d" % number), Launchpad(credentials, None, None, service_root=root, cache=workdir + "/cache2", version="1.0").bugs[number]
    one.title = "first"
    one.lp_save()
    two.title = "second"
    return raises(PreconditionFailed, two.lp_save) is not None


check("stale save", stale)


def beside_comment():
    fresh = lp.bugs[number]
    lp.bugs[number].newMessage(content="meanwhile", subject="x")
    fresh.title = "A comment does not break a save"
    fresh.lp_save()
    return fresh.title


check("save beside a comment", beside_comment, "A comment does not break a save")


# tasks
def task():
    return lp.bugs[number].bug_tasks[0]


def set_task(**values):
    fresh = task()
    for name, value in values.items():
        setattr(fresh, name, value)
    fresh.lp_save()
    return fresh


check("bad value", lambda: b"status" in raises(HTTPError, lambda: set_task(status="Nonsense")).content)
check("bug_tasks", lambda: [each.bug_target_display_name for each in bug.bug_tasks], ["linux (Ubuntu)"])
check("task title", lambda: task().title.startswith("Bug #%d in linux (Ubuntu)" % number))
check("task status", lambda: task().status, "New")
check("status In Progress", lambda: set_task(status="In Progress").status, "In Progress")
check("date_in_progress", lambda: task().date_in_progress is not None)
check("importance", lambda: set_task(importance="High").importance, "High")
check("assignee", lambda: set_task(assignee=lp.me).assignee.name, person)
check("no assignee", lambda: set_task(assignee=None).assignee, None)
check("target", lambda: task().target.name, "linux")
check("task's bug", lambda: task().bug.id, number)
check("is_complete", lambda: task().is_complete, False)
check("addTask", lambda: bug.addTask(target=lp.projects["xen-tools"]).bug_target_name, "xen-tools")
check("addTask twice", lambda: raises(HTTPError, lambda: bug.addTask(target=lp.projects["xen-tools"])).response.status, 400)
check("related_tasks", lambda: len(task().related_tasks), 1)


def retarget():
    fresh = [each for each in lp.bugs[number].bug_tasks if each.bug_target_name == "xen-tools"][0]
    fresh.target = ubuntu.getSourcePackage(name="xen")
    fresh.lp_save()
    return fresh.bug_target_display_name


check("retarget", retarget, "xen (Ubuntu)")
check("delete task", lambda: [each for each in lp.bugs[number].bug_tasks if "xen" in each.bug_target_name][0].lp_delete() or len(lp.bugs[number].bug_tasks), 1)

# messages
message = check("newMessage", lambda: bug.newMessage(content="Proving the conjecture.", subject="Re: hang"))
check("message content", lambda: message.content, "Proving the conjecture.")
check("message subject", lambda: message.subject, "Re: hang")
check("message owner", lambda: message.owner.name, person)
for i in range(60):
    lp.bugs[number].newMessage(content="comment %d" % i)
check("messages over pages", lambda: len(list(lp.bugs[number].messages)), 63)
check("messages len", lambda: len(lp.bugs[number].messages), 63)
check("messages slice", lambda: [each.content for each in lp.bugs[number].messages[60:63]], ["comment 57", "comment 58", "comment 59"])
check("message 0 is the report", lambda: lp.bugs[number].messages[0].content, "It hangs.\nAlways.")
check("setCommentVisibility", lambda: bug.setCommentVisibility(comment_number=5, visible=False), None)

# attachments
DATA = bytes(range(256)) * 10
attachment = check("addAttachment", lambda: bug.addAttachment(data=DATA, comment="The dump", filename="dump.bin", description="a dump", is_patch=False, content_type="application/octet-stream"))
check("attachment title", lambda: attachment.title, "a dump")
check("attachment type", lambda: attachment.type, "Unspecified")
check("attachment data", lambda: attachment.data.open().read() == DATA)
check("attachment name", lambda: attachment.data.open().filename, "dump.bin")
check("attachment message", lambda: attachment.message.content, "The dump")
check("patch", lambda: bug.addAttachment(data=b"--- a\n+++ b\n", comment="fix", filename="fix.patch", is_patch=True).type, "Patch")
check("attachments", lambda: [each.title for each in lp.bugs[number].attachments], ["a dump", "fix.patch"])
# The client reads the entry again, which is gone: Launchpad's own answer, which apport knows and catches.
check("removeFromBug", lambda: raises(NotFound, attachment.removeFromBug) is not None and len(lp.bugs[number].attachments), 1)

# duplicates
other = check("second bug", lambda: lp.bugs.createBug(title="The same hang", description="Here too.", target=ubuntu.getSourcePackage(name="linux")))
other.duplicate_of = lp.bugs[number]
check("duplicate_of", lambda: other.lp_save() or other.duplicate_of.id, number)
check("duplicates", lambda: [each.id for each in lp.bugs[number].duplicates], [other.id])
check("number_of_duplicates", lambda: lp.bugs[number].number_of_duplicates, 1)


def undo_duplicate():
    fresh = lp.bugs[other.id]
    fresh.duplicate_of = None
    fresh.lp_save()
    return fresh.duplicate_of


check("no duplicate", undo_duplicate, None)

# subscriptions and people affected
check("subscribe", lambda: bug.subscribe(person=lp.people["canonical-kernel"]).person.name, "canonical-kernel")
check("subscriptions", lambda: sorted(each.person.name for each in lp.bugs[number].subscriptions), ["canonical-kernel", person])
check("unsubscribe", lambda: bug.unsubscribe(person=lp.people["canonical-kernel"]) or len(lp.bugs[number].subscriptions), 1)
check("isUserAffected", lambda: bug.isUserAffected(), True)
check("markUserAffected", lambda: bug.markUserAffected(affected=False) or lp.bugs[number].users_affected_count, 0)
check("users_unaffected", lambda: [each.name for each in lp.bugs[number].users_unaffected], [person])

# search
check("searchTasks words", lambda: [each.bug.id for each in ubuntu.searchTasks(search_text="conjecture")], [number])
check("searchTasks status list", lambda: [each.bug.id for each in linux.searchTasks(status=["In Progress", "New"], order_by="id")], [number, other.id])
check("searchTasks one status", lambda: [each.bug.id for each in linux.searchTasks(status="In Progress")], [number])
check("searchTasks tags", lambda: [each.bug.id for each in linux.searchTasks(tags=["xen", "boot"], tags_combinator="All")], [number])
check("searchTasks importance", lambda: len(linux.searchTasks(importance="Critical")), 0)
check("searchTasks closed", lambda: len(linux.searchTasks(status="Fix Released")), 0)
check("searchTasks reporter", lambda: len(lp.bugs.searchTasks(bug_reporter=lp.me)), 2)
check("searchTasks created_since", lambda: len(linux.searchTasks(created_since="2000-01-01")), 2)
check("searchTasks has_patch", lambda: [each.bug.id for each in linux.searchTasks(has_patch=True)], [number])
check("person.searchTasks", lambda: len(lp.me.searchTasks()), 2)
check("searchTasks quotes", lambda: len(linux.searchTasks(search_text='"no such" \' words')), 0)

# watches, CVEs, activity, series
check("linkCVE", lambda: bug.linkCVE(cve=lp.load("/bugs/cve/2011-1234")) or [each.sequence for each in lp.bugs[number].cves], ["2011-1234"])
tracker = check("getByName", lambda: lp.bug_trackers.getByName(name="debbugs"))
check("addWatch", lambda: bug.addWatch(bug_tracker=tracker, remote_bug="642000").url.endswith("bug=642000"))
check("activity", lambda: any(each.whatchanged == "linux (Ubuntu): status" and each.newvalue == "In Progress" for each in lp.bugs[number].activity))
check("lp.load", lambda: lp.load("/ubuntu/+source/linux/+bug/%d" % number).importance, "High")
check("devel", lambda: Launchpad(credentials, None, None, service_root=root, cache=workdir + "/cache3", version="devel").bugs[number].lock_status, "Unlocked")

# nobody
anonymous = Launchpad.login_anonymously("test", root, workdir + "/cache4", version="1.0")
check("anonymous reads", lambda: anonymous.bugs[number].id, number)
check("anonymous does not write", lambda: raises(Unauthorized, lambda: anonymous.bugs[number].newMessage(content="no")) is not None)
saved(private=True)
check("anonymous sees nothing private", lambda: raises(KeyError, lambda: anonymous.bugs[number]) is not None)
check("not even in search", lambda: len(anonymous.distributions["ubuntu"].searchTasks(search_text="conjecture")), 0)
saved(private=False)


# the login flow, with the browser's part played by urllib
class Browser:
    def __init__(self):
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def open(self, path, form=None):
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        return self.opener.open(urllib.parse.urljoin(root, path), data).read().decode()


def login_flow(permission):
    browser = Browser()
    browser.open("/+login", {"name": person, "password": password, "to": "/bugs"})
    mine = Credentials("a desktop program")
    url = mine.get_request_token(web_root=root)
    text = browser.open(url)
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text.split('action="/+authorize-token"')[1]))
    waiting = raises(HTTPError, lambda: mine.exchange_request_token_for_access_token(root))
    browser.open("/+authorize-token", dict(form, permission=permission))
    if waiting is None or waiting.response.status != 401:
        return "did not wait"
    mine.exchange_request_token_for_access_token(root)
    return Launchpad(mine, None, None, service_root=root, cache=workdir + "/cache5", version="1.0").me.name


check("login flow", lambda: login_flow("DESKTOP_INTEGRATION"), person)
check("login flow declined", lambda: raises(HTTPError, lambda: login_flow("UNAUTHORIZED")).response.status, 403)

print("%d failed" % failures, flush=True)
sys.exit(1 if failures else 0)
