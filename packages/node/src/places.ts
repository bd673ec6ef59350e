// Where distributions put kernels: the paths to try for a release and a build-id, in order.

/**
 * Kernel images of a release. The packed image comes first: it alone carries the relocation table; a vmlinux of a
 * debug package has none.
 */
export function imagePlaces(release: string | undefined, buildId: string | undefined): string[] {
  const places: string[] = [];
  if (release !== undefined && isPlainName(release)) {
    places.push(`/boot/vmlinuz-${release}`, `/lib/modules/${release}/vmlinuz`, `/usr/lib/modules/${release}/vmlinuz`);
    places.push(`/boot/kernel-${release}`, `/boot/vmlinux-${release}`);
    places.push(`/usr/lib/debug/boot/vmlinux-${release}`, `/usr/lib/debug/lib/modules/${release}/vmlinux`);
    places.push(`/lib/modules/${release}/vmlinux`, `/usr/lib/modules/${release}/vmlinux`);
    places.push(`/lib/modules/${release}/build/vmlinux`);
  }
  if (buildId !== undefined && /^[0-9a-f]{8,64}$/.test(buildId)) {
    places.push(`/usr/lib/debug/.build-id/${buildId.slice(0, 2)}/${buildId.slice(2)}.debug`);
  }
  return places;
}

/** Folders with the modules of a release. */
export function modulePlaces(release: string | undefined): string[] {
  if (release === undefined || !isPlainName(release)) return [];
  return [`/lib/modules/${release}`, `/usr/lib/modules/${release}`];
}

/** A release comes out of a dump, so it must not lead anywhere else. */
function isPlainName(release: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._+~:-]{0,127}$/.test(release) && !release.includes("..");
}

const IMAGE_FILE = /^(vmlinu[xz]|bzImage|kernel)([-.].*)?$/i;
const NOT_IMAGE =
  /\.(ko|o|a|h|c|s|lds|cpp|rs|go|[cm]?[jt]sx?|sh|py|gdb|txt|log|html?|xml|ya?ml|conf|cmd|map|sym|config|patch|diff|sha256|sig|hmac|gz\.asc|deb|rpm|md|json)$/i;

/** True for the file names that kernel images have: vmlinuz, vmlinuz-6.1.0, vmlinux.xz, bzImage, kernel-6.1. */
export function isImageName(path: string): boolean {
  const file = path.slice(path.lastIndexOf("/") + 1);
  return IMAGE_FILE.test(file) && !NOT_IMAGE.test(file);
}

/** The better a path fits the release, the smaller: its file, its folder, no other release, anything. */
export function releaseRank(path: string, release: string | undefined): number {
  if (release === undefined) return 3;
  const parts = path.split("/");
  const file = parts.pop() ?? "";
  if (file.endsWith(`-${release}`)) return 0;
  if (parts.includes(release)) return 1;
  const at = parts.indexOf("modules");
  return at >= 0 && /^\d+\.\d+/.test(parts[at + 1] ?? "") ? 4 : 2;
}
