// Packages built here, byte by byte: ar, tar, rpm headers and cpio, and what is said about broken ones.
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { BufferSource } from "../../bytes/source.ts";
import { bytesOf, cpioMember, deb, join, rpm, tarMember } from "../testing/build-package.ts";
import { openPackage, packageKind } from "./package.ts";

const open = (bytes: Uint8Array, name = "kernel.deb") => openPackage(new BufferSource(name, bytes));
const everything = () => true;
const long = `lib/modules/${"x".repeat(120)}/loop.ko`;
const hello = bytesOf("hello");

const contents = [
  tarMember("./", "5", new Uint8Array()),
  tarMember("./boot/vmlinuz", "0", hello),
  tarMember("././@LongLink", "L", bytesOf(`./${long}\0`)),
  tarMember("cut", "0", bytesOf("module")),
  tarMember("pax", "x", bytesOf("29 path=usr/lib/modules/p.ko\n")),
  tarMember("cut", "0", bytesOf("pax")),
  tarMember("file.ko", "0", bytesOf("y"), { prefix: "lib/modules" }),
  tarMember("./lib/link", "2", new Uint8Array(), { target: "../boot" }),
  tarMember("./lib/hard", "1", new Uint8Array(), { target: "./boot/vmlinuz" }),
];
const tar = join(...contents, new Uint8Array(1024));

describe("a .deb", () => {
  for (const [name, data] of [
    ["data.tar", tar],
    ["data.tar.gz", new Uint8Array(gzipSync(tar))],
  ] as const) {
    it(`is read out of ${name}`, () => {
      const { members, files } = open(deb(data, name)).read((member) => member.path.endsWith(".ko"));
      expect(members.map(({ path, kind, target }) => [path, kind, target].filter(Boolean).join(" "))).toEqual([
        "other",
        "boot/vmlinuz file",
        `${long} file`,
        "usr/lib/modules/p.ko file",
        "lib/modules/file.ko file",
        "lib/link link ../boot",
        "lib/hard link /boot/vmlinuz",
      ]);
      expect([...files.keys()]).toEqual([long, "usr/lib/modules/p.ko", "lib/modules/file.ko"]);
      const module = files.get(long);
      expect(module?.name).toBe(`kernel.deb: ${long}`);
      expect(module?.read(0, module.size)).toEqual(bytesOf("module"));
    });
  }

  it("may be read again", () => {
    const source = open(deb(tar));
    source.read(() => false);
    expect(source.read((member) => member.path === "boot/vmlinuz").files.size).toBe(1);
  });

  const size = (text: string) => {
    const member = tarMember("big", "0", hello);
    member.set(bytesOf(text), 124);
    return member;
  };
  const broken: readonly [string, Uint8Array, string][] = [
    ["has no data.tar", deb(tar, "other.tar"), "data.tar in kernel.deb is missing"],
    ["ends early", deb(tar.subarray(0, 700)), "kernel.deb: data.tar+0x2bc: needs 324 bytes, only 0 are there"],
    ["holds no tar", deb(new Uint8Array(600).fill(65)), "kernel.deb: data.tar+0x0: no tar header"],
    [
      "claims a size that is not there",
      deb(size("77777777777\0")),
      "kernel.deb: data.tar+0x400: needs 8589934079 bytes",
    ],
    ["has no number as a size", deb(size("9999\0")), "kernel.deb: data.tar+0x7c: no tar size"],
    [
      "has a broken ar header",
      join(bytesOf("!<arch>\n"), new Uint8Array(100)),
      "kernel.deb: ar header+0x8: no ar header",
    ],
    ["cuts data.tar off", deb(tar).subarray(0, 400), "kernel.deb: 0xc2: needs 8704 bytes, only 206 are there"],
  ];
  it.each(broken)("is refused when it %s", (_, bytes, message) => {
    expect(() => open(bytes).read(everything)).toThrow(message);
  });
});

describe("an .rpm", () => {
  const trailer = cpioMember("TRAILER!!!", 0, new Uint8Array());
  const cpio = join(
    cpioMember("./boot", 0o40755, new Uint8Array()),
    cpioMember("./boot/vmlinuz", 0o100644, hello),
    cpioMember("./lib/b", 0o120777, bytesOf("../boot")),
    trailer,
  );

  it("is read", () => {
    const { members, files } = open(rpm(new Uint8Array(gzipSync(cpio))), "kernel.rpm").read(everything);
    expect(members).toEqual([
      { path: "boot", size: 0, kind: "other", target: undefined },
      { path: "boot/vmlinuz", size: 5, kind: "file", target: undefined },
      { path: "lib/b", size: 0, kind: "link", target: "../boot" },
    ]);
    expect(files.get("boot/vmlinuz")?.read(0, 5)).toEqual(hello);
  });

  const broken: readonly [string, Uint8Array, string][] = [
    ["has no header", rpm(cpio).fill(0, 96, 100), "kernel.rpm: signature header+0x0: no rpm header magic"],
    ["has a header past its end", rpm(cpio).fill(0xff, 144, 148), "kernel.rpm: header+0x8: ends at"],
    ["holds no cpio", rpm(new Uint8Array(200).fill(65)), "kernel.rpm: payload+0x0: no cpio header"],
    ["ends early", rpm(cpio.subarray(0, 150)), "kernel.rpm: payload+0x96: needs"],
    [
      "has large files",
      rpm(join(bytesOf("07070X"), new Uint8Array(120))),
      "rpm's large-file cpio (07070X) is not supported",
    ],
    ["has an endless name", rpm(cpioMember("x".repeat(70_000), 0o100644, hello)), "payload+0x0: name of 70001 bytes"],
  ];
  it.each(broken)("is refused when it %s", (_, bytes, message) => {
    expect(() => open(bytes, "kernel.rpm").read(everything)).toThrow(message);
  });
});

it("tells packages by their content", () => {
  expect(packageKind(new BufferSource("x", deb(tar)))).toBe("deb");
  expect(packageKind(new BufferSource("x", rpm(new Uint8Array(9))))).toBe("rpm");
  expect(packageKind(new BufferSource("x", new Uint8Array(200)))).toBeUndefined();
  expect(() => open(new Uint8Array(3))).toThrow(
    "kernel.deb: a file that is neither a .deb nor an .rpm is not supported",
  );
});
