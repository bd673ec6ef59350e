// Writes man/palimpsest.1 for the package, as the built command tells it.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
mkdirSync(join(root, "man"), { recursive: true });
const page = execFileSync(process.execPath, [join(root, "bin", "palimpsest.js"), "manual"], { encoding: "utf8" });
writeFileSync(join(root, "man", "palimpsest.1"), page);
