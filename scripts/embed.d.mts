import type { Plugin } from "esbuild";

export declare const embedWasm: Plugin;
