// The version, from package.json beside dist/ or src/.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

function readVersion(): string {
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      const { name, version } = require(path) as { name?: string; version?: string };
      if (name === "palimpsest" && version !== undefined) return version;
    } catch {
      // the other place
    }
  }
  return "unknown";
}

export const VERSION = readVersion();
/** "palimpsest 0.1.0", in every result. */
export const TOOL = `palimpsest ${VERSION}`;
