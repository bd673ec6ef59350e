# The life of bug 838026 as its people lived it, by Launchpad's client: argv is ROOT CREDENTIALS-FOLDER WORKDIR FIXTURES.
import os
import sys

from launchpadlib.credentials import Credentials
from launchpadlib.launchpad import Launchpad

root, folder, workdir, fixtures = sys.argv[1:5]


def login(name):
    credentials = Credentials.load_from_path(os.path.join(folder, name))
    return Launchpad(credentials, None, None, service_root=root, cache=os.path.join(workdir, name), version="1.0")


def read(name):
    with open(os.path.join(fixtures, name)) as file:
        return file.read().rstrip("\n")


smb, apw, tim = login("smb"), login("apw"), login("timg-tpi")

task = smb.bugs[838026].bug_tasks[0]
assert task.status == "New", task.status
task.status = "In Progress"
task.assignee = smb.me
task.importance = "High"
task.lp_save()

apw.bugs[838026].newMessage(content=read("comment-1"))
smb.bugs[838026].newMessage(content=read("comment-2"))

nomination = smb.bugs[838026].addNomination(target=smb.distributions["ubuntu"].getSeries(name_or_version="oneiric"))
driver = login("ubuntu-driver")
driver.load(nomination.self_link).approve()

tasks = {each.bug_target_display_name: each for each in tim.bugs[838026].bug_tasks}
assert sorted(tasks) == ["linux (Ubuntu Oneiric)", "linux (Ubuntu)"], tasks
oneiric = tasks["linux (Ubuntu Oneiric)"]
assert (oneiric.status, oneiric.importance, oneiric.assignee.name) == ("In Progress", "High", "smb")
oneiric.status = "Fix Committed"
oneiric.lp_save()
print([each.status for each in smb.bugs[838026].bug_tasks])
