// The library: everything that runs unchanged in Node and in a browser worker, plus the file-backed ByteSource for Node.
export { auditDump, type DumpAudit, type ImageSet } from "./audit/audit.ts";
export { auditResult } from "./audit/result.ts";
export { siteView } from "./audit/site-view.ts";
export * from "./bytes/brand.ts";
export * from "./bytes/errors.ts";
export { FileSource } from "./bytes/file-source.ts";
export { BufferSource, type ByteSource, SubSource } from "./bytes/source.ts";
export type * from "./findings/results.ts";
export type * from "./findings/types.ts";
export { openKernelImage } from "./image/kernel-image.ts";
export { openModuleImage } from "./image/module-image.ts";
export type { Kernel } from "./kernel/kernel.ts";
export { openKernel } from "./kernel/open.ts";
export { openDump } from "./memory/open.ts";
