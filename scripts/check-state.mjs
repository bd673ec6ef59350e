// No module of the core keeps anything between two analyses: what one dump makes must never be seen by the next, and a
// result must not depend on what was asked before. Told by structure: a variable of a module that is a `let`, or a
// collection that something in the module writes to.
//
//   node scripts/check-state.mjs [FOLDER]     (part of npm run lint)
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = process.argv[2] ?? join(root, "packages", "core", "src");

/** What belongs to the process and not to a dump, with its reason. */
const ALLOWED = {
  "bytes/decompress/zstd.ts: decoder": "the host's WebAssembly, started once",
  "bytes/decompress/xz.ts: provide": "where the host says the WebAssembly is",
  "bytes/decompress/xz.ts: compiled": "compiled code, the same for all",
  "bytes/decompress/xz.ts: kept": "an idle decoder, cleared before each use",
  "bytes/decompress/gzip.ts: native": "the host's gunzip",
  "bytes/decompress/gzip.ts: table": "a table of constants, made when first used",
};

const WRITES = new Set(["set", "add", "delete", "clear", "push", "pop", "shift", "unshift", "splice", "sort", "fill"]);

function stateOf(path) {
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true);
  const found = new Map();
  const collections = new Set();
  for (const statement of source.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    const constant = (statement.declarationList.flags & ts.NodeFlags.Const) !== 0;
    for (const { name, initializer } of statement.declarationList.declarations) {
      if (!ts.isIdentifier(name)) continue;
      if (!constant) found.set(name.text, "a variable of the module");
      else if (initializer !== undefined && isCollection(initializer)) collections.add(name.text);
      if (
        initializer !== undefined &&
        ts.isNewExpression(initializer) &&
        /^Weak/.test(initializer.expression.getText())
      )
        found.set(name.text, "a cache of the module");
    }
  }
  const visit = (node, inFunction) => {
    const writes = inFunction ? writtenBy(node) : undefined;
    if (writes !== undefined && collections.has(writes))
      found.set(writes, "a collection of the module that is written to");
    ts.forEachChild(node, (child) => visit(child, inFunction || ts.isFunctionLike(node)));
  };
  visit(source, false);
  return found;
}

function isCollection(node) {
  return ts.isNewExpression(node) || ts.isArrayLiteralExpression(node) || ts.isObjectLiteralExpression(node);
}

/** The name that a call (`names.push(…)`) or an assignment (`names[i] = …`) writes to. */
function writtenBy(node) {
  if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
    const { expression, name } = node.expression;
    return ts.isIdentifier(expression) && WRITES.has(name.text) ? expression.text : undefined;
  }
  const isAssignment =
    ts.isBinaryExpression(node) &&
    node.operatorToken.kind >= ts.SyntaxKind.FirstAssignment &&
    node.operatorToken.kind <= ts.SyntaxKind.LastAssignment;
  if (!isAssignment) return undefined;
  const { left } = node;
  if (!ts.isElementAccessExpression(left) && !ts.isPropertyAccessExpression(left)) return undefined;
  return ts.isIdentifier(left.expression) ? left.expression.text : undefined;
}

const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.name.endsWith(".test.ts"))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  .filter((path) => !path.includes(`${"/"}testing/`))
  .sort();
let problems = 0;
const unused = new Set(process.argv[2] === undefined ? Object.keys(ALLOWED) : []);
for (const path of files) {
  const name = relative(folder, path);
  for (const [variable, what] of stateOf(path)) {
    unused.delete(`${name}: ${variable}`);
    if (ALLOWED[`${name}: ${variable}`] !== undefined) continue;
    console.error(`${name}: ${variable} is ${what}; keep it on the kernel or the analysis`);
    problems++;
  }
}
for (const entry of unused) {
  console.error(`check-state: ${entry} is allowed and not there any more`);
  problems++;
}
if (problems > 0) process.exitCode = 1;
else console.log(`check-state: ${files.length} files keep nothing between two analyses`);
