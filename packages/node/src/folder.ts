// Lists the files below a folder, with bounds: someone may say --modules /.
import { type Dirent, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { FormatError, MissingError } from "../../core/src/bytes/errors.ts";

export const FOLDER_LIMITS = { depth: 16, entries: 200_000 } as const;

export interface FolderListing {
  /** Paths below the folder, folders first seen first; symbolic links to files included, to folders not followed. */
  readonly files: readonly string[];
  /** True when the bounds cut the search short. */
  readonly truncated: boolean;
}

/** @throws the system's error when the folder itself cannot be read; unreadable folders below it are passed over */
export function listFolder(folder: string, limits: { depth: number; entries: number } = FOLDER_LIMITS): FolderListing {
  const files: string[] = [];
  let seen = 0;
  let truncated = false;
  const pending: { path: string; depth: number }[] = [{ path: folder, depth: 0 }];
  for (let next = pending.shift(); next !== undefined && !truncated; next = pending.shift()) {
    let entries: Dirent[];
    try {
      entries = readdirSync(next.path, { withFileTypes: true });
    } catch (error) {
      if (next.depth === 0) throw error;
      continue;
    }
    for (const entry of entries) {
      if (++seen > limits.entries) {
        truncated = true;
        break;
      }
      const path = join(next.path, entry.name);
      if (entry.isDirectory()) {
        if (next.depth < limits.depth) pending.push({ path, depth: next.depth + 1 });
        else truncated = true;
      } else if (entry.isFile() || (entry.isSymbolicLink() && isFile(path))) {
        files.push(path);
      }
    }
  }
  return { files, truncated };
}

/** What is wrong with a path that names neither a file nor a folder. */
export function noSuchPath(path: string, supply: string): MissingError | FormatError {
  return statSync(path, { throwIfNoEntry: false }) === undefined
    ? new MissingError(path === "" ? "an empty path" : path, supply)
    : new FormatError(path, "neither a file nor a folder");
}

/** "file", "folder" or undefined when there is neither; links are followed. */
export function pathKind(path: string): "file" | "folder" | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() ? "file" : stat?.isDirectory() ? "folder" : undefined;
}

function isFile(path: string): boolean {
  try {
    return pathKind(path) === "file";
  } catch {
    return false; // a loop of links, no permission
  }
}
