// Lists the files below a folder, with bounds: someone may say --modules /.
import { type Dirent, readdirSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { FormatError, MissingError } from "../../core/src/bytes/errors.ts";

export const FOLDER_LIMITS = { depth: 16, entries: 200_000 } as const;

export interface FolderListing {
  /** Paths below the folder, folders first seen first; symbolic links are followed, but into each folder only once. */
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
  // Folders by their real path: a tree of links has each folder once, and a link to a folder above it ends there.
  const entered = new Set<string>();
  const enter = (path: string, depth: number): void => {
    if (depth > limits.depth) truncated = true;
    else pending.push({ path, depth });
  };
  for (let next = pending.shift(); next !== undefined && !truncated; next = pending.shift()) {
    let entries: Dirent[];
    try {
      const real = realpathSync(next.path);
      if (entered.has(real)) continue;
      entered.add(real);
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
      const kind = entry.isSymbolicLink() ? linkedKind(path) : entry.isDirectory() ? "folder" : "file";
      if (kind === "folder") enter(path, next.depth + 1);
      else if (kind === "file" && (entry.isFile() || entry.isSymbolicLink())) files.push(path);
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

function linkedKind(path: string): "file" | "folder" | undefined {
  try {
    return pathKind(path);
  } catch {
    return undefined; // a loop of links, no permission
  }
}
