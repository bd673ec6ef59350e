// What a module is called: in the kernel always with underscores, on disk as its author liked it, and with the
// suffix of whatever packed it.

const FILE = /^(?<name>.+)\.ko(\.(xz|zst|gz|bz2|lz4))?(\.debug)?$/;

/** "snd-hda-codec.ko.xz", with or without folders → "snd_hda_codec"; undefined for what is no module's file name. */
export function moduleNameOf(path: string): string | undefined {
  const file = path.slice(path.lastIndexOf("/") + 1);
  const name = FILE.exec(file)?.groups?.name;
  return name && canonicalModuleName(name);
}

/** Dashes become underscores, as the build does with KBUILD_MODNAME. */
export function canonicalModuleName(name: string): string {
  return name.replaceAll("-", "_");
}
