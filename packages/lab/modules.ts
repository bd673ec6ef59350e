// Finds kernel modules of a package with what they need, in the order in which they must be loaded. depmod's tables
// are not in the package, so the answers come from each module's own .modinfo section.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { readElfHeader, readSection, readSections } from "../core/src/bytes/elf.ts";
import { BufferSource } from "../core/src/bytes/source.ts";
import { run } from "./command.ts";
import type { GuestModule } from "./guest.ts";

/** Values of one key ("depends", "softdep", "alias") in a module's .modinfo; empty when it has none. */
export function modinfo(module: GuestModule, key: string): string[] {
  const source = new BufferSource(`${module.name}.ko`, module.bytes);
  const section = readSections(source, readElfHeader(source)).find(({ name }) => name === ".modinfo");
  if (!section) return [];
  return Buffer.from(readSection(source, section))
    .toString("latin1")
    .split("\0")
    .filter((text) => text.startsWith(`${key}=`))
    .map((text) => text.slice(key.length + 1));
}

/** What must be loaded before a module: its `depends` and the `pre:` part of its soft dependencies. */
export function neededBefore(module: GuestModule): string[] {
  const hard = modinfo(module, "depends").flatMap((list) => list.split(","));
  const soft = modinfo(module, "softdep").flatMap((text) => {
    const pre = /(?:^|\s)pre:\s*(.*?)\s*(?=post:|$)/.exec(text);
    return pre ? pre[1].split(/\s+/) : [];
  });
  return [...hard, ...soft].filter((name) => name !== "").map(canonical);
}

/** "dm-mod" and "dm_mod" are one module. */
export function canonical(name: string): string {
  return name.replaceAll("-", "_");
}

const suffix = /\.ko(\.xz|\.zst|\.gz)?$/;

/** The modules of one kernel package. */
export class ModuleTree {
  private readonly files = new Map<string, string>();
  private readonly loaded = new Map<string, GuestModule>();

  /** @param folder lib/modules/RELEASE */
  constructor(folder: string) {
    for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
      if (suffix.test(path))
        this.files.set(canonical(path.slice(path.lastIndexOf("/") + 1).replace(suffix, "")), join(folder, path));
    }
  }

  /**
   * `names` and all that they need, each after what it needs. Names that the package does not have are left out and
   * told in `missing` (a cloud kernel has no floppy), soft dependencies that are missing are not.
   */
  async resolve(names: readonly string[]): Promise<{ modules: GuestModule[]; missing: string[] }> {
    const order: GuestModule[] = [];
    const missing: string[] = [];
    const seen = new Set<string>();
    const add = async (name: string): Promise<void> => {
      const found = this.files.has(name) ? name : await this.byAlias(name);
      if (found === undefined || seen.has(found)) return;
      seen.add(found);
      const module = await this.load(found);
      for (const needed of neededBefore(module)) await add(needed);
      order.push(module);
    };
    for (const name of names.map(canonical)) {
      if (!this.files.has(name)) missing.push(name);
      else await add(name);
    }
    return { modules: order, missing };
  }

  /** A cipher or checksum is asked for by its algorithm ("crc32c"), which its module has as an alias. */
  private async byAlias(algorithm: string): Promise<string | undefined> {
    const wanted = new Set([algorithm, `crypto-${algorithm}`, algorithm.replaceAll("_", "-")]);
    for (const [name, path] of this.files) {
      if (!/\/kernel\/crypto\//.test(path) || !name.startsWith(algorithm.slice(0, 4))) continue;
      if (modinfo(await this.load(name), "alias").some((alias) => wanted.has(alias))) return name;
    }
    return undefined;
  }

  /** A module's ELF bytes, unpacked. */
  private async load(name: string): Promise<GuestModule> {
    const known = this.loaded.get(name);
    if (known) return known;
    const path = this.files.get(name);
    if (!path || !existsSync(path)) throw new Error(`module ${name} is not in the package`);
    const module = { name, bytes: await unpack(path) };
    this.loaded.set(name, module);
    return module;
  }
}

async function unpack(path: string): Promise<Uint8Array> {
  if (path.endsWith(".gz")) return gunzipSync(readFileSync(path));
  if (path.endsWith(".ko")) return readFileSync(path);
  const program = path.endsWith(".xz") ? "xz" : "zstd";
  return (await run(program, ["-dc", path], { timeoutSeconds: 60 })).stdout;
}
