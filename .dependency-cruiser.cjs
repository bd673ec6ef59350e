// The layers of docs/architecture.md, as a rule that CI runs: a room imports only from the rooms listed here.
const core = {
  bytes: [],
  x86: ["bytes"],
  symbols: ["bytes"],
  memory: ["bytes"],
  image: ["symbols", "bytes"],
  kernel: ["memory", "symbols", "bytes"],
  built: ["kernel", "image", "symbols", "bytes"],
  sites: ["built", "kernel", "image", "x86", "symbols", "bytes"],
  audit: ["sites", "built", "kernel", "image", "x86", "memory", "symbols", "bytes", "results"],
  tasks: ["kernel", "image", "x86", "memory", "symbols", "bytes"],
  locks: ["tasks", "sites", "built", "kernel", "image", "x86", "memory", "symbols", "bytes", "results"],
  hangs: ["locks", "tasks", "kernel", "x86", "memory", "symbols", "bytes", "results"],
  prove: ["locks", "kernel", "x86", "memory", "symbols", "bytes", "results"],
  "boot-order": ["image", "x86", "symbols", "bytes", "results"],
  results: [],
  analysis: [".*"],
  report: ["results"],
};
/** A package imports only from these packages (and itself). */
const packages = {
  core: [],
  node: ["core"],
  records: ["core", "node"],
  // The demo writes the specimens that ship.
  cli: ["core", "node", "records", "specimen"],
  specimen: [],
  lab: ["core", "node"],
};
const forbidden = [
  ...Object.entries(core).map(([room, allowed]) => ({
    name: `room-${room}`,
    comment: `core/src/${room}/ may import only from: ${[...allowed, "itself"].join(", ")}`,
    severity: "error",
    from: { path: `^packages/core/src/${room}/`, pathNot: "\\.test\\.ts$" },
    to: { path: `^packages/core/src/(?!(${[room, ...allowed].join("|")})/)` },
  })),
  ...Object.entries(packages).map(([name, allowed]) => ({
    name: `package-${name}`,
    comment: `packages/${name} may import only from: ${[...allowed, "itself"].join(", ")}`,
    severity: "error",
    from: { path: `^packages/${name}/`, pathNot: "\\.test\\.ts$" },
    to: { path: `^packages/(?!(${[name, ...allowed].join("|")})/)` },
  })),
];
module.exports = {
  forbidden: [
    ...forbidden,
    { name: "no-circular", severity: "error", from: {}, to: { circular: true } },
    {
      name: "no-node-in-library",
      comment: "the core runs in a browser worker",
      severity: "error",
      from: { path: "^packages/core/", pathNot: "\\.test\\.ts$" },
      to: { dependencyTypes: ["core"] },
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
