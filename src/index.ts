// The library: everything that runs unchanged in Node and in a browser worker. What needs Node is in node.ts.
export { auditDump, type DumpAudit, type ImageSet } from "./audit/audit.ts";
export { imageMismatch, moduleBuildId } from "./audit/identity.ts";
export { auditResult } from "./audit/result.ts";
export { siteView } from "./audit/site-view.ts";
export * from "./bytes/brand.ts";
export { loadCodecs, setNativeGunzip, setXzWasm } from "./bytes/decompress/index.ts";
export * from "./bytes/errors.ts";
export { BufferSource, type ByteSource, SubSource } from "./bytes/source.ts";
export type * from "./findings/results.ts";
export type * from "./findings/types.ts";
export { openKernelImage } from "./image/kernel-image.ts";
export { openModuleImage } from "./image/module-image.ts";
export type { Kernel } from "./kernel/kernel.ts";
export { openKernel } from "./kernel/open.ts";
export { openDump } from "./memory/open.ts";
export { auditText } from "./report/audit-text.ts";
export { ANSI, type Paint, PLAIN } from "./report/paint.ts";
