// `record …`: bug records from the shell.
import type { Command } from "commander";
import { registerRecordAdmin } from "./record-admin.ts";
import { registerRecordEdit } from "./record-edit.ts";
import { registerRecordNew } from "./record-new.ts";
import { registerRecordRead } from "./record-read.ts";

export function registerRecord(program: Command): void {
  const parent = program.command("record").description("bug records: a diagnosis with tasks, comments and an end");
  registerRecordNew(parent);
  registerRecordRead(parent);
  registerRecordEdit(parent);
  registerRecordAdmin(parent);
}
