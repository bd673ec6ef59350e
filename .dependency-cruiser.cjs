// The layers of docs/architecture.md, as a rule that CI runs: a room imports only from the rooms listed here.
const rooms = {
  bytes: [],
  symbols: ["bytes"],
  memory: ["bytes"],
  image: ["symbols", "bytes"],
  kernel: ["memory", "symbols", "bytes"],
  built: ["kernel", "image", "symbols", "bytes"],
  x86: ["bytes"],
  sites: ["built", "kernel", "image", "x86", "symbols", "bytes"],
  audit: ["sites", "built", "kernel", "image", "x86", "memory", "symbols", "bytes", "findings"],
  stacks: ["kernel", "image", "x86", "memory", "symbols", "bytes"],
  locks: ["stacks", "sites", "built", "kernel", "image", "x86", "memory", "symbols", "bytes", "findings"],
  prove: ["locks", "kernel", "x86", "memory", "symbols", "bytes", "findings"],
  "boot-order": ["image", "x86", "symbols", "bytes", "findings"],
  findings: [],
  report: ["findings"],
};
const forbidden = Object.entries(rooms).map(([room, allowed]) => ({
  name: `room-${room}`,
  comment: `src/${room}/ may import only from: ${[...allowed, "itself"].join(", ")}`,
  severity: "error",
  from: { path: `^src/${room}/`, pathNot: "\\.test\\.ts$" },
  to: { path: `^src/(?!(${[room, ...allowed].join("|")})/)` },
}));
module.exports = {
  forbidden: [
    ...forbidden,
    { name: "no-circular", severity: "error", from: {}, to: { circular: true } },
    {
      name: "no-node-in-library",
      comment: "the library runs in a browser worker: node: only in cli/, lab/ and the file-backed ByteSource",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(cli/|bytes/file-source\\.ts$)|\\.test\\.ts$" },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "browser-half",
      comment: "src/index.ts is what a browser bundles: Node's files and the command line are behind src/node.ts",
      severity: "error",
      from: { path: "^src/index\\.ts$" },
      to: { path: "^src/(cli/|bytes/file-source\\.ts$|node\\.ts$)", reachable: true },
    },
    {
      name: "src-not-lab",
      severity: "error",
      from: { path: "^src/" },
      to: { path: "^(lab|specimen|test)/", pathNot: "^specimen/" },
    },
    { name: "not-to-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: {
      extensions: [".ts", ".mjs", ".js"],
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default"],
    },
  },
};
