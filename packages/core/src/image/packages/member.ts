// What a package is made of, whatever archive it uses.

export interface PackageMember {
  /** Without leading "/" or "./": "boot/vmlinuz-6.1.0-56-amd64". */
  readonly path: string;
  /** bytes */
  readonly size: number;
  /** Symbolic and hard links have a target and no contents. */
  readonly kind: "file" | "link" | "other";
  /** As stored: relative to the link's folder, or from the root. */
  readonly target?: string;
}

/** A member while the walk stands at it. */
export interface OpenMember extends PackageMember {
  /** The contents; only once, and only until the walk goes on. */
  read(limit?: number): Uint8Array;
}

/** "./boot//vmlinuz" and "/boot/vmlinuz" → "boot/vmlinuz" */
export function cleanPath(path: string): string {
  return path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
}
