// Writes schema/*.json, the JSON Schemas of everything that --json prints, from the result types in packages/core/src/results/.
//
//   node scripts/schema.mjs            writes them
//   node scripts/schema.mjs --check    fails when one is not what the types say
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createGenerator } from "ts-json-schema-generator";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "schema");

/** Name in "palimpsest/NAME/1" → type in packages/core/src/results/. A new result is one line here. */
const RESULTS = {
  diagnose: "DiagnoseResult",
  audit: "AuditResult",
  site: "SiteResult",
  dis: "DisassembleResult",
  info: "InfoResult",
  symbols: "SymbolsResult",
  log: "LogResult",
  cpus: "CpusResult",
  sys: "SysResult",
  tasks: "TasksResult",
  stack: "StackResult",
  read: "ReadResult",
  types: "TypesResult",
  locks: "LocksResult",
  prove: "ProveResult",
  replay: "ReplayResult",
  "boot-order": "BootOrderResult",
  explain: "ExplainResult",
  error: "ErrorResult",
};

/** File name → text, for every result. */
export function makeSchemas() {
  const generator = createGenerator({
    path: join(root, "packages", "core", "src", "results", "*.ts"),
    tsconfig: join(root, "scripts", "schema.tsconfig.json"),
    skipTypeCheck: true,
    topRef: false,
    sortProps: false,
    // Readers pass over what a newer version of the same schema adds.
    additionalProperties: true,
  });
  const entries = Object.entries(RESULTS);
  return new Map(
    entries.map(([name, type]) => {
      const schema = modern(name, generator.createSchema(type));
      return [`${name}.json`, `${JSON.stringify(schema, null, 2)}\n`];
    }),
  );
}

/** The generator writes draft 7; between that and 2020-12 these schemas differ in the names of two keywords. */
function modern(name, { $schema: _draft7, definitions = {}, properties, ...rest }) {
  const id = `palimpsest/${name}/1`;
  const text = JSON.stringify({
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: `urn:palimpsest:${name}:1`,
    title: id,
    ...rest,
    // Several results share a type; each schema takes its own name only.
    properties: { ...properties, schema: { const: id } },
    $defs: Object.fromEntries(Object.entries(definitions).sort(([a], [b]) => (a < b ? -1 : 1))),
  });
  return JSON.parse(text.replaceAll('"#/definitions/', '"#/$defs/'));
}

function check(schemas) {
  const there = readdirSync(folder);
  const wrong = [...schemas].filter(
    ([file, text]) => !there.includes(file) || readFileSync(join(folder, file), "utf8") !== text,
  );
  for (const [file] of wrong) console.error(`schema/${file} is not what the types say; npm run schema writes it`);
  const extra = there.filter((file) => !schemas.has(file));
  for (const file of extra) console.error(`schema/${file} belongs to no result`);
  return wrong.length + extra.length === 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const schemas = makeSchemas();
  if (process.argv.includes("--check")) process.exitCode = check(schemas) ? 0 : 1;
  else {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const [file, text] of schemas) writeFileSync(join(folder, file), text);
  }
}
